"""From a manifest to a verdict, with a real Whisper: what is trained on the truth passes, what is trained on shuffled
labels does not."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest

from event_detection_pipeline.adapters import evaluate
from event_detection_pipeline.adapters.candidate import Candidate, train_candidate
from event_detection_pipeline.adapters.compare import compare
from event_detection_pipeline.adapters.contender import Contender, adapter_on
from event_detection_pipeline.adapters.detector import Detector
from event_detection_pipeline.adapters.evaluate import Evaluation, evaluate_candidate, save_evaluation
from event_detection_pipeline.adapters.evaluation_set import EvaluationSet, NoTestClips
from event_detection_pipeline.adapters.plots import detection_errors, precision_recall
from event_detection_pipeline.adapters.release import BrokenAdapter, read_detection
from event_detection_pipeline.adapters.verdict import read_verdict
from event_detection_pipeline.clips.manifest import Clip, ClipWord, write_manifest
from event_detection_pipeline.config import EvaluationSettings, EventSettings, Settings, TrainingSettings
from event_detection_pipeline_tests.adapters.conftest import WORDS, make_clip
from event_detection_pipeline_tests.random_adapter import CPU

EVENT = EventSettings(name="chime")
EVALUATION = EvaluationSettings(min_test_events=8, transcribed_clips=2)
HEARD = "good <chime> morning everyone"
CHIME_SECONDS = 1.0  # where make_clip's chime is loud


def line(folder: Path, number: int) -> Clip:
    """Every second clip has the event; a third of them validate or test."""
    example = make_clip(folder / f"{number}.wav", number, with_event=number % 2 == 0)
    return Clip(
        audio=str(example.audio),
        text=HEARD if example.contains_event else " ".join(WORDS),
        timestamp="2026-11-01T12:00:00+00:00",
        type="positive",
        event="chime",
        contains_event=example.contains_event,
        split="train" if number < 16 else "validation" if number < 24 else "test",
        duration=2.4,
        source="training_stash" if number % 4 != 1 else "background",
        conversation_id=example.conversation_id,
        words=(ClipWord("good", 0.1, 0.5), ClipWord("morning", 1.5, 1.9), ClipWord("everyone", 2.0, 2.3)),
        event_time=CHIME_SECONDS if example.contains_event else None,
    )


def wrongly_labelled(clip: Clip) -> Clip:
    """The test stays as it is; what is trained on says of every second pair of clips the opposite."""
    return clip if clip.split == "test" or int(Path(clip.audio).stem) % 4 < 2 else mislabelled(clip)


def mislabelled(clip: Clip) -> Clip:
    """It says the opposite."""
    flipped = not clip.contains_event
    return replace(clip, contains_event=flipped, text=HEARD if flipped else " ".join(WORDS))


@dataclass
class Room:
    """Two adapters and the manifests they were trained on, and how they are evaluated on the first of them."""

    manifest: Path
    good: Candidate
    bad: Candidate
    evaluate: Callable[..., Evaluation]


@pytest.fixture(scope="module")
def room(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Room:
    folder = tmp_path_factory.mktemp("room")
    clips = [line(folder, number) for number in range(40)]
    settings = Settings(
        data_dir=folder / "data",
        base_model=str(base_model),
        events=(EVENT,),
        training=TrainingSettings(epochs=4, batch_size=4, learning_rate=2e-3),
        evaluation=EVALUATION,
    )
    candidates = []
    for name, lines in (("chime_v1", clips), ("chime_v2", [wrongly_labelled(clip) for clip in clips])):
        write_manifest(folder / f"{name}.jsonl", lines)
        (folder / name).mkdir()
        candidates.append(train_candidate(folder / f"{name}.jsonl", folder / name, EVENT, settings, CPU))
    good, bad = candidates

    def evaluate(
        candidate: Candidate, promoted: Candidate | None, settings: EvaluationSettings = EVALUATION
    ) -> Evaluation:
        against = promoted.folder if promoted else None
        return evaluate_candidate(folder / "chime_v1.jsonl", candidate.folder, against, EVENT, settings, CPU)

    return Room(folder / "chime_v1.jsonl", good, bad, evaluate)


@pytest.fixture(scope="module")
def good_one(room: Room) -> Evaluation:
    return room.evaluate(room.good, None)


def test_what_was_trained_on_the_truth_passes_as_the_first_adapter(good_one: Evaluation, tmp_path: Path) -> None:
    assert good_one.verdict.passed, good_one.verdict.reason
    assert good_one.difference is None
    assert [one.name for one in good_one.contenders] == ["chime_v1", "probe", "base model"]
    save_evaluation(tmp_path / "chime_v1.json", good_one)
    assert read_verdict(tmp_path / "chime_v1.json") == good_one.verdict


@pytest.fixture(scope="module")
def bad_one(room: Room) -> Evaluation:
    return room.evaluate(room.bad, room.good)


def test_what_was_trained_on_wrong_labels_does_not_replace_it(bad_one: Evaluation) -> None:
    assert not bad_one.verdict.passed
    assert bad_one.verdict.against == "chime_v1"


def test_by_how_much_a_candidate_ranks_worse_is_kept_with_its_interval(bad_one: Evaluation, tmp_path: Path) -> None:
    assert bad_one.promoted is not None and bad_one.difference is not None
    ours, theirs = bad_one.candidate.metrics.average_precision.value, bad_one.promoted.metrics.average_precision.value
    assert ours is not None and theirs is not None
    assert bad_one.difference.value == pytest.approx(ours - theirs) and ours < theirs
    assert bad_one.difference.low is not None and bad_one.difference.low <= ours - theirs
    save_evaluation(tmp_path / "chime_v2.json", bad_one)
    assert json.loads((tmp_path / "chime_v2.json").read_text())["difference"] == asdict(bad_one.difference)


def test_the_promoted_adapter_s_word_error_rate_is_measured_on_the_same_clips(
    good_one: Evaluation, bad_one: Evaluation
) -> None:
    assert good_one.text is not None and good_one.text.promoted is None
    assert bad_one.text is not None
    assert bad_one.text.promoted == good_one.text.adapter  # the same adapter, first a candidate, then promoted
    assert bad_one.text.promoted != bad_one.text.base_model


def test_a_golden_set_is_not_listened_to_without_a_promoted_adapter(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_manifest(tmp_path / "golden.jsonl", [line(tmp_path, 24)])
    settings = EVALUATION.model_copy(update={"golden_manifest": tmp_path / "golden.jsonl", "transcribed_clips": 0})
    heard: list[EvaluationSet] = []

    def listen(detector: Detector, clips: EvaluationSet, confidence: float) -> Contender:
        heard.append(clips)
        return adapter_on(detector, clips, confidence)

    monkeypatch.setattr(evaluate, "adapter_on", listen)
    room.evaluate(room.good, None, settings)
    assert [len(clips.clips) for clips in heard] == [16]


def test_figures_are_told_by_kind(good_one: Evaluation) -> None:
    kinds = {one.kind: one for one in good_one.candidate.by_kind}
    assert {name: one.clips for name, one in kinds.items()} == {"event": 8, "other sounds": 4, "plain speech": 4}
    assert kinds["event"].flagged == sum(
        flag and event for flag, event in zip(good_one.candidate.flags(), good_one.truth, strict=True)
    )


def test_the_word_error_rate_is_measured_with_and_without_the_adapter(good_one: Evaluation) -> None:
    text = good_one.text
    assert text is not None
    assert text.clips == 2
    # The words are not in the audio: the bare model cannot know them, an adapter was taught to write them.
    assert text.adapter.value is not None and text.base_model.value is not None
    assert text.adapter.value < text.base_model.value


def test_the_found_times_of_flagged_events_are_measured(good_one: Evaluation) -> None:
    timing = good_one.candidate.timing
    assert timing is not None
    assert timing.clips == good_one.candidate.by_kind[0].flagged
    assert timing.median_error < 0.5


def test_a_new_mistake_on_the_golden_set_keeps_the_candidate_back(
    room: Room, good_one: Evaluation, bad_one: Evaluation, tmp_path: Path
) -> None:
    good, bad = good_one.candidate.flags(), bad_one.candidate.flags()
    index = next(i for i, event in enumerate(good_one.truth) if good[i] == event != bad[i])
    easy = next(i for i, event in enumerate(good_one.truth) if good[i] == event == bad[i])
    clip, both_wrong = line(tmp_path, 24 + index), mislabelled(line(tmp_path, 24 + easy))
    write_manifest(tmp_path / "golden.jsonl", [clip, both_wrong])
    settings = EVALUATION.model_copy(update={"golden_manifest": tmp_path / "golden.jsonl", "transcribed_clips": 0})
    assert room.evaluate(room.bad, room.good, settings).new_mistakes == (clip.audio,)
    assert room.evaluate(room.good, room.bad, settings).new_mistakes == ()


def test_the_folder_tells_how_it_detects(room: Room) -> None:
    detection = read_detection(room.good.folder)
    curve = detection.operating_curve
    assert len(curve.thresholds) == len(curve.recalls) == len(curve.false_alarm_rates) == 8
    assert curve.recalls[-1] == 1.0
    assert (room.good.folder / "probe.safetensors").is_file()
    metrics = json.loads((room.good.folder / "metrics.json").read_text())
    assert metrics["test"]["quiet"]["recall"]["value"] is not None


def test_the_card_says_what_was_used_and_how_good_it_is(room: Room) -> None:
    detection, card = read_detection(room.good.folder), (room.good.folder / "README.md").read_text()
    assert detection.base_model_revision.startswith("sha256:")
    recipe = "LoRA in the encoder and the decoder, rank 16"
    for part in (detection.base_model_revision, detection.manifest_sha256, detection.threshold_rule, recipe):
        assert part in card
    assert "| average precision | 1.00 (1.00 to 1.00) |" in card
    assert "recall at 0.5 false alarms an hour" in card


def test_a_comparison_lists_what_they_disagree_on_and_where_it_is(room: Room) -> None:
    found = compare(room.manifest, (room.good.folder, room.bad.folder), EVENT, EVALUATION, CPU)
    first, second = found.contenders
    assert len(found.disagreements) == sum(a != b for a, b in zip(first.flags(), second.flags(), strict=True)) > 0
    assert found.disagreements[0].conversation_id.startswith("conversation-")
    assert found.difference.value is not None and found.difference.value < 0


def test_plots_have_a_line_for_each_contender(good_one: Evaluation) -> None:
    assert len(precision_recall(good_one).axes[0].lines) == 3
    assert len(detection_errors(good_one).axes[0].lines) == 2 * 3  # a curve and a dot


def test_a_damaged_promoted_adapter_is_named_with_the_ways_out(room: Room, tmp_path: Path) -> None:
    promoted = tmp_path / "chime_v1"
    shutil.copytree(room.good.folder, promoted)
    (promoted / "adapter_model.safetensors").unlink()
    with pytest.raises(BrokenAdapter, match="promoted chime_v1, which is damaged") as raised:
        evaluate_candidate(room.manifest, room.bad.folder, promoted, EVENT, EVALUATION, CPU)
    assert "`event-detection adapters rollback chime`" in str(raised.value)
    assert "`event-detection adapters promote chime_v2 --force`" in str(raised.value)


def test_a_manifest_without_test_clips_says_what_to_do(room: Room, tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.jsonl", [replace(line(tmp_path, 0), split="train")])
    with pytest.raises(NoTestClips, match="review more conversations"):
        evaluate_candidate(tmp_path / "m.jsonl", room.good.folder, None, EVENT, EVALUATION, CPU)
