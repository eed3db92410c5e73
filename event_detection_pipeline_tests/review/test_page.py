"""The page in a real Chromium: what a person sees, presses and swipes, and what is in the database then."""

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect
from pymongo.database import Database

from event_detection_pipeline.review import page as page_module
from event_detection_pipeline_tests.review.conftest import PATIENCE_SECONDS, Server
from event_detection_pipeline_tests.review.flags import add_flagged, add_many_flagged, version_of

Db = Database[dict[str, Any]]

LOCK_MS = 400  # a little longer than the page ignores a second answer
POLL_MS = 26_000  # a little longer than the page waits before it asks for cards again


def flags(database: Db, count: int = 1, **fields: Any) -> list[str]:
    """Flagged sneezes, the first to be shown first."""
    return [
        add_flagged(database, event="sneeze", score=0.6 + i / 10_000, title=f"Card {i}", **fields) for i in range(count)
    ]


def title(page: Page):
    return page.locator(".facts li").first


def open_page(page: Page, server: Server) -> None:
    page.goto(server.url)
    expect(page.locator("article")).to_be_visible()


def wait_for(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def answered(database: Db) -> dict[str, str | None]:
    return {review["conversation_id"]: review["answer"] for review in database["event_reviews"].find()}


def test_a_card_shows_what_was_heard_and_where(page: Page, server: Server, database: Db):
    words = [{"word": word, "start": float(i), "end": i + 0.5} for i, word in enumerate(["well", "bless", "you"])]
    flags(database, words=words, transcript="well bless you", time=0.8)
    open_page(page, server)
    expect(page.get_by_role("heading")).to_have_text("The scan heard sneeze?")
    expect(page.locator(".facts")).to_contain_text("score 0.60, flagged from 0.50")
    expect(page.locator(".facts")).to_contain_text("at 0:00 of 0:05")
    expect(page.locator(".transcript")).to_have_text("well sneeze here bless you")
    expect(page.locator("header .progress")).to_have_text("1 waiting · 0 today")
    expect(page.get_by_role("button", name="Play")).to_be_enabled()


def test_arrow_keys_answer_and_undo_works_after_the_last_card(page: Page, server: Server, database: Db):
    yes, no = flags(database, 2)
    open_page(page, server)
    page.keyboard.press("ArrowRight")
    expect(title(page)).to_have_text("Card 1")
    page.wait_for_timeout(LOCK_MS)
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("heading")).to_have_text("Nothing to review")
    wait_for(lambda: answered(database) == {yes: "accepted", no: "rejected"})
    expect(page.locator("header .progress")).to_have_text("0 waiting · 2 today")
    page.keyboard.press("Control+z")
    expect(title(page)).to_have_text("Card 1")
    page.get_by_role("button", name="Undo").click()
    expect(title(page)).to_have_text("Card 0")
    wait_for(lambda: answered(database) == {yes: None, no: None})
    assert version_of(database, no)["maybe_anomaly"] is True
    assert database["training_stash"].count_documents({}) == 0


def test_a_held_key_and_a_double_click_answer_one_card(page: Page, server: Server, database: Db):
    flags(database, 4)
    open_page(page, server)
    for _ in range(10):
        page.keyboard.down("ArrowRight")  # without `up` between them these are repeats
    page.keyboard.up("ArrowRight")
    expect(title(page)).to_have_text("Card 1")
    page.wait_for_timeout(LOCK_MS)
    page.get_by_role("button", name="No").dblclick()
    expect(title(page)).to_have_text("Card 2")
    wait_for(lambda: len(answered(database)) == 2)
    page.wait_for_timeout(LOCK_MS)
    assert len(answered(database)) == 2


def test_a_swipe_with_the_mouse_answers_and_a_short_pull_does_not(page: Page, server: Server, database: Db):
    yes, no = flags(database, 2)
    open_page(page, server)

    def drag(px: int) -> None:
        box = page.locator(".facts").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 5)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2 + px, box["y"] + 8, steps=5)
        page.mouse.up()

    drag(80)
    page.wait_for_timeout(LOCK_MS)
    expect(title(page)).to_have_text("Card 0")
    drag(130)
    expect(title(page)).to_have_text("Card 1")
    page.wait_for_timeout(LOCK_MS)
    drag(-130)
    wait_for(lambda: answered(database) == {yes: "accepted", no: "rejected"})


