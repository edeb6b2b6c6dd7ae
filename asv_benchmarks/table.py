"""Results as a Markdown table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .timing import Spread

HEAD = ("measured", "here", "beside", "there", "ratio", "bar", "met")


class Row(NamedTuple):
    """One comparison, or one measurement alone; empty cells where there is nothing to say."""

    measured: str
    here: str
    beside: str = ""
    there: str = ""
    ratio: str = ""
    bar: str = ""
    met: str = ""


def milliseconds(times: list[float] | Spread) -> str:
    """Median and range of times, e.g. ``25.1 ms (24.9-26.3)``."""
    return with_range(times if isinstance(times, Spread) else Spread.of(times), 1e3, " ms")


def with_range(spread: Spread, scale: float = 1.0, unit: str = "") -> str:
    """``median unit (min-max)`` with three digits of the median."""
    middle, low, high = (scale * value for value in spread)
    places = 0 if middle >= 100 else 1 if middle >= 10 else 2
    return f"{middle:.{places}f}{unit} ({low:.{places}f}-{high:.{places}f})"


def verdict(value: float, holds: Callable[[float], bool], judged: bool) -> str:
    """Whether a bar is met; quick runs have other sizes and are not judged."""
    return ("yes" if holds(value) else "NO") if judged else "not judged"


def markdown(rows: list[Row]) -> str:
    """The table of comparisons."""
    return text(HEAD, rows)


def text(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, columns aligned."""
    cells = [head, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)
