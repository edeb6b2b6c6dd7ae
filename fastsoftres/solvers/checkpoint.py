"""A solve that outlives its process: its state in one file, from which the same steps follow to the last bit.

The file is a ``.npz`` of arrays, numbers and text; reading it runs no code. A new one replaces the old one
only when it is complete and on the disk.

Row state that lies with the workers of a cluster stays there: such a file holds x and what else has d
entries, and the solve goes on from a new evaluation of x.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._version import __version__
from ..passes import Normaliser
from ..point import Point, Scales
from .descent import State, Stepper
from .evaluator import Evaluator
from .stopping import Measures

_FORMAT = 1


class Saved(NamedTuple):
    """What a checkpoint holds, beside the counts."""

    start: str
    state: State
    memory: dict[str, Any]  # of the stepper


class Checkpoint:
    """The file of one solve.

    Parameters
    ----------
    path : path
        Its folder must exist.
    seconds : float
        It is not written more often.
    evaluator : Evaluator
    method : str
    x0 : (d,) or None
        The start that was asked for.

    Raises
    ------
    ValueError
        If there is a file that is no checkpoint, is damaged, or belongs to another problem.
    """

    def __init__(self, path: Any, seconds: float, evaluator: Evaluator, method: str, x0: np.ndarray | None):
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise ValueError(f"checkpoint: no folder {self.path.parent}")
        self.seconds, self.evaluator = seconds, evaluator
        found = self._read() if self.path.exists() else None
        self.fingerprint = _fingerprint(evaluator, method, x0)
        self.saved = None if found is None else self._restored(found)
        self.written = -np.inf

    def after(self, report: Callable[[State], bool], start: str, stepper: Stepper) -> Callable[[State], bool]:
        """``report``, and before it the state saved, if it is time."""

        def save_and_report(state: State) -> bool:
            if time.monotonic() - self.written >= self.seconds:
                self.save(start, state, stepper)
                self.written = time.monotonic()
            return report(state)

        return save_and_report

    def save(self, start: str, state: State, stepper: Stepper) -> None:
        """Write the state after an iteration."""
        point = state.point
        counts = {"kinds": dict(self.evaluator.counts), "evaluations": self.evaluator.evaluations}
        kept = _plain_fields(state)
        columns = list(state.history[0])
        arrays: dict[str, Any] = {
            "format": _FORMAT, "fingerprint": json.dumps(self.fingerprint), "start": start,
            "counts": json.dumps(counts), "state": json.dumps(kept),
            "reach": json.dumps(dataclasses.asdict(state.reach)),
            "measures": np.array(state.measures),
            "history_columns": json.dumps(columns),
            "history": np.array([[row[name] for name in columns] for row in state.history]),
            "x": point.x,
        }  # fmt: skip
        if isinstance(point.z, np.ndarray):
            arrays |= {
                "z": point.z, "value": point.value, "grad": point.grad, "means": point.means,
                "normaliser": np.stack(point.normaliser),
                "scales": np.stack([state.scales.terms, state.scales.rows]),
            }  # fmt: skip
            arrays |= {f"stepper.{name}": _packed(value) for name, value in stepper.memory().items()}
        handle, temporary = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **arrays)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
        except BaseException:
            os.unlink(temporary)
            raise

    def _read(self) -> dict[str, Any]:
        try:
            with open(self.path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}  # every entry has a checksum
            if int(found["format"]) != _FORMAT:
                raise ValueError(f"format {found['format']}, and this release reads {_FORMAT}")
            return found | {"fingerprint": json.loads(str(found["fingerprint"]))}
        except (
            OSError,
            EOFError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            zipfile.BadZipFile,
        ) as error:
            raise ValueError(
                f"checkpoint: {self.path} is damaged, or no checkpoint: {error}. Nothing was changed; "
                f"remove it, or name "
                "another file, to begin anew"
            ) from error

    def _restored(self, found: dict[str, Any]) -> Saved:
        other = found["fingerprint"]
        differ = [name for name, value in self.fingerprint.items() if other.get(name) != value]
        if differ:
            raise ValueError(
                f"checkpoint: {self.path} is of another solve: {', '.join(differ)} differ. Nothing was "
                f"changed; name "
                "another file"
            )
        problem = self.evaluator.problem
        if "z" in found:
            arrays = {name: _frozen(found[name]) for name in ("x", "z", "grad", "means")}
            point = Point(
                problem,
                value=float(found["value"]),
                normaliser=Normaliser(*(row.copy() for row in found["normaliser"])),
                **arrays,
            )
            scales = Scales(*found["scales"])
        else:
            point, scales = self.evaluator.gradient(*self.evaluator.place(found["x"]))
        state = State(point, scales, Measures(*found["measures"].tolist()))
        for name, value in json.loads(str(found["state"])).items():
            setattr(state, name, value)
        for name, value in json.loads(str(found["reach"])).items():
            setattr(state.reach, name, value)
        columns = json.loads(str(found["history_columns"]))
        state.history = [dict(zip(columns, row, strict=True)) for row in found["history"].tolist()]
        for row in state.history:
            row["nit"] = int(row["nit"])
        self.counts = json.loads(str(found["counts"]))
        prefix = "stepper."
        memory = {
            name.removeprefix(prefix): _unpacked(value)
            for name, value in found.items()
            if name.startswith(prefix)
        }
        return Saved(str(found["start"]), state, memory)

    def recount(self) -> None:
        """Reads so far are those of the saved run."""
        self.evaluator.counts.clear()
        self.evaluator.counts.update(self.counts["kinds"])
        self.evaluator.evaluations = self.counts["evaluations"]


def _plain_fields(state: State) -> dict[str, Any]:
    """The numbers of a state; after an iteration it has no step (``last``)."""
    values = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return {name: value for name, value in values.items() if isinstance(value, (bool, int, float))}


def _packed(value: Any) -> Any:
    """As an array or text."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, np.random.Generator):
        return json.dumps({"rng": value.bit_generator.state})
    return json.dumps({"value": value})


def _unpacked(value: np.ndarray) -> Any:
    if value.dtype.kind != "U":
        return value
    told = json.loads(str(value))
    if "rng" in told:
        rng = np.random.default_rng()
        rng.bit_generator.state = told["rng"]
        return rng
    return told["value"]


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _fingerprint(evaluator: Evaluator, method: str, x0: np.ndarray | None) -> dict[str, Any]:
    """By what a solve is known again: its parameters, and sums of its data (one read of A)."""
    problem = evaluator.problem
    data = problem._rows
    told = {
        "release": __version__,
        "shape": list(problem.shape),
        "dtype": str(problem.dtype),
        "method": method,
        "skip": problem.skip,
        "loss": problem.loss,
        "ridge": problem.ridge,
    }
    arrays = {
        "groups": data.groups.ptr, "group_weights": data.groups.weight,
        "x0": np.empty(0) if x0 is None else x0,
        "A": evaluator.transposed(data.groups.full(1.0)),
    }  # fmt: skip
    rows: dict[str, Any] = {"b": data.b, "row_ridge": data.w, "offset": data.offset}
    for name, v in rows.items():  # of rows that lie elsewhere, A'v
        arrays[name] = v if isinstance(v, np.ndarray) else evaluator.transposed(v)
    return told | {name: hashlib.sha256(array.data).hexdigest()[:16] for name, array in arrays.items()}