def test_a_swipe_with_a_finger_answers_and_scrolling_does_not(browser: Browser, server: Server, database: Db):
    [conversation] = flags(database, 1)
    context = browser.new_context(viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    page = context.new_page()
    open_page(page, server)
    touch = context.new_cdp_session(page)

    def swipe(dx: int, dy: int) -> None:
        points = [{"x": 180 + dx * i / 8, "y": 150 + dy * i / 8} for i in range(9)]
        touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points[:1]})
        for point in points[1:]:
            touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    swipe(20, -120)
    page.wait_for_timeout(LOCK_MS)
    assert answered(database) == {}
    swipe(-140, 10)
    wait_for(lambda: answered(database) == {conversation: "rejected"})
    context.close()


def test_selecting_text_with_the_mouse_answers_nothing(page: Page, server: Server, database: Db):
    flags(database, 1, transcript="well bless you and many other words that somebody may want to copy", time=None)
    open_page(page, server)
    box = page.locator(".transcript p").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 2, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + 180, box["y"] + 12, steps=8)
    page.mouse.up()
    assert page.evaluate("getSelection().toString()").startswith("well bless you")
    page.wait_for_timeout(LOCK_MS)
    assert answered(database) == {}


def test_answers_given_without_a_server_are_kept_and_sent_later(page: Page, server: Server, database: Db):
    conversations = flags(database, 3)
    open_page(page, server)
    expect(page.get_by_role("button", name="Play")).to_be_enabled()
    page.wait_for_timeout(300)  # the next cards' audio is being fetched
    server.stop()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(LOCK_MS)
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".outbox")).to_have_text("2 answers wait to be saved; trying again")
    assert answered(database) == {}
    server.start()
    wait_for(lambda: answered(database) == {conversations[0]: "accepted", conversations[1]: "rejected"})
    expect(page.locator(".outbox")).to_be_hidden()
    expect(title(page)).to_have_text("Card 2")


def test_unsent_answers_survive_closing_the_page(context: BrowserContext, page: Page, server: Server, database: Db):
    [conversation] = flags(database, 1)
    open_page(page, server)
    server.stop()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".outbox")).to_be_visible()
    page.close()
    server.start()
    context.new_page().goto(server.url)
    wait_for(lambda: answered(database) == {conversation: "accepted"})


def test_an_answer_that_never_left_is_taken_back_here(page: Page, server: Server, database: Db):
    flags(database, 1)
    open_page(page, server)
    server.stop()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".outbox")).to_be_visible()
    page.keyboard.press("Control+z")
    expect(title(page)).to_have_text("Card 0")
    expect(page.locator(".outbox")).to_be_hidden()
    server.start()
    page.wait_for_timeout(1_500)
    assert answered(database) == {}


def test_an_answer_that_another_tab_has_sent_is_taken_back(
    context: BrowserContext, page: Page, server: Server, database: Db
):
    [conversation] = flags(database, 1)
    open_page(page, server)
    page.route("**/answers", lambda route: route.abort())
    page.keyboard.press("ArrowRight")
    expect(page.locator(".outbox")).to_be_visible()
    context.new_page().goto(server.url)
    wait_for(lambda: answered(database) == {conversation: "accepted"})
    page.unroute("**/answers")
    page.get_by_role("button", name="Undo").click()
    expect(title(page)).to_have_text("Card 0")
    wait_for(lambda: answered(database) == {conversation: None})


def poll(page: Page) -> None:
    with page.expect_response("**/next"):
        page.clock.fast_forward(POLL_MS)
    page.wait_for_timeout(LOCK_MS)


def test_a_card_stays_in_front_of_a_person_over_a_restart_of_the_server(page: Page, server: Server, database: Db):
    flags(database, 1)
    page.clock.install()
    open_page(page, server)
    server.stop()
    for _ in range(3):
        add_flagged(database, event="sneeze", score=0.51, title="Comes before it in the queue")
    server.start()
    poll(page)
    expect(title(page)).to_have_text("Card 0")


@pytest.mark.parametrize("typed", [True, False])
def test_a_card_that_somebody_else_took_makes_way_but_not_what_was_typed(
    page: Page, server: Server, database: Db, typed: bool
):
    flags(database, 2)
    page.clock.install()
    open_page(page, server)
    if typed:
        page.keyboard.press("ArrowUp")
        page.get_by_label("What was said").fill("half a sen")
    server.stop()
    server.start()
    page.request.post(f"{server.url}/api/user-loop/v2/next", data={"client": "somebody-else", "count": 1})
    poll(page)
    if typed:
        expect(page.get_by_label("What was said")).to_have_value("half a sen")
        expect(title(page)).to_have_text("Card 0")
    else:
        expect(title(page)).to_have_text("Card 1")
        expect(page.locator("footer .status")).to_have_text(
            "That card was answered elsewhere, or somebody else has it now"
        )


