"""The Adapters tab in a real Chromium: what waits, and a person's approval on record."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from pymongo.database import Database

from event_detection_pipeline.adapters.store import AdapterStore
from event_detection_pipeline.config import AdapterSettings, EventSettings, Settings
from event_detection_pipeline_tests.adapters.stored import add_adapter
from event_detection_pipeline_tests.review.conftest import Server
from event_detection_pipeline_tests.review.flags import add_flagged
from event_detection_pipeline_tests.review.test_page import problems

Db = Database[dict[str, Any]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path, events=(EventSettings(name="sneeze"),), adapters=AdapterSettings(require_approval=True)
    )


@pytest.fixture
def careful_server(database: Db, settings: Settings) -> Iterator[Server]:
    server = Server(database, settings=settings)
    yield server
    server.stop()


@pytest.fixture
def store(settings: Settings) -> AdapterStore:
    store = AdapterStore(settings.adapter_dir)
    store.promote(add_adapter(settings), by="test", reason="the first")
    add_adapter(settings)
    add_adapter(settings, passed=False)
    return store


def open_tab(page: Page, server: Server) -> None:
    page.goto(server.url)
    page.get_by_role("button", name="Adapters (1)").click()
    expect(page.get_by_role("heading", name="sneeze", exact=True)).to_be_visible()


def test_a_candidate_is_approved_with_a_reason(
    context: BrowserContext, careful_server: Server, store: AdapterStore, database: Db
):
    add_flagged(database, event="sneeze")
    page = context.new_page()
    page.add_init_script("localStorage.setItem('review-name', 'Ada')")
    open_tab(page, careful_server)
    expect(page.locator(".candidate h2")).to_have_text(["sneeze_v3✕ kept back", "sneeze_v2waits for approval"])
    waiting = page.get_by_role("article", name="sneeze_v2")
    expect(waiting.locator("tbody tr").first).to_have_text("Average precision0.90 (0.80 to 0.95)0.90 (0.80 to 0.95)")
    waiting.get_by_role("button", name="Approve sneeze_v2").click()
    assert store.approval(store.versions("sneeze")[1]) is None, "without a reason nothing is approved"
    waiting.get_by_label("Why, for the record").fill("Ten of its flags were right")
    page.keyboard.press("ArrowRight")  # moves the caret, answers no card
    page.keyboard.press("Enter")
    expect(waiting.locator("h2")).to_contain_text("approved, promoted by the next run")
    expect(waiting).to_contain_text("Ten of its flags were right")
    approval = store.approval(store.versions("sneeze")[1])
    assert approval and (approval.by, approval.reason) == ("Ada", "Ten of its flags were right")
    assert database["event_reviews"].count_documents({}) == 0
    page.get_by_role("button", name="Flags").click()
    expect(page.get_by_role("heading")).to_have_text("The scan heard sneeze?")


def test_keys_answer_no_card_behind_the_tab(
    context: BrowserContext, careful_server: Server, store: AdapterStore, database: Db
):
    add_flagged(database, event="sneeze")
    page = context.new_page()
    open_tab(page, careful_server)
    for key in ("ArrowRight", "ArrowLeft", "ArrowDown", "Control+z", " "):
        page.keyboard.press(key)
    page.wait_for_timeout(400)
    assert database["event_reviews"].count_documents({}) == 0
    expect(page.get_by_role("heading", name="sneeze", exact=True)).to_be_visible()


def test_an_approval_that_came_too_late_is_told(context: BrowserContext, careful_server: Server, store: AdapterStore):
    page = context.new_page()
    open_tab(page, careful_server)
    store.approve(store.versions("sneeze")[1], by="Ben", reason="quicker")
    page.get_by_label("Why, for the record").fill("mine")
    page.keyboard.press("Enter")
    expect(page.locator(".status")).to_contain_text("sneeze_v2 does not wait for approval: approved by Ben: quicker")


def test_without_approvals_there_are_no_tabs(page: Page, server: Server):
    page.goto(server.url)
    expect(page.get_by_role("heading")).to_have_text("Nothing to review")
    expect(page.get_by_role("button", name="Adapters")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_tab_fits_a_small_phone_and_is_accessible(
    browser: Browser, careful_server: Server, store: AdapterStore, scheme: Any
):
    context = browser.new_context(viewport={"width": 360, "height": 700}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    open_tab(page, careful_server)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert problems(page) == []
    context.close()
