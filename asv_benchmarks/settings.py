"""What the command line asks of every group."""

from __future__ import annotations

from typing import NamedTuple

#: A quick run has this share of the rows.
_QUICK = 20


class Settings(NamedTuple):
    """Options of a run."""

    quick: bool
    repeat: int

    @property
    def judged(self) -> bool:
        """Whether the sizes are those of the bars."""
        return not self.quick

    def size(self, n: int, d: int) -> tuple[int, int]:
        """Rows and columns."""
        return (n // _QUICK if self.quick else n), d
