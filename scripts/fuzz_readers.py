"""Coverage-guided fuzzing of what the command line reads: .npy, .npz and .csv.

    python -m pip install atheris
    python scripts/fuzz_readers.py -max_total_time=1200 -rss_limit_mb=2048 -timeout=10

Numbers, or one line that names the file; any other error, more memory or more time ends it with the input
that did it, in a file ``crash-...``. ``tests/test_fuzz.py`` is the same with hypothesis, in the suite.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["fastsoftres.data", "fastsoftres.cli.predicting", "numpy.lib", "zipfile", "csv"]
):
    import numpy as np

    from fastsoftres.cli.predicting import read_model
    from fastsoftres.data.arrays import members, read_matrix, read_vector
    from fastsoftres.data.errors import InputError
    from fastsoftres.data.tables import CsvTable, distinct, header, read_columns

FOLDER = tempfile.TemporaryDirectory()
SUFFIXES = (".npy", ".npz", ".csv")


def readers(path: Path):
    """Everything that opens such a file."""
    yield lambda: read_matrix(path)
    yield lambda: read_vector(path)
    yield lambda: members(path)
    yield lambda: read_model(path)
    if path.suffix == ".csv":
        yield lambda: header(path)
        yield lambda: distinct(path, "a")
        yield lambda: read_columns(path, ["a", "b"])
        yield lambda: CsvTable(path, ["a"], ["b"]).labels("b")


def one_input(data: bytes) -> None:
    """The first byte chooses the kind of file."""
    path = Path(FOLDER.name) / ("input" + SUFFIXES[data[0] % 3 if data else 0])
    path.write_bytes(data[1:])
    for read in readers(path):
        try:
            read()
        except InputError as error:
            if str(path) not in str(error) or "\n" in str(error):
                raise


def seeds(folder: Path) -> None:
    """Sound files to begin from."""
    values = np.arange(12.0).reshape(6, 2)
    for kind, suffix in enumerate(SUFFIXES):
        path = folder / f"seed{suffix}"
        if suffix == ".npy":
            np.save(path, values)
        elif suffix == ".npz":
            np.savez(path, A=values, b=values[:, 0])
        else:
            path.write_text('a,b\n1.5,x\n2.5,"y"\n-3e-5,z\n')
            model = folder / "model.csv"
            model.write_text("feature,skip=0,skip=0.5\nprice,1.5,2\nair,-0.25,1e3\n")
            model.write_bytes(bytes([kind]) + model.read_bytes())
        path.write_bytes(bytes([kind]) + path.read_bytes())


if __name__ == "__main__":
    corpus = Path(FOLDER.name) / "corpus"
    corpus.mkdir()
    seeds(corpus)
    atheris.Setup([*sys.argv, str(corpus)], one_input)
    atheris.Fuzz()