def test_two_people_never_see_the_same_card(browser: Browser, server: Server, database: Db):
    flags(database, 8)
    seen: list[str] = []
    pages = [browser.new_context().new_page() for _ in range(2)]
    for one in pages:
        open_page(one, server)
    for _ in range(4):
        for one in pages:
            seen.append(title(one).inner_text())
            one.keyboard.press("ArrowRight")
            one.wait_for_timeout(LOCK_MS)
    assert len(seen) == len(set(seen)) == 8
    for one in pages:
        one.context.close()


def test_a_thousand_cards_are_no_burden(page: Page, server: Server, database: Db):
    add_many_flagged(database, 1_000)
    began = time.monotonic()
    open_page(page, server)
    expect(page.locator("header .progress")).to_have_text("1000 waiting · 0 today")
    assert time.monotonic() - began < 5
    expect(page.get_by_role("alert").first).to_have_text(
        "The audio cannot be played: Audio of this transcript not found"
    )
    page.keyboard.press("ArrowLeft")
    expect(page.locator("header .progress")).to_have_text("999 waiting · 1 today")


def test_a_skipped_card_is_shown_again_on_request(page: Page, server: Server, database: Db):
    flags(database, 2)
    open_page(page, server)
    page.keyboard.press("ArrowDown")
    expect(title(page)).to_have_text("Card 1")
    page.wait_for_timeout(LOCK_MS)
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="Show the 1 you skipped").click()
    expect(title(page)).to_have_text("Card 0")
    assert len(answered(database)) == 1


def test_cards_of_one_event_can_be_chosen(page: Page, server: Server, database: Db):
    add_flagged(database, event="sneeze", score=0.51)
    add_flagged(database, event="doorbell", score=0.9)
    open_page(page, server)
    expect(page.get_by_role("heading")).to_have_text("The scan heard sneeze?")
    page.get_by_label("Event").select_option("doorbell")
    expect(page.get_by_role("heading")).to_have_text("The scan heard doorbell?")


def test_the_token_is_asked_for_once(context: BrowserContext, locked_server: Server, database: Db):
    flags(database, 1)
    page = context.new_page()
    page.goto(locked_server.url)
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text("That is not the token")
    page.get_by_label("Token").fill("a-token-of-some-length")
    page.keyboard.press("Enter")
    expect(page.locator("article")).to_be_visible()
    page.reload()
    expect(page.locator("article")).to_be_visible()
    assert "a-token" not in page.evaluate("document.cookie + JSON.stringify(localStorage)")


def test_the_page_opens_without_a_connection(context: BrowserContext, page: Page, server: Server):
    page.goto(server.url)
    wait_for(lambda: page.evaluate("navigator.serviceWorker.controller !== null"))
    server.stop()
    page.reload()
    expect(page.get_by_role("heading")).to_have_text("No connection")


def test_after_an_upgrade_the_new_page_opens_without_a_connection(
    context: BrowserContext, database: Db, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    static = tmp_path / "static"
    shutil.copytree(page_module.STATIC, static)
    monkeypatch.setattr(page_module, "STATIC", static)
    server = Server(database)
    page = context.new_page()
    page.goto(server.url)
    wait_for(lambda: page.evaluate("navigator.serviceWorker.controller !== null"))
    [script] = (static / "assets").glob("*.js")
    script.rename(static / "assets" / "next.js")
    html = (static / "index.html").read_text().replace(script.name, "next.js")
    (static / "index.html").write_text(html.replace("<title>Review", "<title>The next review"))
    page.reload()
    kept = "caches.open('review-page').then(async (cache) => (await cache.keys()).map(({url}) => url.split('/').pop()))"
    wait_for(lambda: "next.js" in page.evaluate(kept) and script.name not in page.evaluate(kept))
    server.stop()
    page.reload()
    expect(page).to_have_title("The next review")
    expect(page.get_by_role("heading")).to_have_text("No connection")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_small_phone_and_is_accessible(browser: Browser, server: Server, database: Db, scheme: Any):
    flags(database, 2, transcript="an-uncommonly-long-word-without-any-break " * 3, time=1.0)
    context = browser.new_context(viewport={"width": 360, "height": 700}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    open_page(page, server)
    expect(page.get_by_role("button", name="Play")).to_be_enabled()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    ground = re.findall(r"\d+", page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
    assert (int(ground[0]) < 60) == (scheme == "dark")
    assert problems(page) == []
    page.keyboard.press("ArrowUp")
    assert problems(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert problems(page) == []
    context.close()


def problems(page: Page) -> list[str]:
    """What axe-core finds wrong with the page (WCAG 2.2 AA)."""
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]}
    violations = Axe().run(page, options=options).response["violations"]
    return [f"{one['id']}: {node['html']}" for one in violations for node in one["nodes"]]
