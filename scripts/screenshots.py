"""Screenshots of the running Dagster UI (`make ui`) for the README: python scripts/screenshots.py [FOLDER]."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

URL = "http://127.0.0.1:3000"
PAGES = {
    "assets": "/asset-groups",
    "adapter_evaluation": "/assets/adapter_evaluation",
    "training_clips": "/assets/training_clips",
    "candidate_adapter": "/assets/candidate_adapter",
    "anomaly_flags": "/assets/anomaly_flags",
    "checks": "/assets/training_manifest?view=checks",
    "automation": "/automation",
}
SETTLE_MILLISECONDS = 6000  # the graph is laid out by a worker after the page has loaded


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        for name, path in PAGES.items():
            page.goto(URL + path)
            page.wait_for_timeout(SETTLE_MILLISECONDS)
            if name == "assets":
                page.keyboard.press("Alt+E")  # expand all groups
                page.wait_for_timeout(SETTLE_MILLISECONDS)
            page.screenshot(path=folder / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
