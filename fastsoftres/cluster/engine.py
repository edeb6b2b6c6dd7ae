"""Who computes: the workers of a Dask client, or Dask's threads in this process.

A task is a pure function of references, so Dask can compute again what a worker held that is gone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol


class Engine(Protocol):
    """Where tasks run. A reference stands for a value that lies there."""

    def place(self, collection: Any) -> list[Any]:
        """References to the partitions of a collection (delayed objects), which stay where they are made."""

    def place_rows(self, collection: Any) -> list[Any]:
        """The same of A: where its partitions lie, tasks run."""

    def map(
        self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], results: int = 1
    ) -> Any:
        """A reference for each call ``function(*arguments[p])``; for several ``results`` to each of them."""

    def send(self, values: Sequence[Any]) -> list[Any]:
        """References to values of ours."""

    def gather(self, references: Sequence[Any]) -> list[Any]:
        """The values, here."""


class Threads:
    """Dask's scheduler in this process: partitions are made anew in each pass, as their graph says."""

    def place(self, collection: Any) -> list[Any]:
        """Delayed objects, not computed."""
        return list(collection)

    place_rows = place

    def map(
        self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], results: int = 1
    ) -> Any:
        """The values themselves."""
        from dask.base import compute
        from dask.delayed import delayed

        call = delayed(function, pure=False, traverse=False)
        values = list(compute(*(call(*each) for each in arguments), traverse=False, optimize_graph=False))
        return values if results == 1 else [list(part) for part in zip(*values, strict=True)]

    def send(self, values: Sequence[Any]) -> list[Any]:
        """Nothing to do."""
        return list(values)

    def gather(self, references: Sequence[Any]) -> list[Any]:
        """Nothing to do."""
        return list(references)


def _beside(partition: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def _part(values: tuple[Any, ...], i: int) -> Any:
    return values[i]


class Workers:
    """The workers of a client. A task runs where its partition lies, for that is its largest argument.

    So that row state stays there as well, each task takes its partition of A along, whether it reads it or
    not: else an idle worker would fetch row vectors, which are cheap to move, and the next pass would move
    them back.
    """

    def __init__(self, client: Any):
        self.client = client
        self.partitions: list[Any] = []

    def place(self, collection: Any) -> list[Any]:
        """Futures; the partitions are kept on the workers."""
        return list(self.client.compute(list(collection), optimize_graph=False))

    def place_rows(self, collection: Any) -> list[Any]:
        """Futures that every later task goes to."""
        self.partitions = self.place(collection)
        return self.partitions

    def map(
        self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], results: int = 1
    ) -> Any:
        """Futures."""
        submit = self.client.submit
        if len(arguments) == len(self.partitions):
            made = [
                submit(_beside, part, function, *each, pure=False)
                for part, each in zip(self.partitions, arguments, strict=True)
            ]
        else:
            made = [submit(function, *each, pure=False) for each in arguments]
        if results == 1:
            return made
        return [[submit(_part, each, i, pure=False) for each in made] for i in range(results)]

    def send(self, values: Sequence[Any]) -> list[Any]:
        """Futures whose values the scheduler can send again to another worker."""
        return [self.client.submit(_same, value, pure=False) for value in values]

    def gather(self, references: Sequence[Any]) -> list[Any]:
        """Waits, and brings them here."""
        return list(self.client.gather(list(references)))


def _same(value: Any) -> Any:
    return value


def engine() -> Engine:
    """The workers of the current client, if there is one."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return Threads()
    try:
        client = distributed.get_client()
    except ValueError:  # none
        return Threads()
    if client.status != "running":  # it would wait for ever
        raise RuntimeError(f"the current client of Dask has no scheduler (it is {client.status}): close it")
    return Workers(client)
