"""Text is taken apart and put together again without losing a word or a tag."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_detection_pipeline.clips.text import join, label_tokens, only_tag, pieces_of, same_sound

TAG = "<sneeze>"


@given(st.text())
def test_pieces_joined_are_the_text_with_single_spaces(text: str):
    assert join(pieces_of(text, TAG)) == join([text])


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("well <sneeze> oh,  dear", ["well ", "<sneeze> ", "oh,  ", "dear"]),
        ("well<sneeze>oh", ["well", "<sneeze>", "oh"]),
        ("你好<sneeze>再见", ["你", "好", "<sneeze>", "再", "见"]),
        ("ok 你好 ok", ["ok ", "你", "好 ", "ok"]),
        ("", []),
    ],
)
def test_tags_words_and_unspaced_characters_are_pieces(text: str, pieces: list[str]):
    assert pieces_of(text, TAG) == pieces


def test_a_tag_with_signs_of_a_regular_expression_is_taken_literally():
    assert pieces_of("a (x)+ b", "(x)+") == ["a ", "(x)+ ", "b"]


def test_bracketed_events_become_the_tag_and_other_events_go():
    stands_for = {"[sneeze]": TAG, "[achoo]": TAG, "[doorbell]": "<doorbell>"}
    text = "well [Sneeze] yes [laughter] <doorbell>[ACHOO] [doorbell]"
    cleaned = only_tag(text, TAG, stands_for, ["<doorbell>"])
    assert cleaned == f"well {TAG} yes [laughter] {TAG} [doorbell]"


def test_case_and_punctuation_are_not_heard():
    assert same_sound("Well,") == same_sound(" well") == "well"
    assert same_sound("...") == ""
    assert same_sound("Ärger!") == "ärger"


def test_label_tokens_never_fewer_than_the_real_tokenizer_counts(base_model):
    from transformers import WhisperTokenizer

    tokenizer = WhisperTokenizer.from_pretrained(base_model)
    texts = [
        "Well, I think the kettle is boiling - could you turn it off, please?",
        "uncharacteristically antidisestablishmentarianism zyzzyva qwrtpsdfg xjq",
        "1234567890 3.14159 $$$ !!! ??? (a) [b] {c}",
        "Straße, naïve café, 你好 再见。 😀😀 Привет мир",
        f"{TAG} {TAG} aaaa bbbb",
    ]
    for text in texts:
        assert label_tokens(text) >= len(tokenizer(f" {text}").input_ids), text
