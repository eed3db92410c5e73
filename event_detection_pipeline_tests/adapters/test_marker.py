"""The marker in the tokens of a real Whisper."""

from transformers import GenerationConfig

from event_detection_pipeline.adapters.marker import allow_marker, encode_word, marker_of, split_at_tags
from event_detection_pipeline.adapters.whisper import Whisper
from event_detection_pipeline.config import EventSettings


def test_the_first_token_is_known_in_both_spellings(whisper: Whisper) -> None:
    marker = marker_of(whisper.tokenizer, "EVENT_DETECTED")
    spelled = {whisper.tokenizer.decode([id_]) for id_ in marker.first_ids}
    assert spelled == {" EVENT", "EV"}
    assert whisper.tokenizer.decode(list(marker.ids)) == " EVENT_DETECTED"


def test_words_tokenize_as_they_do_inside_a_text(whisper: Whisper) -> None:
    text = "Don't forget the 2 umbrellas, it's raining café EVENT_DETECTED (again)."
    together = whisper.tokenizer(f" {text}", add_special_tokens=False).input_ids
    apart = [token for word in text.split() for token in encode_word(whisper.tokenizer, word)]
    assert apart == together


def test_only_what_the_marker_needs_is_no_longer_suppressed(whisper: Whisper) -> None:
    marker = marker_of(whisper.tokenizer, "EVENT_DETECTED")
    underscore = 62  # suppressed by OpenAI's default list: with it no marker is ever written
    default = list(whisper.model.generation_config.suppress_tokens)
    assert underscore in default
    config = GenerationConfig(suppress_tokens=list(default))
    allow_marker(config, marker)
    assert set(default) - set(config.suppress_tokens) == {underscore}


def test_tags_are_found_wherever_they_stand() -> None:
    event = EventSettings(name="sneeze")
    assert split_at_tags("<sneeze> bless you <sneeze>", event) == (["bless", "you"], [0, 2])
    assert split_at_tags("bless<sneeze>you", event) == (["bless", "you"], [1])
    assert split_at_tags("nothing here <doorbell>", event) == (["nothing", "here", "<doorbell>"], [])
