"""A running server, and Debian's Chromium to look at it with."""

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from pymongo.database import Database

from event_detection_pipeline.config import EventSettings, Settings
from event_detection_pipeline.review.app import create_app

PATIENCE_SECONDS = 15  # other tests run at the same time

SETTINGS = Settings(events=(EventSettings(name="sneeze"), EventSettings(name="doorbell")))


class Server:
    """The user loop on a port of this machine, which can be stopped and started again."""

    def __init__(
        self, database: Database[dict[str, Any]], *, token: str | None = None, settings: Settings = SETTINGS
    ) -> None:
        self._database, self._token, self._settings = database, token, settings
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        app = create_app(self._database, self._settings, token=self._token)
        config = uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="error", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the server did not start"
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)


@pytest.fixture
def server(database: Database[dict[str, Any]]) -> Iterator[Server]:
    server = Server(database)
    yield server
    server.stop()


@pytest.fixture
def locked_server(database: Database[dict[str, Any]]) -> Iterator[Server]:
    """One that asks for the token `a-token-of-some-length`."""
    server = Server(database, token="a-token-of-some-length")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        reason = "Chromium is missing; on Debian: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    expect.set_options(timeout=1000 * PATIENCE_SECONDS)
    with sync_playwright() as playwright:
        # Debian's own sandbox needs rights that a container does not have.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1000, "height": 900})
    context.set_default_timeout(1000 * PATIENCE_SECONDS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, server: Server) -> Iterator[Page]:
    """A page whose scripts must not fail, nor breach its own policy."""
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: failures.append(message.text) if "Content Security" in message.text else None)
    yield page
    assert failures == []
