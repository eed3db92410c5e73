import itertools
import json

import numpy as np

from event_detection_pipeline.demo.utterances import FOLDER, utterances


def test_the_shipped_speech_is_small_and_was_understood():
    described = json.loads((FOLDER / "speech.json").read_text(encoding="utf-8"))

    assert len(described["voices"]) >= 8
    assert 220 <= len({row["text"] for row in described["utterances"]}) == len(described["utterances"])
    assert described["word_error_rate"] < 0.02
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 3_000_000


def test_no_sentence_speaks_of_the_sounds():
    sounds = {"chime", "doorbell", "ring", "rings", "bell", "bells", "knock", "beep", "clap", "kettle", "music"}

    for utterance in itertools.chain.from_iterable(utterances().values()):
        assert not sounds & {word.text.lower().strip(".,?!") for word in utterance.words}


def test_every_utterance_is_speech_with_its_words_in_order():
    for utterance in itertools.chain.from_iterable(utterances().values()):
        assert utterance.samples.dtype == np.float32
        assert 0.03 < np.sqrt(np.mean(utterance.samples**2)) < 0.15
        assert 1.5 < utterance.seconds < 6.0
        times = [time for word in utterance.words for time in (word.start, word.end)]
        assert 0.0 <= times[0] <= 0.2
        assert times == sorted(times)
        assert times[-1] <= utterance.seconds + 0.01
        # The words are where the energy is, not in the silence around them.
        first, last = round(times[0] * 16_000), round(times[-1] * 16_000)
        assert np.sum(utterance.samples[first:last] ** 2) > 0.9 * np.sum(utterance.samples**2)
        assert all(0.0 <= word.confidence <= 1.0 for word in utterance.words)
