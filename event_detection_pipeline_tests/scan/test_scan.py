"""The scan as a whole, with real audio, a real Whisper and a real server; what people and Chronicle do meanwhile."""

import multiprocessing
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from event_detection_pipeline.adapters.batch_size import OutOfMemory
from event_detection_pipeline.adapters.detector import Detector, Sketch, load_detectors
from event_detection_pipeline.adapters.scoring import ClipScore
from event_detection_pipeline.chronicle.database import (
    AUDIO_CHUNKS,
    CONVERSATIONS,
    EVENT_REVIEWS,
    EVENT_SCAN_LEASES,
    EVENT_SCANS,
    EVENT_SHADOW_SCANS,
    connect,
)
from event_detection_pipeline.config import SAMPLE_RATE, ClipSettings, ScanSettings
from event_detection_pipeline.review.answers import record, settle_unfinished
from event_detection_pipeline.review.reviews import Answer
from event_detection_pipeline.scan.leases import Leases
from event_detection_pipeline.scan.scan import ScanReport, scan
from event_detection_pipeline.scan.work import Work
from event_detection_pipeline_tests.household import add_conversation
from event_detection_pipeline_tests.random_adapter import CPU, random_adapter
from event_detection_pipeline_tests.scan.documents import Db
from event_detection_pipeline_tests.scan.test_listen import Scripted
from event_detection_pipeline_tests.sounds import encode, tone

SETTINGS, CLIPS = ScanSettings(batch_size=4), ClipSettings()
NOW = datetime.now(UTC)


