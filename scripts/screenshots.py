"""The pictures of the README, from a running Dagster UI (`make ui`), after a run that is started by clicking.

python scripts/screenshots.py [FOLDER] [--url http://127.0.0.1:3000] [--launch full_loop]
"""

import argparse
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

LOCATION = "/locations/event_detection_pipeline"
GRAPH = "assets"
# Name of the picture: page, height in pixels (a page's own scrolling would cut off what is below).
PAGES = {
    GRAPH: ("/asset-groups", 860),
    "training_clips": ("/assets/training_clips", 1800),
    "training_manifest": ("/assets/training_manifest", 1900),
    "candidate_adapter": ("/assets/candidate_adapter", 1300),
    "adapter_evaluation": ("/assets/adapter_evaluation", 1610),
    "promoted_adapter": ("/assets/promoted_adapter", 1100),
    "anomaly_flags": ("/assets/anomaly_flags", 1700),
    "review_metrics": ("/assets/review_metrics", 1300),
    "checks": ("/assets/training_manifest?view=checks", 1000),
    "automation": ("/automation", 800),
    "jobs": ("/jobs", 640),
}
README = (GRAPH, "adapter_evaluation", "checks", "automation")
WIDTH, GRAPH_WIDTH = 1600, 2300  # pixels; narrower, the graph's nodes have only names
SETTLE_MILLISECONDS = 10_000  # the graph is laid out by a worker after the page has loaded
POLL_MILLISECONDS = 5000
ENDED = ("SUCCESS", "FAILURE", "CANCELED")
COLOURS = 256  # of a picture; enough for a page, and half the bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs/images"))
    parser.add_argument("--url", default="http://127.0.0.1:3000")
    parser.add_argument("--launch", metavar="JOB", help="start this job in the Launchpad first, and wait for it")
    parser.add_argument("--only", nargs="+", choices=PAGES, default=README, help="other pages than the README's")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page()
        if options.launch:
            launch(page, options.url, options.launch)
        for name in options.only:
            take(page, options.url, name, options.folder)
        browser.close()


def launch(page: Page, url: str, job: str) -> None:
    """Start a job as a person does, and wait until its run has ended well."""
    page.set_viewport_size({"width": WIDTH, "height": 1000})
    page.goto(f"{url}{LOCATION}/jobs/{job}/playground")
    page.get_by_role("button", name="Launch Run").click()
    page.wait_for_url("**/runs/*")
    run_id = page.url.rsplit("/", 1)[1]
    page.goto("about:blank")  # the page of a run draws without a pause, and would take its processor
    question = f'{{ runOrError(runId: "{run_id}") {{ ... on Run {{ status }} }} }}'
    status = None
    while status not in ENDED:
        page.wait_for_timeout(POLL_MILLISECONDS)
        status = page.request.post(f"{url}/graphql", data={"query": question}).json()["data"]["runOrError"]["status"]
    if status != "SUCCESS":
        raise SystemExit(f"run {run_id} of {job} ended as {status}: {url}/runs/{run_id}")


def take(page: Page, url: str, name: str, folder: Path) -> None:
    path, height = PAGES[name]
    page.set_viewport_size({"width": GRAPH_WIDTH if name == GRAPH else WIDTH, "height": height})
    page.goto(url + path)
    page.wait_for_timeout(SETTLE_MILLISECONDS)
    if name == GRAPH:
        page.get_by_text("Hide navigation").click()
        page.keyboard.press("Alt+E")  # expand all groups
        page.wait_for_timeout(SETTLE_MILLISECONDS)
    file = folder / f"{name}.png"
    page.screenshot(path=file)
    Image.open(file).convert("RGB").quantize(COLOURS).save(file, optimize=True)


if __name__ == "__main__":
    main()
