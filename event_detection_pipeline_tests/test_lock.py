"""requirements.lock holds what constraints.txt says; `make lock` writes it anew."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PINNED = re.compile(r"^([\w.-]+)==([^\s;\\]+)", re.MULTILINE)


def versions(file: str) -> dict[str, str]:
    text = (ROOT / file).read_text(encoding="utf-8")
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in PINNED.findall(text)}


def test_the_lock_has_the_versions_of_the_constraints() -> None:
    locked, pinned = versions("requirements.lock"), versions("constraints.txt")
    assert {name: version for name, version in locked.items() if pinned.get(name, version) != version} == {}
    assert {"dagster", "torch", "transformers", "pymongo"} <= locked.keys() & pinned.keys()


def test_every_line_of_the_lock_has_a_digest() -> None:
    entries = re.split(r"\n(?=\w)", (ROOT / "requirements.lock").read_text(encoding="utf-8"))
    assert [entry for entry in entries if PINNED.match(entry) and "--hash=sha256:" not in entry] == []
