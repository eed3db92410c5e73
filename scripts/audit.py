"""Asks PyPI for known vulnerabilities of every version in constraints.txt: one is an error, no answer is said.

    python scripts/audit.py

Exit code 1 if a version is known to be vulnerable. What could not be asked about is named, and breaks nothing: a build
without the internet is no worse than before.
"""

import json
import subprocess
import sys
from collections import Counter
from typing import Any

# Known and harmless here: the id of each, and why. None at present.
EXCEPTIONS: dict[str, str] = {}


def main() -> int:
    command = [sys.executable, "-m", "pip_audit", "-r", "constraints.txt", "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off"]
    answer = subprocess.run(command, capture_output=True, text=True)
    try:
        report = json.loads(answer.stdout)["dependencies"]
    except (ValueError, KeyError):
        lines = answer.stderr.strip().splitlines()
        print(f"not audited: {lines[-1] if lines else 'pip-audit says nothing'}")
        return 0
    lines, vulnerable = judge(report)
    print("\n".join(lines))
    return 1 if vulnerable else 0


def judge(report: list[dict[str, Any]]) -> tuple[list[str], bool]:
    """What to tell people of pip-audit's `dependencies`, and whether any of them has to change."""
    found = [(one, vulnerability) for one in report for vulnerability in one.get("vulns", [])]
    lines = []
    for one, vulnerability in found:
        fixed = ", ".join(vulnerability["fix_versions"]) or "no version"
        why = EXCEPTIONS.get(vulnerability["id"])
        allowed = f"; left as it is: {why}" if why else ""
        lines.append(f"{one['name']} {one['version']}: {vulnerability['id']}, fixed in {fixed}{allowed}")
    skipped = Counter(one["skip_reason"].split(":")[0] for one in report if "skip_reason" in one)
    lines += [f"not audited: {count} of {len(report)} packages: {reason}" for reason, count in skipped.items()]
    lines.append(f"audited: {len(report) - skipped.total()} of {len(report)} packages, {len(found)} vulnerabilities")
    return lines, any(vulnerability["id"] not in EXCEPTIONS for _, vulnerability in found)


if __name__ == "__main__":
    sys.exit(main())
