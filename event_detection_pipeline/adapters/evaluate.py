"""Evaluation: a candidate on the test split, beside the promoted adapter, a linear probe and the bare base model, and
what the gate makes of it."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from event_detection_pipeline.adapters.contender import (
    Contender,
    adapter_on,
    base_model_on,
    load_detector,
    probe_on,
)
from event_detection_pipeline.adapters.detector import Detector
from event_detection_pipeline.adapters.device import Compute
from event_detection_pipeline.adapters.estimate import Estimate
from event_detection_pipeline.adapters.evaluation_set import EvaluationSet, read_golden_set, read_test_split
from event_detection_pipeline.adapters.gate import Evidence, difference_to, judge
from event_detection_pipeline.adapters.release import BrokenAdapter, read_detection, write_json
from event_detection_pipeline.adapters.text import TextQuality, adapter_error_rate, choose_spoken, measure_text
from event_detection_pipeline.adapters.verdict import Verdict
from event_detection_pipeline.config import EvaluationSettings, EventSettings


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Who was compared on which clips, and what follows.

    `difference` is the candidate's average precision less the promoted adapter's, with the interval that the gate looks
    at; None where none is promoted. `new_mistakes` are clips of the golden set that the promoted adapter has right and
    the candidate has not.
    """

    candidate: Contender
    promoted: Contender | None
    probe: Contender | None
    base: Contender
    difference: Estimate | None
    text: TextQuality | None
    clips: tuple[str, ...]
    truth: tuple[bool, ...]
    new_mistakes: tuple[str, ...]
    verdict: Verdict

    @property
    def contenders(self) -> list[Contender]:
        """The candidate first."""
        return [one for one in (self.candidate, self.promoted, self.probe, self.base) if one]


def evaluate_candidate(
    manifest: Path,
    candidate: Path,
    promoted: Path | None,
    event: EventSettings,
    settings: EvaluationSettings,
    compute: Compute,
) -> Evaluation:
    """Score the test split of a manifest with each contender and decide.

    Raises:
        NoTestClips, BrokenManifest, NoSuchAdapter, BrokenAdapter, BaseModelUnavailable.
    """
    if promoted:
        _see_that_it_can_be_compared(promoted, candidate, event)
    test = read_test_split(manifest, event)
    golden = read_golden_set(settings.golden_manifest, event) if settings.golden_manifest else None
    confidence = settings.confidence
    # One after the other: a large base model need not fit twice.
    detector = load_detector(candidate, compute)
    challenger = adapter_on(detector, test, confidence)
    probe = probe_on(detector, candidate, test, confidence)
    base = base_model_on(detector, test, confidence)
    spoken = choose_spoken(test.examples, settings.transcribed_clips)
    text = measure_text(detector, spoken, confidence)
    wrong = _mistakes(detector, golden, confidence) if promoted else set()
    del detector
    champion, new_mistakes = None, ()
    if promoted:
        detector = load_detector(promoted, compute)
        champion = adapter_on(detector, test, confidence)
        text = text and replace(text, promoted=adapter_error_rate(detector, spoken, confidence))
        new_mistakes = tuple(sorted(wrong - _mistakes(detector, golden, confidence)))
    evidence = Evidence(test.truth, test.conversations, challenger, champion, base, probe, new_mistakes)
    return Evaluation(
        candidate=challenger,
        promoted=champion,
        probe=probe,
        base=base,
        difference=difference_to(evidence, champion, settings) if champion else None,
        text=text,
        clips=tuple(clip.audio for clip in test.clips),
        truth=test.truth,
        new_mistakes=new_mistakes,
        verdict=judge(evidence, settings),
    )


def _see_that_it_can_be_compared(promoted: Path, candidate: Path, event: EventSettings) -> None:
    """Before anything is listened to. Another training, which a damaged adapter asks for elsewhere, would end here."""
    try:
        read_detection(promoted)
    except BrokenAdapter as error:
        raise BrokenAdapter(
            f"{candidate.name} cannot be judged beside the promoted {promoted.name}, which is damaged ({error}). Go "
            f"back with `event-detection adapters rollback {event.name}`, or use the new one unjudged with "
            f"`event-detection adapters promote {candidate.name} --force`"
        ) from error


def save_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write an evaluation with all its scores as JSON."""
    write_json(path, asdict(evaluation))


def _mistakes(detector: Detector, golden: EvaluationSet | None, confidence: float) -> set[str]:
    """The audio files of the golden set that the detector's adapter flags wrongly, or wrongly does not."""
    if golden is None:
        return set()
    flags = adapter_on(detector, golden, confidence).flags()
    return {clip.audio for clip, flag, event in zip(golden.clips, flags, golden.truth, strict=True) if flag != event}
