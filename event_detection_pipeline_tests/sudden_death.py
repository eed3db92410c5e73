"""Sudden death: a process that ends itself, without a word, before its n-th change to the file system or a database.

Changes of files are heard by an audit hook (https://docs.python.org/3/library/audit_events.html), those of a database
by a listener of its driver. Neither can be taken back: use it in a process of its own.
"""

import os
import sys
from collections import Counter
from threading import Lock
from typing import Any

from pymongo import monitoring

KILLED = 9
"""The exit status of a process that died so."""

_CHANGES = {"os.rename", "os.mkdir", "os.symlink", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"}
_COMMANDS = {"insert", "update", "delete", "findAndModify", "createIndexes"}


class Fate:
    """Counts the changes that this process makes from now on, and its commands to a database.

    Args:
        dies_before: the number (from 0) of the change that is not made any more; None to count only.
    """

    def __init__(self, dies_before: int | None = None) -> None:
        self.changes = 0
        self.commands: Counter[str] = Counter()
        self._dies_before = dies_before
        self._lock = Lock()
        sys.addaudithook(self._hear)
        monitoring.register(_Commands(self))

    def count(self) -> None:
        with self._lock:
            if self.changes == self._dies_before:
                os._exit(KILLED)
            self.changes += 1

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if event in _CHANGES or (event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR)):
            self.count()


class _Commands(monitoring.CommandListener):
    def __init__(self, fate: Fate) -> None:
        self._fate = fate

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self._fate.commands[event.command_name] += 1
        if event.command_name in _COMMANDS:
            self._fate.count()

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...
