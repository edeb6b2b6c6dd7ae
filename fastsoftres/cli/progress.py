"""The iterations as they happen: a table on stdout, and a progress line under it on a long run."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from tqdm import tqdm

HEADER = f"{'iter':>6}  {'loss':>12}  {'rel. gradient':>13}  {'step':>9}  {'largest dz':>10}"
#: Seconds before a progress line appears: on a short run it would cost more than the fit.
_DELAY = 2.0
#: Without a time of arrival: nobody knows how many iterations are left.
_BAR = "{l_bar}{bar}| {n_fmt} of at most {total_fmt} iterations, {elapsed}{postfix}"


class IterationTable:
    """A callback of ``solve`` that prints one line an iteration; later ones more and more rarely.

    Where the solver makes runs from several starts, it is the first that is followed; if another leads
    lower, that one is printed at the end.
    """

    def __init__(self, maxiter: int):
        self.maxiter = maxiter
        self.runs = 1
        self.nit = 0
        self.printed = -1
        self.bar: tqdm[Any] | None = None

    def __enter__(self) -> IterationTable:
        print(HEADER, flush=True)
        self.began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, intermediate_result: Any) -> None:  # the name by which solvers know this signature
        """Print this iteration, or pass over it."""
        nit = intermediate_result.nit
        if nit <= self.nit:
            self.runs += 1
        self.nit = nit
        if self.bar is None and time.monotonic() - self.began > _DELAY:
            # begun late by hand: tqdm's own delay ends at the first line written above the bar.
            # disable=None: none at all where stderr is not a terminal
            self.bar = tqdm(
                total=self.maxiter, initial=nit, disable=None, leave=False, file=sys.stderr, bar_format=_BAR
            )
        if self.runs == 1 and _shown(nit):
            self._print(intermediate_result)
        if self.bar is not None:
            self.bar.set_description(f"start {self.runs}" if self.runs > 1 else None, refresh=False)
            self.bar.set_postfix_str(f"loss {intermediate_result.fun:.6g}", refresh=False)
            self.bar.update(nit - self.bar.n)

    def finish(self, result: Any) -> None:
        """Print what is missing: the last iteration, or the run that led lowest."""
        runs = result.get("starts")
        if runs and runs[0]["start"] != result.start:
            tqdm.write(f"the lowest run began at another start, {result.start}:")
            for row in result.history[:-1]:
                if _shown(row["nit"]):
                    self._print(row)
            self._print(result.history[-1])
        elif result.history and result.history[-1]["nit"] > self.printed:
            self._print(result.history[-1])

    def _print(self, row: Any) -> None:
        tqdm.write(
            f"{row['nit']:6d}  {row['fun']:12.6e}  {row['gradient']:13.2e}  {row['step']:9.2e}  "
            f"{row['largest_dz']:10.2e}"
        )
        sys.stdout.flush()
        self.printed = row["nit"]


def _shown(nit: int) -> bool:
    """All of the first 20, every tenth to 200, every hundredth beyond."""
    return nit <= 20 or nit % (10 if nit <= 200 else 100) == 0
