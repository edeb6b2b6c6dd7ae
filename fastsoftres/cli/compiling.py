"""A word to who waits for the first run: kernels are compiled, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from numba.core import event

_WORDS = "compiling: this run reaches kernels that are not in the cache yet. The first takes some 20 seconds"


class _Listener(event.Listener):
    def __init__(self) -> None:
        self.told = False

    def on_start(self, event: Any) -> None:
        """Numba compiles; what it finds in the cache it does not announce."""
        if not self.told:
            self.told = True
            click.echo(click.style(_WORDS, dim=True), err=True)

    def on_end(self, event: Any) -> None:
        """Nothing to say."""


@contextmanager
def announced() -> Iterator[None]:
    """Say so on stderr, once, when something is compiled inside."""
    with event.install_listener("numba:compile", _Listener()):
        yield
