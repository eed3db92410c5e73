"""The waveform in a real Chromium: what is played, and the place that a person marks."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect
from pymongo.database import Database

from event_detection_pipeline_tests.review.conftest import Server
from event_detection_pipeline_tests.review.flags import review_of
from event_detection_pipeline_tests.review.test_page import answered, flags, open_page, wait_for

Db = Database[dict[str, Any]]

# Playing begins where the element stands when `play` is called.
PLAYED = """window.played = []; window.began = []; const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () {
  window.played.push(this); window.began.push(this.currentTime); return play.call(this);
};"""


def at(page: Page, share: float) -> tuple[float, float]:
    """A point of the waveform, at a share of its width."""
    wave = page.locator(".wave").bounding_box()
    assert wave is not None
    return wave["x"] + wave["width"] * share, wave["y"] + wave["height"] / 2


def drag(page: Page, start: float, end: float) -> None:
    page.mouse.move(*at(page, start))
    page.mouse.down()
    page.mouse.move(*at(page, end), steps=8)
    page.mouse.up()


def test_a_corrected_text_and_place_go_with_the_answer(page: Page, server: Server, database: Db):
    [conversation] = flags(database, 1, transcript="bless you", time=2.0)
    open_page(page, server)
    expect(page.get_by_role("button", name="Play")).to_be_enabled()
    page.keyboard.press("ArrowUp")
    area = page.get_by_label("What was said")
    area.press("Home")
    page.get_by_role("button", name="Put <sneeze> here").click()
    expect(area).to_have_value("<sneeze> bless you")
    wave = page.locator(".wave").bounding_box()
    assert wave is not None
    page.mouse.click(wave["x"] + wave["width"] * 0.8, wave["y"] + wave["height"] / 2)
    page.get_by_role("button", name="It is at the playhead").click()
    area.press("ArrowRight")  # moves the caret, answers nothing
    area.press("Escape")
    page.keyboard.press("ArrowLeft")
    wait_for(lambda: answered(database) == {conversation: "rejected"})
    review = review_of(database, conversation, "sneeze")
    assert review["time"] == pytest.approx(4.0, abs=0.1)
    wait_for(lambda: database["training_stash"].count_documents({"transcript": "<sneeze> bless you"}) == 1)


def test_space_plays_the_seconds_around_the_event(page: Page, server: Server, database: Db):
    flags(database, 1, seconds=20.0, time=10.0)
    page.add_init_script(PLAYED)
    open_page(page, server)
    expect(page.get_by_role("button", name="Play")).to_be_enabled()
    page.get_by_label("Speed").select_option("2")
    page.locator("article").focus()
    page.keyboard.press(" ")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    at = page.evaluate("[played[0].currentTime, played[0].playbackRate]")
    assert at[0] == pytest.approx(8.0, abs=0.5) and at[1] == 2
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    assert page.evaluate("played[0].currentTime") == pytest.approx(12.0, abs=0.3)


def test_playing_begins_where_a_person_clicked_and_then_at_the_event_again(page: Page, server: Server, database: Db):
    flags(database, 1, seconds=20.0, time=10.0)
    page.add_init_script(PLAYED)
    open_page(page, server)
    expect(page.get_by_role("button", name="Play")).to_be_enabled()
    page.mouse.click(*at(page, 0.7))
    for _ in range(2):
        page.get_by_role("button", name="Play").click()
        wait_for(lambda: page.evaluate("played.at(-1).currentTime > began.at(-1) + 0.2"))
        page.get_by_role("button", name="Stop").click()
    assert page.evaluate("began") == pytest.approx([14.0, 8.0], abs=0.2)


def test_a_stretch_without_the_event_is_played_and_the_stretches_end_where_the_audio_does(
    page: Page, server: Server, database: Db
):
    flags(database, 1, seconds=150.0, time=75.0)
    page.add_init_script(PLAYED)
    open_page(page, server)
    stretch = page.locator(".stretch span")
    expect(stretch).to_have_text("0:45 to 1:45 is shown")
    for press, shown in [
        ("Later", "1:30 to 2:30"),
        ("Later", "1:30 to 2:30"),
        ("Earlier", "0:30 to 1:30"),
        ("Earlier", "0:00 to 1:00"),
        ("Earlier", "0:00 to 1:00"),
    ]:
        page.get_by_role("button", name=press).click()
        expect(stretch).to_have_text(f"{shown} is shown")
    expect(page.get_by_role("button", name="Play")).to_be_enabled()
    expect(page.locator("[part~=region]")).to_have_count(0)
    page.get_by_role("button", name="Play").click()
    wait_for(lambda: page.evaluate("played[0].currentTime > 0.3"))
    expect(page.get_by_role("button", name="Stop")).to_be_visible()


def test_the_place_can_be_dragged_where_the_audio_came_after_the_form(page: Page, server: Server, database: Db):
    [conversation] = flags(database, 1, seconds=20.0, time=10.0)
    audio: list[Route] = []
    page.route("**/audio/**", lambda route: audio.append(route))
    with page.expect_request("**/audio/**"):
        open_page(page, server)
    page.keyboard.press("ArrowUp")
    audio[0].continue_()
    expect(page.locator("[part~=region]")).to_be_visible()
    drag(page, 0.5, 0.75)
    expect(page.locator("form.edit output")).to_have_text(re.compile(r"heard at 0:1[45]\.\d"))
    page.get_by_label("What was said").press("Escape")
    page.keyboard.press("ArrowLeft")
    wait_for(lambda: answered(database) == {conversation: "rejected"})
    assert review_of(database, conversation, "sneeze")["time"] == pytest.approx(15.0, abs=0.3)


def test_an_unknown_place_is_marked_at_the_playhead_and_can_be_dragged(page: Page, server: Server, database: Db):
    flags(database, 1, seconds=20.0, time=None)
    open_page(page, server)
    expect(page.get_by_role("button", name="Play")).to_be_enabled()
    page.keyboard.press("ArrowUp")
    place = page.locator("form.edit output")
    expect(place).to_have_text("place unknown")
    page.mouse.click(*at(page, 0.5))
    page.get_by_role("button", name="It is at the playhead").click()
    expect(place).to_have_text(re.compile(r"heard at 0:(09\.9|10\.0)"))
    expect(page.locator("[part~=region]")).to_be_visible()
    drag(page, 0.5, 0.25)
    expect(place).to_have_text(re.compile(r"heard at 0:0[45]\.\d"))