@pytest.fixture(scope="session")
def folders(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two adapters that flag everything, and a candidate. The probe of the first listens to what the last changes."""
    store = tmp_path_factory.mktemp("scan_adapters")
    return [
        random_adapter(store / "chime_v1", base_model, seed=1, threshold=1e-12, probe_depth=2),
        random_adapter(store / "sneeze_v1", base_model, seed=2, threshold=1e-12),
        random_adapter(store / "chime_v2", base_model, seed=3, threshold=1e-12, first_layer=1),
    ]


@pytest.fixture(scope="session")
def chime(folders: list[Path]) -> Detector:
    (detector,) = load_detectors(folders[:1], CPU)
    return detector


class Interrupted(Detector):
    """A detector beside which something happens while it listens for the first time."""

    def __init__(self, detector: Detector, happens: Any) -> None:
        super().__init__(detector.whisper, detector.model, detector.adapters)
        self._happens = happens

    def sketch(self, clips: Sequence[np.ndarray]) -> list[Sketch]:
        happens, self._happens = self._happens, None
        if happens:
            happens()
        return super().sketch(clips)


class SmallCard(Detector):
    """A device whose memory holds so many windows at once."""

    def __init__(self, detector: Detector, holds: int) -> None:
        super().__init__(detector.whisper, detector.model, detector.adapters)
        self.holds, self.batches = holds, []

    def sketch(self, clips: Sequence[np.ndarray]) -> list[Sketch]:
        if len(clips) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.batches.append(len(clips))
        return super().sketch(clips)


def run(database: Db, *detectors: Detector, **options: Any) -> ScanReport:
    return scan(database, detectors, SETTINGS, CLIPS, **options)


def flag_of(database: Db, conversation_id: str) -> object:
    document = database[CONVERSATIONS].find_one({"conversation_id": conversation_id})
    assert document is not None
    return document["transcript_versions"][0]["maybe_anomaly"]


def save_as_chronicle_does(database: Db, document: dict[str, Any], **fields: object) -> None:
    """The whole document, from a copy that was read earlier, without the keys that Chronicle does not know."""
    for version in document["transcript_versions"]:
        version.pop("maybe_anomaly", None)
    database[CONVERSATIONS].replace_one({"_id": document["_id"]}, document | fields)


def loaded(database: Db, conversation_id: str) -> dict[str, Any]:
    document = database[CONVERSATIONS].find_one({"conversation_id": conversation_id})
    assert document is not None
    return document


def answer(database: Db, conversation_id: str, said: Any) -> None:
    given = Answer(conversation_id, f"{conversation_id}-v1", said, "anna")
    record(database, given, configured=["chime"], copy_audio=False)


def test_every_version_gets_its_score_and_place_and_a_second_scan_has_nothing_to_do(
    chronicle: Db, chime: Detector
) -> None:
    words = [{"word": "hello", "start": 0.2, "end": 0.5}, {"word": "there", "start": 3.0, "end": 3.4}]
    ids = {add_conversation(chronicle, words=words), add_conversation(chronicle, transcript=None)}
    report = run(chronicle, chime)
    assert (report.scanned, report.flagged, report.seconds) == (2, 2, pytest.approx(10.0, abs=0.1))
    scans = {found["conversation_id"]: found for found in chronicle[EVENT_SCANS].find()}
    assert scans.keys() == ids
    for found in scans.values():
        assert 0 < found["score"] < 1 and found["adapter"] == "chime_v1" and found["flagged"]
        assert found["times"] == ([] if found["time"] is None else [found["time"]])
    assert all(flag_of(chronicle, id_) is True for id_ in ids)
    assert run(chronicle, chime).scanned == 0
    assert chronicle[EVENT_SCAN_LEASES].count_documents({}) == 0


def test_what_cannot_be_heard_is_on_record_with_its_reason_and_stops_nothing(chronicle: Db, chime: Detector) -> None:
    silent = add_conversation(chronicle, chunks=[])
    noise = add_conversation(chronicle, chunks=[{"chunk_index": 0, "audio_data": b"noise", "duration": 10.0}])
    uploading = add_conversation(chronicle, chunks=[], created_at=NOW)
    good = add_conversation(chronicle)
    report = run(chronicle, chime)
    assert report.problems == {"NoAudio": 2, "no audio yet": 1}
    scans = {found["conversation_id"]: found for found in chronicle[EVENT_SCANS].find()}
    assert scans.keys() == {silent, noise, good}
    assert scans[silent]["score"] is None and scans[noise]["problem"] == "NoAudio"
    chronicle[AUDIO_CHUNKS].insert_one(
        {"conversation_id": uploading, "chunk_index": 0, "audio_data": encode(tone(2.0)), "duration": 2.0}
    )
    assert run(chronicle, chime).scanned == 1


@pytest.mark.parametrize(("said", "flag"), [("accepted", "verified"), ("rejected", "rejected")])
def test_a_person_answers_while_the_scan_listens(chronicle: Db, chime: Detector, said: str, flag: str) -> None:
    id_ = add_conversation(chronicle)
    report = run(chronicle, Interrupted(chime, lambda: answer(chronicle, id_, said)))
    assert (flag_of(chronicle, id_), report.answered) == (flag, 1)


@pytest.mark.parametrize(("said", "flag"), [("accepted", "verified"), ("rejected", "rejected")])
def test_a_person_answers_after_the_scan_and_the_next_scan_lets_it_be(
    chronicle: Db, chime: Detector, folders: list[Path], said: str, flag: str
) -> None:
    id_ = add_conversation(chronicle)
    run(chronicle, chime)
    answer(chronicle, id_, said)
    (newer,) = load_detectors(folders[2:], CPU)
    assert run(chronicle, newer).scanned == 0
    assert flag_of(chronicle, id_) == flag


def test_chronicle_saves_an_older_copy_and_the_flag_comes_back(chronicle: Db, chime: Detector) -> None:
    id_ = add_conversation(chronicle)
    before = loaded(chronicle, id_)
    run(chronicle, chime)
    save_as_chronicle_does(chronicle, before, title="a new title")
    assert "maybe_anomaly" not in loaded(chronicle, id_)["transcript_versions"][0]
    assert run(chronicle, chime).restored == 1
    assert flag_of(chronicle, id_) is True
    assert loaded(chronicle, id_)["title"] == "a new title"


def test_chronicle_saves_an_older_copy_and_a_persons_answer_comes_back(chronicle: Db, chime: Detector) -> None:
    id_ = add_conversation(chronicle)
    run(chronicle, chime)
    before = loaded(chronicle, id_)
    answer(chronicle, id_, "rejected")
    save_as_chronicle_does(chronicle, before)
    assert run(chronicle, chime).lost_answers == 1
    assert chronicle[EVENT_REVIEWS].count_documents({"settled": False}) == 1
    settle_unfinished(chronicle, copy_audio=False)
    assert flag_of(chronicle, id_) == "rejected"
    assert run(chronicle, chime).lost_answers == 0


def test_conversations_deleted_meanwhile_are_left_out_and_found_when_they_return(
    chronicle: Db, chime: Detector
) -> None:
    ids = [add_conversation(chronicle, seconds=1.0) for _ in range(40)]
    kept, deleted, gone = ids[-1], ids[0], ids[1]

    def happens() -> None:
        chronicle[CONVERSATIONS].update_one({"conversation_id": deleted}, {"$set": {"deleted": True}})
        chronicle[CONVERSATIONS].delete_one({"conversation_id": gone})

    report = scan(chronicle, [Interrupted(chime, happens)], ScanSettings(batch_size=1), CLIPS)
    assert report.scanned == 38
    assert flag_of(chronicle, kept) is True
    assert flag_of(chronicle, deleted) is None
    chronicle[CONVERSATIONS].update_one({"conversation_id": deleted}, {"$set": {"deleted": False}})
    run(chronicle, chime)
    assert flag_of(chronicle, deleted) is True


def test_two_events_and_a_candidate_are_heard_in_one_pass(chronicle: Db, folders: list[Path], chime: Detector) -> None:
    id_ = add_conversation(chronicle)
    report = run(chronicle, *load_detectors(folders[::-1], CPU), shadow={"chime_v2"})
    assert report.adapters == ("sneeze_v1", "chime_v1")
    assert report.shadow_flagged == {"chime_v2": 1}
    scans = {found["event"]: found for found in chronicle[EVENT_SCANS].find()}
    assert {event: found["adapter"] for event, found in scans.items()} == {"chime": "chime_v1", "sneeze": "sneeze_v1"}
    (shadow,) = chronicle[EVENT_SHADOW_SCANS].find()
    assert (shadow["adapter"], shadow["conversation_id"]) == ("chime_v2", id_)
    chronicle[EVENT_SCANS].delete_many({})
    run(chronicle, chime)
    alone = chronicle[EVENT_SCANS].find_one({"event": "chime"})
    assert alone and alone["score"] == scans["chime"]["score"]


def test_out_of_memory_halves_the_batch_and_goes_on_saying_so(
    chronicle: Db, chime: Detector, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(9):
        add_conversation(chronicle, seconds=1.0)
    card = SmallCard(chime, holds=1)
    assert run(chronicle, card).scanned == 9
    assert card.batches == [1] * 9
    assert caplog.text.count("out of memory") == 2  # from 4 to 2 to 1, and never back
    add_conversation(chronicle)
    with pytest.raises(OutOfMemory, match="single clip"):
        run(chronicle, SmallCard(chime, holds=0))
    assert run(chronicle, chime).scanned == 1


class Dies(Detector):
    """A detector that dies of a version of this length."""

    def __init__(self, detector: Detector, seconds: float) -> None:
        super().__init__(detector.whisper, detector.model, detector.adapters)
        self._samples = seconds * SAMPLE_RATE

    def sketch(self, clips: Sequence[np.ndarray]) -> list[Sketch]:
        if any(abs(len(clip) - self._samples) < SAMPLE_RATE / 10 for clip in clips):
            raise ZeroDivisionError
        return super().sketch(clips)


def test_a_version_that_scans_die_of_is_put_on_record(chronicle: Db, chime: Detector) -> None:
    lengths = [1.0] * 9 + [2.0] + [1.0] * 10
    ids = [add_conversation(chronicle, seconds=seconds) for seconds in lengths]
    dies = Dies(chime, 2.0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            run(chronicle, dies)
    # All others are heard before it is tried for the last time.
    assert chronicle[EVENT_SCANS].count_documents({}) == 19
    assert run(chronicle, dies).problems == {"ScansDied": 1}
    problems = {found["conversation_id"]: found["problem"] for found in chronicle[EVENT_SCANS].find()}
    assert problems == dict.fromkeys(ids) | {ids[9]: "ScansDied"}
    assert run(chronicle, dies).scanned == 0
    assert chronicle[EVENT_SCAN_LEASES].count_documents({}) == 0


def test_scans_that_are_killed_for_another_reason_leave_nothing_unheard(chronicle: Db, chime: Detector) -> None:
    ids = [add_conversation(chronicle, seconds=1.0) for _ in range(6)]
    for _ in range(5):
        killed = Leases(chronicle, ["chime_v1"], lease_time=timedelta(seconds=-1))
        work = Work(chronicle, {"chime": "chime_v1"}, killed, limit=None)
        assert next(chain(work.suspects(), work), None)
    report = run(chronicle, chime)
    assert (report.scanned, report.problems) == (len(ids), {})


def test_two_hours_stay_within_a_few_megabytes(chronicle: Db) -> None:
    chunk = encode(tone(10.0))
    chunks = [{"chunk_index": index, "audio_data": chunk, "duration": 10.0} for index in range(720)]
    words = [{"word": "and", "start": float(second), "end": second + 0.4} for second in range(0, 7200, 2)]
    add_conversation(chronicle, chunks=chunks, words=words)
    host, port = chronicle.client.address or ("", 0)
    # In a process of its own: this one holds the server, too.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        seconds, said, megabytes = pool.apply(listen_to_all, (f"mongodb://{host}:{port}", chronicle.name))
    assert (round(seconds), said) == (7200, len(words))
    assert megabytes < 150  # the samples alone are 460 MB


class Counting(Scripted):
    """Hears every window in full, counts the words in them, and needs no model."""

    whisper = SimpleNamespace(compute=CPU)
    words = 0

    def hear(self, *asked: Any) -> list[ClipScore]:
        self.words += sum(map(len, asked[-1]))
        return super().hear(*asked)


def listen_to_all(uri: str, database: str) -> tuple[float, int, float]:
    """Seconds and words that a scan listened to, and by how many megabytes it made the process grow."""
    detector = Counting(0.5, probe=None)
    before = peak_megabytes()
    report = run(connect(uri, database), cast(Detector, detector))
    return report.seconds, detector.words, peak_megabytes() - before


def peak_megabytes() -> float:
    """Of this process alone: `ru_maxrss` begins with what the one had that started it."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
