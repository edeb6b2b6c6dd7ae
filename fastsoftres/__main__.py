"""``python -m fastsoftres``, and what the ``fastsoftres`` script calls."""

from __future__ import annotations

import sys

#: What the command line needs beyond the package itself: the extra [cli].
_EXTRA = ("click", "matplotlib", "tqdm")


def main() -> None:
    """Run the command line; without its packages, say how to install them."""
    from importlib.util import find_spec

    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        hint = 'pip install "fastsoftres[cli]"'
        print(f"fastsoftres: the command line needs {', '.join(missing)}: {hint}", file=sys.stderr)
        raise SystemExit(2)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without λ shows ? and goes on
    from .cli.app import fastsoftres

    fastsoftres(prog_name="fastsoftres")


if __name__ == "__main__":
    main()
