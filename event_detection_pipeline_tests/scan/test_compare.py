"""Two adapters on live conversations, with real audio and a real Whisper."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent
from typer.testing import CliRunner

from event_detection_pipeline.adapters.detector import Detector, load_detectors
from event_detection_pipeline.chronicle.database import AUDIO_CHUNKS, CONVERSATIONS, EVENT_REVIEWS, EVENT_SCANS
from event_detection_pipeline.cli.main import app
from event_detection_pipeline.clips.manifest import Clip, write_manifest
from event_detection_pipeline.config import CONFIG_ENV, ClipSettings, ScanSettings
from event_detection_pipeline.scan.compare import LiveComparison, compare_live
from event_detection_pipeline_tests.adapters.conftest import make_clip
from event_detection_pipeline_tests.household import add_conversation
from event_detection_pipeline_tests.random_adapter import CPU, random_adapter
from event_detection_pipeline_tests.scan.documents import Db

NAMES = ("chime_v1", "chime_v2")
WORDS = [{"word": "hello", "start": 0.5, "end": 1.0}, {"word": "there", "start": 3.0, "end": 3.5}]


@pytest.fixture(scope="module")
def store(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One adapter that flags everything, and one that flags nothing."""
    root = tmp_path_factory.mktemp("data") / "adapters"
    random_adapter(root / "chime_v1", base_model, seed=1, threshold=1e-12)
    random_adapter(root / "chime_v2", base_model, seed=2, threshold=1.0)
    return root


@pytest.fixture(scope="module")
def detectors(store: Path) -> list[Detector]:
    return load_detectors([store / name for name in NAMES], CPU)


def answer(database: Db, conversation_id: str, said: str) -> None:
    key = {"conversation_id": conversation_id, "version_id": f"{conversation_id}-v1", "event": "chime"}
    database[EVENT_REVIEWS].insert_one(key | {"answer": said, "reviewed_at": datetime.now(UTC)})


def run(database: Db, detectors: list[Detector], count: int = 10) -> LiveComparison:
    return compare_live(database, detectors, NAMES, count, ScanSettings(batch_size=4), ClipSettings(), 0.95)


def test_the_latest_conversations_are_heard_and_nothing_is_written(database: Db, detectors: list[Detector]) -> None:
    for name in ("oldest", "older", "newest"):
        add_conversation(database, conversation_id=name, words=WORDS)
    add_conversation(database, conversation_id="deleted", words=WORDS, deleted=True)
    before = list(database[CONVERSATIONS].find())
    found = run(database, detectors, count=2)
    assert [one.conversation_id for one in found.versions] == ["newest", "older"]
    assert list(database[CONVERSATIONS].find()) == before
    assert database[EVENT_SCANS].count_documents({}) == 0


def test_disagreements_have_both_scores_the_time_and_what_a_person_said(
    database: Db, detectors: list[Detector]
) -> None:
    for name in ("a", "b", "c"):
        add_conversation(database, conversation_id=name, words=WORDS)
    answer(database, "a", "accepted")
    answer(database, "b", "rejected")
    found = run(database, detectors)
    assert {one.conversation_id: one.truth for one in found.disagreements} == {"a": True, "b": False, "c": None}
    assert all(one.first.time is not None and 0 <= one.first.time <= 5 for one in found.disagreements)
    everything, nothing = found.figures
    assert (everything.flagged, everything.right.value) == (3, 0.5)
    assert (nothing.flagged, nothing.right.value) == (0, None)


def test_a_conversation_without_audio_is_counted_and_left_out(database: Db, detectors: list[Detector]) -> None:
    add_conversation(database, conversation_id="silent", chunks=[])
    add_conversation(database, conversation_id="heard", words=WORDS)
    found = run(database, detectors)
    assert ([one.conversation_id for one in found.versions], found.unheard) == (["heard"], 1)


