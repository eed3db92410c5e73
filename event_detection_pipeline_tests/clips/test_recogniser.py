"""A long conversation without times is aligned by what the base model hears, or set aside."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pymongo.database import Database

from event_detection_pipeline.clips.export import export_clips
from event_detection_pipeline.clips.text import same_sound
from event_detection_pipeline.config import EventSettings, Settings
from event_detection_pipeline.demo.utterances import Utterance, utterances
from event_detection_pipeline_tests.household import add_conversation, add_stash_entry
from event_detection_pipeline_tests.sounds import RATE, encode

PAUSE = np.zeros(RATE, np.float32)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads of several tests on the same cores wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def spoken() -> list[Utterance]:
    """About 40 s of real speech."""
    chosen: list[Utterance] = []
    for utterance in next(iter(utterances().values())):
        chosen.append(utterance)
        if sum(one.seconds + 1 for one in chosen) > 40:
            break
    return chosen


@pytest.fixture
def conversation(database: Database[dict[str, Any]], spoken: list[Utterance]) -> str:
    """The speech as two chunks, a second of silence after each sentence, with neither timed words nor segments."""
    samples = np.concatenate([part for utterance in spoken for part in (utterance.samples, PAUSE)])
    half = len(samples) // 2
    chunks = [{"chunk_index": n, "audio_data": encode(part)} for n, part in enumerate((samples[:half], samples[half:]))]
    return add_conversation(database, chunks=chunks, transcript="")


def test_sentences_are_cut_where_the_base_model_hears_them(
    database: Database[dict[str, Any]],
    settings: Settings,
    event: EventSettings,
    base_model: Path,
    conversation: str,
    spoken: list[Utterance],
):
    sentences = [utterance.transcript for utterance in spoken]
    middle = len(sentences) // 2
    text = " ".join([*sentences[:middle], "<sneeze>", *sentences[middle:]])
    add_stash_entry(database, conversation, transcript=text)
    settings = settings.model_copy(update={"base_model": str(base_model), "device": "cpu"})
    report = export_clips(database, settings, event)
    assert report.rejects == ()
    assert len(report.clips) >= 2
    ends = np.cumsum([utterance.seconds + 1 for utterance in spoken])
    starts = ends - [utterance.seconds + 1 for utterance in spoken]
    for clip in report.clips:
        inside = (starts >= clip.start - 1.5) & (ends - 1 <= clip.end + 1.5)
        expected = [same_sound(word) for n in np.flatnonzero(inside) for word in sentences[n].split()]
        said = [same_sound(word) for word in clip.text.replace("<sneeze>", "").split()]
        assert said == expected
    (sneeze,) = [clip for clip in report.clips if clip.contains_event]
    assert sneeze.start - 1.5 <= ends[middle - 1] <= sneeze.end + 1.5


def test_a_transcript_of_something_else_is_set_aside(
    database: Database[dict[str, Any]], settings: Settings, event: EventSettings, base_model: Path, conversation: str
):
    add_stash_entry(database, conversation, transcript="colourless green ideas <sleep> furiously " * 10)
    settings = settings.model_copy(update={"base_model": str(base_model), "device": "cpu"})
    assert export_clips(database, settings, event).rejects_by_reason == {"poor_alignment": 1}


def test_without_a_base_model_it_is_set_aside(
    database: Database[dict[str, Any]], settings: Settings, event: EventSettings, conversation: str
):
    add_stash_entry(database, conversation, transcript="hello there")
    assert export_clips(database, settings, event).rejects_by_reason == {"no_times": 1}
