"""What commands print: whole, whatever is in it."""

import os
import pty
import subprocess
import sys

import pytest

from event_detection_pipeline.cli.shared import console, print_error, print_table

ID = "9b1c7c1e-5a55-4b0e-9f43-0d6f8f2a1c3d"
ROW = (ID, "12.0 to 24.0", "yes", "0.912", "0.231", f"/mnt/[backup]/data/audio/{ID}_12000-24000.wav")
COLUMNS = ("conversation", "at (s)", "event in it", "sneeze_v2", "sneeze_v3", "audio")


def test_in_a_pipe_a_row_is_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_table(COLUMNS, [ROW])
    _, line = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in line.strip().split("  ") if cell.strip()] == list(ROW)


def test_on_a_terminal_of_80_columns_nothing_is_cut_off() -> None:
    script = f"from event_detection_pipeline.cli.shared import print_table; print_table({COLUMNS!r}, [{ROW!r}])"
    controller, terminal = pty.openpty()
    environment = os.environ | {"COLUMNS": "80", "TERM": "dumb"}
    subprocess.run([sys.executable, "-c", script], stdout=terminal, env=environment, check=True)
    os.close(terminal)
    shown = os.read(controller, 1 << 16).decode()
    os.close(controller)
    lines = shown.splitlines()
    assert "\u2026" not in shown and max(map(len, lines)) <= 80
    in_last_column = "".join(line[lines[0].index("audio") :].strip() for line in lines[1:])
    assert in_last_column == ROW[-1]


def test_names_that_look_like_markup_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["bell [dQw4w9WgXcQ].wav", "/data/[/x]/m.jsonl", "[red]", "a" * 200 + " b"]
    for name in names:
        print_error(name)
        console.print(name)
    assert capsys.readouterr().err.splitlines() == [line for name in names for line in (f"error: {name}", name)]
