"""How the review server holds up: many people answering at once from a long queue, over HTTP and a real database.

python -m benchmarks.review            50 people, 10 000 cards, 30 s
python -m benchmarks.review --quick    20 people, 1 000 cards, 5 s
"""

import random
import socket
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import uvicorn

from benchmarks.common import database_server, finish, parser
from event_detection_pipeline.chronicle.database import connect
from event_detection_pipeline.config import EventSettings, Settings
from event_detection_pipeline.review.app import create_app
from event_detection_pipeline_tests.review.flags import add_many_flagged

API = "/api/user-loop/v2"
THINK_SECONDS = (1.0, 3.0)


def main() -> None:
    options = parser(__doc__).parse_args()
    people, cards, seconds = (20, 1_000, 5.0) if options.quick else (50, 10_000, 30.0)
    with database_server() as uri:
        database = connect(uri, "benchmark")
        for collection, unique in (("conversations", True), ("audio_chunks", False)):
            database[collection].create_index("conversation_id", unique=unique)  # Chronicle's own
        add_many_flagged(database, cards)
        result = measure(create_app(database, Settings(events=(EventSettings(name="sneeze"),))), people, seconds)
        answered = database["event_reviews"].count_documents({"answer": {"$ne": None}})
    rows, shown, errors = result
    twice = sum(count > 1 for count in shown.values())
    print(f"{people} people, {cards} cards, {seconds:g} s: {answered} answers ({answered / seconds:.0f}/s), ", end="")
    print(f"{len(errors)} errors, {twice} cards shown to two people")
    for error, count in Counter(errors).most_common(3):
        print(f"  {count} x {error}")
    ratios = {
        "error_share": len(errors) / sum(row["calls"] for row in rows),
        "shown_twice": twice / max(len(shown), 1),
    }
    finish(rows, ratios, options.json)


def measure(app: Any, people: int, seconds: float) -> tuple[list[dict[str, Any]], Counter[str], list[str]]:
    """Let people take a card, answer it, and ask for the figures.

    Returns:
        A row for each call, how many people each card was shown to, and the errors.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    times: defaultdict[str, list[float]] = defaultdict(list)
    shown: Counter[str] = Counter()
    errors: list[str] = []
    until = time.monotonic() + seconds

    def review(number: int) -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            seen: set[str] = set()
            thinking = random.Random(number)
            while time.monotonic() < until:
                found = call(client, "next", {"client": f"reviewer-{number:04}", "count": 3})
                for card in (found or {}).get("cards", [])[:1]:
                    seen.add(card["conversation_id"])
                    time.sleep(thinking.uniform(*THINK_SECONDS))
                    key = {name: card[name] for name in ("conversation_id", "version_id", "event")}
                    call(client, "answers", key | {"answer": "rejected" if number % 2 else "accepted"})
                call(client, "stats", None)
            shown.update(seen)

    def call(client: httpx.Client, name: str, body: dict[str, Any] | None) -> dict[str, Any] | None:
        began = time.perf_counter()
        try:
            if body is None:
                response = client.get(f"{API}/{name}", params={"since": "2025-01-01T00:00:00Z"})
            else:
                response = client.post(f"{API}/{name}", json=body)
            response.raise_for_status()
        except httpx.HTTPError as error:
            errors.append(f"{name}: {type(error).__name__} {error}"[:120])
            return None
        times[name].append((time.perf_counter() - began) * 1000)
        return response.json()

    with ThreadPoolExecutor(people) as pool:
        list(pool.map(review, range(people)))
    server.should_exit = True
    thread.join(10)
    rows = [
        {
            "call": name,
            "calls": len(taken),
            "p50_ms": round(float(np.percentile(taken, 50))),
            "p95_ms": round(float(np.percentile(taken, 95))),
        }
        for name, taken in sorted(times.items())
    ]
    return rows, shown, errors


if __name__ == "__main__":
    main()