def test_a_long_conversation_has_the_score_of_its_loudest_window(database: Db, detectors: list[Detector]) -> None:
    add_conversation(database, conversation_id="long", seconds=60.0, words=WORDS)
    (one,) = run(database, detectors).versions
    alone = compare_live(database, detectors, NAMES, 1, ScanSettings(batch_size=1), ClipSettings(), 0.95)
    assert one.first.score == pytest.approx(alone.versions[0].first.score, rel=1e-3)


class Commands(CommandListener):
    """Notes each command and its collection."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.seen.append((event.command_name, event.command.get("collection") or event.command[event.command_name]))

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


def test_no_cursor_on_the_conversations_is_open_while_it_listens(database: Db, detectors: list[Detector]) -> None:
    for number in range(150):  # more than the first batch of a cursor
        add_conversation(database, conversation_id=f"c{number}", chunks=[])
    database[CONVERSATIONS].update_one({"conversation_id": "c149"}, {"$set": {"active_transcript_version": None}})
    commands = Commands()
    host, port = database.client.address or ("", 0)
    with MongoClient(host, port, event_listeners=[commands], tz_aware=True) as client:
        found = run(client[database.name], detectors, count=120)
    assert found.unheard == 120
    first_heard = next(place for place, seen in enumerate(commands.seen) if seen[1] == AUDIO_CHUNKS)
    assert ("getMore", CONVERSATIONS) in commands.seen[:first_heard]
    assert ("getMore", CONVERSATIONS) not in commands.seen[first_heard:]


def command(*words: str) -> Any:
    return CliRunner().invoke(app, ["adapters", "compare", *words])


@pytest.fixture
def household(database: Db, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Db:
    """The settings of a household whose adapters are in the store."""
    config = tmp_path / "event_detection.toml"
    config.write_text(f'data_dir = "{store.parent.as_posix()}"\ndevice = "cpu"\n[[events]]\nname = "chime"\n')
    host, port = database.client.address or ("", 0)
    monkeypatch.setenv(CONFIG_ENV, str(config))
    monkeypatch.setenv("MONGODB_URI", f"mongodb://{host}:{port}")
    monkeypatch.setenv("MONGODB_DATABASE", database.name)
    return database


def test_the_command_prints_and_draws_live_conversations(household: Db, tmp_path: Path) -> None:
    add_conversation(household, conversation_id="here", words=WORDS)
    result = command(*NAMES, "--live", "5", "--plot", str(tmp_path / "plot.png"), "--json")
    assert result.exit_code == 0, result.output
    (apart,) = json.loads(result.stdout)["disagreements"]
    assert (apart["conversation_id"], apart["truth"]) == ("here", None)
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert "nothing yet" in command(*NAMES, "--live", "5").output


def test_the_command_compares_on_a_manifest_and_lists_the_clips_they_disagree_on(household: Db, tmp_path: Path) -> None:
    clips = []
    for seed, text in ((0, "good <chime> morning everyone"), (1, "good morning everyone")):
        clip = make_clip(tmp_path / f"{seed}.wav", seed, with_event=seed == 0)
        conversation = clip.conversation_id
        clips.append(
            Clip(str(clip.audio), text, "", "positive", split="test", start=7.0, end=9.4, conversation_id=conversation)
        )
    write_manifest(tmp_path / "m.jsonl", clips)
    plot = tmp_path / "plot.png"
    table = command(*NAMES, "--manifest", str(tmp_path / "m.jsonl"), "--plot", str(plot))
    assert table.exit_code == 0, table.output
    assert "2 of 2 clips are flagged by one of the two only" in table.output
    assert "conversation-1" in table.output and "7.0 to 9.4" in table.output
    assert plot.is_file()


def test_what_cannot_be_compared_is_refused_with_the_reason(household: Db) -> None:
    assert "nothing to compare" in str(command("chime_v1", "sneeze_v1").exception)
    assert "nothing to compare" in str(command("chime_v1", "chime_v1").exception)
    assert "--live" in str(command(*NAMES, "--live", "1", "--manifest", "m.jsonl").exception)
    assert "there is no folder" in str(command(*NAMES, "--live", "1", "--plot", "nowhere/plot.png").exception)
