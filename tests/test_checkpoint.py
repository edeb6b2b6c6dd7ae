"""fastsoftres/solvers/checkpoint.py: killed solves go on to the same bits; bad files are refused."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import fastsoftres as fs


@pytest.fixture(autouse=True)
def python_loop(monkeypatch):
    """Small problems, but not by the compiled loop for them, whose bits differ."""
    monkeypatch.setattr("fastsoftres.solvers.small.ENTRIES", 0)


FIELDS = ("x", "jac", "fun", "nit", "nfev", "passes", "pass_counts", "history", "status", "message", "starts")

SOLVE = """if True:
    import sys, time
    import numpy as np
    import fastsoftres as fs

    A = np.load(sys.argv[1] + "/A.npy")
    b = np.load(sys.argv[1] + "/b.npy")
    problem = fs.SoftResProblem(A, b, skip=0.0, ridge=1e-9, group_ptr=[0, 700, len(b)])
    slow = lambda intermediate_result: time.sleep(0.05)
    fs.solve(problem, np.zeros(A.shape[1]), method=sys.argv[2], callback=slow,
             checkpoint=sys.argv[1] + "/check.npz", checkpoint_seconds=0)
"""


def target(rng, A, ptr):
    z = A @ rng.standard_normal(A.shape[1])
    b = np.concatenate([fs.softres(z[i:j], skip=0) for i, j in itertools.pairwise(ptr)])
    return b * rng.uniform(0.7, 1.3, b.size) / 1.0


@pytest.fixture
def problem(rng):
    A = rng.standard_normal((1500, 6))
    b = target(rng, A, [0, 700, 1500])
    b[:700] /= b[:700].sum()
    b[700:] /= b[700:].sum()
    return fs.SoftResProblem(A, b, skip=0.0, ridge=1e-9, group_ptr=[0, 700, 1500])


def assert_same(result, wanted):
    for name in FIELDS:
        np.testing.assert_equal(result[name], wanted[name], err_msg=name)


class Stop(Exception):
    """Ends a solve from outside."""


def stop_after(count):
    def callback(intermediate_result):
        if intermediate_result.nit == count:
            raise Stop

    return callback


@pytest.mark.parametrize("method", ["newton", "newton-cg"])
def test_a_checkpoint_changes_nothing(method, problem, tmp_path):
    wanted = fs.solve(problem, np.zeros(6), method=method)
    result = fs.solve(
        problem, np.zeros(6), method=method, checkpoint=tmp_path / "c.npz", checkpoint_seconds=0
    )
    for name in ("x", "fun", "nit", "history"):
        np.testing.assert_equal(result[name], wanted[name])
    assert (tmp_path / "c.npz").exists()
    assert os.listdir(tmp_path) == ["c.npz"]


@pytest.mark.parametrize("method", ["newton", "newton-cg"])
@pytest.mark.parametrize("count", [1, 4])
def test_a_stopped_solve_goes_on_to_the_same_bits(method, count, problem, tmp_path):
    options = {"method": method, "checkpoint_seconds": 0, "x0": np.zeros(6)}
    wanted = fs.solve(problem, checkpoint=tmp_path / "whole.npz", **options)
    assert wanted.nit > count
    with pytest.raises(Stop):
        fs.solve(problem, checkpoint=tmp_path / "c.npz", callback=stop_after(count), **options)
    assert_same(fs.solve(problem, checkpoint=tmp_path / "c.npz", **options), wanted)
    assert_same(
        fs.solve(problem, checkpoint=tmp_path / "c.npz", **options), wanted
    )  # finished: the last step again


@pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL")
@pytest.mark.parametrize("method", ["newton", "newton-cg"])
def test_kill_9(method, problem, tmp_path):
    np.save(tmp_path / "A.npy", problem.A)
    np.save(tmp_path / "b.npy", problem.b)
    options = {"method": method, "checkpoint_seconds": 0}
    wanted = fs.solve(problem, np.zeros(6), checkpoint=tmp_path / "whole.npz", **options)
    path = tmp_path / "check.npz"
    process = subprocess.Popen([sys.executable, "-c", SOLVE, str(tmp_path), method])
    deadline = time.monotonic() + 120
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.12)  # some iterations more
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL  # killed, not finished
    nits = []
    result = fs.solve(
        problem, np.zeros(6), checkpoint=path, **options,
        callback=lambda intermediate_result: nits.append(intermediate_result.nit),
    )  # fmt: skip
    assert nits[0] > 1  # went on, and did not begin anew
    assert_same(result, wanted)


class TestRefused:
    @pytest.fixture
    def path(self, problem, tmp_path):
        with pytest.raises(Stop):
            fs.solve(problem, checkpoint=tmp_path / "c.npz", checkpoint_seconds=0, callback=stop_after(2))
        return tmp_path / "c.npz"

    @pytest.mark.parametrize(
        ("change", "what"),
        [({"ridge": 1e-8}, "ridge"), ({"skip": 1.0}, "skip"), ({"loss": "kl"}, "loss"),
         ({"row_ridge": 1.0}, "row_ridge"),
         ({"group_ptr": [0, 701, 1500]}, "groups"), ({"group_weights": [1.0, 2.0]}, "group_weights"),
         ({"offset": np.ones(1500)}, "offset")],
    )  # fmt: skip
    @pytest.mark.filterwarnings("ignore:b of")
    def test_another_problem(self, change, what, problem, path):
        before = path.read_bytes()
        options = {"skip": 0.0, "ridge": 1e-9, "group_ptr": [0, 700, 1500]} | change
        other = fs.SoftResProblem(problem.A, problem.b, **options)
        with pytest.raises(ValueError, match=f"is of another solve: .*{what}.* differ"):
            fs.solve(other, checkpoint=path)
        assert path.read_bytes() == before

    def test_other_data_or_start_or_method(self, problem, path):
        before = path.read_bytes()
        options = {"skip": 0.0, "ridge": 1e-9, "group_ptr": [0, 700, 1500]}
        A = problem.A.copy()
        A[3, 2] += 1e-6
        b = problem.b.copy()
        b[[1, 2]] = b[[2, 1]]
        for other, more, what in [
            (fs.SoftResProblem(A, problem.b, **options), {}, "A"),
            (fs.SoftResProblem(problem.A, b, **options), {}, "b"),
            (fs.SoftResProblem(problem.A.astype(np.float32), problem.b, **options), {}, "dtype, A"),
            (problem, {"x0": np.ones(6)}, "x0"),
            (problem, {"method": "newton-cg"}, "method"),
        ]:
            with pytest.raises(ValueError, match=f"is of another solve: {what} differ"):
                fs.solve(other, checkpoint=path, **more)
        assert path.read_bytes() == before

    def test_damaged_files(self, problem, path, rng):
        whole = path.read_bytes()
        damaged = [b"", whole[:100], whole[: len(whole) // 2], b"x" * 1000, whole[:-1]]
        for at in rng.integers(0, len(whole), 20):
            damaged.append(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
        refused = 0
        for content in damaged:
            path.write_bytes(content)
            try:
                fs.solve(problem, checkpoint=path, maxiter=0)
            except ValueError as error:
                assert "is damaged, or no checkpoint" in str(error)  # some bytes mean nothing
                assert path.read_bytes() == content
                refused += 1
        assert refused >= len(damaged) - 3  # a flipped bit of a time stamp does no harm

    def test_pickles_are_not_read(self, problem, tmp_path):
        np.savez(tmp_path / "c.npz", format=np.array([object()], dtype=object))
        with pytest.raises(ValueError, match="is damaged, or no checkpoint"):
            fs.solve(problem, checkpoint=tmp_path / "c.npz")

    def test_arguments(self, problem, tmp_path):
        with pytest.raises(ValueError, match="checkpoint: no folder"):
            fs.solve(problem, checkpoint=tmp_path / "none" / "c.npz")
        with pytest.raises(ValueError, match="checkpoint needs method 'newton' or 'newton-cg'"):
            fs.solve(problem, checkpoint=tmp_path / "c.npz", method="lbfgs")
        with pytest.raises(ValueError, match="checkpoint is of one run, got n_starts=3"):
            fs.solve(problem, checkpoint=tmp_path / "c.npz", n_starts=3)

    def test_a_write_that_fails_keeps_the_file_before(self, problem, path, monkeypatch):
        before = path.read_bytes()

        def full(*args, **arrays):
            args[0].write(b"half")
            raise OSError("disk full")

        monkeypatch.setattr(np, "savez", full)
        with pytest.raises(OSError, match="disk full"):
            fs.solve(problem, checkpoint=path, checkpoint_seconds=0)
        assert path.read_bytes() == before
        assert os.listdir(path.parent) == [path.name]


def test_seconds_between_writes(problem, tmp_path):
    path = tmp_path / "c.npz"
    times = []
    fs.solve(
        problem, np.zeros(6), checkpoint=path, checkpoint_seconds=1000,
        callback=lambda intermediate_result: times.append(path.stat().st_mtime_ns),
    )  # fmt: skip
    assert len(times) > 2
    assert len(set(times)) == 1
