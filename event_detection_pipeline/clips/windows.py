"""Where a long recording is cut: windows that tile it, end in pauses, and never part a word or an event."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# A cut keeps this distance from the words beside it where the pause is wide enough: recognisers end words early.
_MARGIN_SECONDS = 0.25
# A pause this long is as good a place to cut as any longer one.
_GOOD_PAUSE_SECONDS = 1.0
# Cuts are made at whole milliseconds, so that a manifest says exactly where.
_PRECISION = 3
# How much a good pause is worth: it may lie half the target length off the ideal place.
_PAUSE_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a recording, in seconds."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start

    def holds(self, time: float) -> bool:
        return self.start <= time < self.end


def cut(seconds: float, solid: Iterable[tuple[float, float]], *, target: float, longest: float) -> list[Window]:
    """Tile [0, seconds] with windows of about `target` seconds.

    No window begins or ends inside a solid stretch. One is longer than `longest` only if something solid leaves no
    place to cut: the caller sets that one aside.
    """
    pauses = _pauses(seconds, solid)
    windows: list[Window] = []
    start = 0.0
    while seconds - start > min(1.5 * target, longest):
        end = _best_cut(start, pauses, target, longest)
        if end is None or end >= seconds:
            break
        windows.append(Window(start, end))
        start = end
    if seconds > start:
        windows.append(Window(start, seconds))
    return windows


def _pauses(seconds: float, solid: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """What lies between solid stretches; where two touch it is a moment of no length."""
    pauses: list[tuple[float, float]] = []
    reached = 0.0
    for start, end in sorted(solid):
        if reached <= start <= seconds:
            pauses.append((reached, start))
        reached = max(reached, end)
    if reached <= seconds:
        pauses.append((reached, seconds))
    return pauses


def _best_cut(start: float, pauses: Sequence[tuple[float, float]], target: float, longest: float) -> float | None:
    """The best moment to end a window that begins at `start`; if none is near enough, the next there is."""
    best: tuple[float, float] | None = None
    # Pauses are in order: those that end before a window may are skipped at once.
    nearest = start + target / 4
    for number in range(bisect_left(pauses, nearest, key=lambda pause: pause[1]), len(pauses)):
        pause_start, pause_end = pauses[number]
        if best and best[0] >= _PAUSE_WEIGHT - (pause_start - start - target) / target:
            break  # no later one can be better
        margin = min(_MARGIN_SECONDS, (pause_end - pause_start) / 2)
        if pause_start > start + longest:
            return best[1] if best else round(pause_start + margin, _PRECISION)
        first = max(pause_start + margin, nearest)
        last = min(pause_end - margin, start + longest)
        if first > last:
            continue
        moment = round(min(max(start + target, first), last), _PRECISION)
        width = min(pause_end - pause_start, _GOOD_PAUSE_SECONDS) / _GOOD_PAUSE_SECONDS
        score = _PAUSE_WEIGHT * width - abs(moment - start - target) / target
        if best is None or score > best[0]:
            best = score, moment
    return best[1] if best else None
