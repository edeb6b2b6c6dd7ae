"""What a reader says when a file cannot be used."""

from __future__ import annotations


class InputError(ValueError):
    """A file, table or choice of columns that cannot be used. The message is one line that says where."""

    def __init__(self, message: str):
        super().__init__(" ".join(message.splitlines()))  # names and cells of a file may hold line ends
