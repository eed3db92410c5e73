"""The audit of dependencies: what is vulnerable breaks a build, what could not be asked about is said."""

import runpy
from pathlib import Path
from typing import Any

import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "audit.py"))

# As pip-audit 2.10 writes them.
SOUND = {"name": "numpy", "version": "2.4.6", "vulns": []}
VULNERABLE = {
    "name": "flask",
    "version": "0.5",
    "vulns": [{"id": "PYSEC-2019-179", "fix_versions": ["1.0"], "aliases": [], "description": ""}],
}
UNKNOWN = {"name": "av", "skip_reason": "Dependency not found on PyPI and could not be audited: av (18.1.0)"}


def judge(*report: dict[str, Any]) -> tuple[str, bool]:
    lines, vulnerable = SCRIPT["judge"](list(report))
    return "\n".join(lines), vulnerable


def test_a_known_vulnerability_is_an_error_that_says_what_to_install() -> None:
    text, vulnerable = judge(SOUND, VULNERABLE)
    assert vulnerable
    assert "flask 0.5: PYSEC-2019-179, fixed in 1.0" in text


def test_one_that_was_judged_harmless_is_still_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCRIPT["EXCEPTIONS"], "PYSEC-2019-179", "no page of it is served")
    text, vulnerable = judge(VULNERABLE)
    assert not vulnerable
    assert "no page of it is served" in text


def test_what_could_not_be_asked_about_is_said_and_breaks_nothing() -> None:
    text, vulnerable = judge(SOUND, UNKNOWN)
    assert not vulnerable
    assert "not audited: 1 of 2 packages" in text
    assert "\naudited: 1 of 2 packages, 0 vulnerabilities" in text
