"""Ctrl-C, SIGTERM, failing callbacks and memory that runs out, each in a process of its own.

Signals are sent by the process to itself in the middle of a pass, so nothing here depends on timing; what is
asserted is how much of A was still read after the signal.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from reference import run_python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sends signals, reads /proc")

PRELUDE = """if True:
    import os, resource, signal, sys, time
    import numpy as np
    import fastsoftres as fs
    from fastsoftres.sources import DenseRows

    rng = np.random.default_rng(0)
    read, state = DenseRows.read, {"rows": 0, "at": None, "slow": False}

    def counting(self, start, stop):
        state["rows"] += stop - start
        if state["at"] is not None and state["rows"] >= state["at"]:
            state["at"] = None
            state["slow"] = True  # each read takes a while now: so that a late answer shows
            os.kill(os.getpid(), signal.SIGINT)
        elif state["slow"]:
            time.sleep(0.01)
        return read(self, start, stop)

    DenseRows.read = counting
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_interrupt_in_the_middle_of_a_pass(threads):
    """The pass is not finished: the rest of A is never read. The problem works afterwards."""
    run_python(
        PRELUDE
        + f"""
    fs.set_num_threads({threads})
    n = 400_000  # 320 MB as a zero-stride view: 600 pieces
    problem = fs.SoftResProblem(np.broadcast_to(rng.standard_normal((n, 1)), (n, 100)), np.full(n, 1 / n))
    wanted = problem.grad(np.zeros(100))
    for call in (problem.grad, lambda x: problem.at(np.zeros(100)).hessp(x), problem.hessian):
        state.update(rows=0, at=n // 10, slow=False)
        try:
            call(np.zeros(100))
        except KeyboardInterrupt:
            assert n // 10 <= state["rows"] < n // 2, state
        else:
            raise AssertionError("not interrupted")
    state["slow"] = False
    assert (problem.grad(np.zeros(100)) == wanted).all()
    """
    )


@pytest.mark.parametrize("method", ["newton", "newton-cg", "lbfgs"])
def test_interrupt_of_a_fit_carries_the_best_point(method):
    """In the third iteration: what comes with the interrupt is finite and below the start."""
    run_python(
        PRELUDE
        + f"""
    A, x = rng.standard_normal((60_000, 12)), np.full(12, 0.2)
    problem = fs.SoftResProblem(A, rng.dirichlet(np.full(60_000, 0.5)), skip=0.5)
    seen = []

    def watch(intermediate_result):
        seen.append(intermediate_result)
        if len(seen) == 2:
            state.update(rows=0, at=60_000 + 9_000)

    try:
        fs.solve(problem, x, method={method!r}, callback=watch, tol=1e-15)
    except KeyboardInterrupt as stop:
        result, state["slow"] = stop.result, False
    else:
        raise AssertionError("not interrupted")
    assert np.isfinite(result.x).all() and result.status == 6 and not result.success
    assert result.fun <= min(s.fun for s in seen) * (1 + 1e-12)
    assert abs(problem.value(result.x) / result.fun - 1) < 1e-12
    assert fs.solve(problem, x).nit > 0
    """
    )


@pytest.mark.slow
def test_interrupt_is_answered_at_once_at_1e9_entries():
    """From outside, as a terminal does it: 1e9 entries behind a view, one of whose passes takes seconds."""
    code = (
        PRELUDE
        + """
    n = 10_000_000
    problem = fs.SoftResProblem(np.broadcast_to(rng.standard_normal((n, 1)), (n, 100)), np.full(n, 1 / n))
    print("ready", flush=True)
    try:
        while True:
            problem.grad(np.zeros(100))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    """
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout.readline() == "ready\n"
            time.sleep(1.0)
            start = time.monotonic()
            child.send_signal(signal.SIGINT)
            assert child.stdout.readline() == "interrupted\n"
            taken = time.monotonic() - start
        finally:
            child.kill()
    assert taken < 2.0  # generous for a machine that does other things


def test_error_in_a_callback_leaves_nothing_behind():
    import fastsoftres as fs

    rng = np.random.default_rng(0)
    problem = fs.SoftResProblem(rng.standard_normal((200, 3)), rng.dirichlet(np.full(200, 0.5)))
    wanted = fs.solve(problem)

    def fail(intermediate_result):
        raise ZeroDivisionError("in the callback")

    for _ in range(3):
        with pytest.raises(ZeroDivisionError) as caught:
            fs.solve(problem, callback=fail)
        assert np.isfinite(caught.value.result.x).all()
    np.testing.assert_array_equal(fs.solve(problem).x, wanted.x)


def test_memory_that_runs_out_leaves_the_process_usable():
    """RLIMIT_AS, after the kernels are there (a compiler out of memory may abort)."""
    run_python(
        PRELUDE
        + """
    n = 8_000_000  # 64 MB a row vector
    small = fs.SoftResProblem(rng.standard_normal((40_000, 4)), np.full(40_000, 1 / 40_000))
    big = fs.SoftResProblem(np.broadcast_to(rng.standard_normal((n, 1)), (n, 2)), np.full(n, 1 / n), skip=0)
    x = np.ones(2)
    wanted = fs.solve(small).x
    small.at(np.ones(4)).hessp(np.ones(4)), small.hessian(np.ones(4)).to_dense()
    held = big.at(x)  # its row vectors cannot be used again
    value = held.value
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    limit = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + (32 << 20), limit[1]))
    for call in (
        lambda: big.value(x), lambda: big.hessp(x, x), lambda: fs.solve(big, x),
        lambda: fs.SoftResProblem(big.A, np.full(n, 1 / n)),
    ):
        try:
            call()
        except MemoryError:
            pass
        else:
            raise AssertionError("no MemoryError")
        assert (fs.solve(small).x == wanted).all()  # within the limit still
    resource.setrlimit(resource.RLIMIT_AS, limit)
    assert big.value(x) == value
    """
    )


COMMAND = """if True:
    import os, signal, sys, time
    from fastsoftres.cli import fitting
    from fastsoftres.cli.app import fastsoftres

    solve = fitting.solve

    def ended(problem, *, callback, **options):
        def both(intermediate_result):
            callback(intermediate_result=intermediate_result)
            if intermediate_result.nit == 2:
                os.kill(os.getpid(), getattr(signal, sys.argv[1]))
                os.kill(os.getpid(), getattr(signal, sys.argv[1])) if sys.argv[1] == "SIGTERM" else None
        return solve(problem, callback=both, **options)

    fitting.solve = ended
    fastsoftres(["fit", "--no-plot", "--skip", "1", "--out", sys.argv[2]], prog_name="fastsoftres")
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_command_line_writes_the_best_point_first(name, tmp_path):
    """Exit code 1, the file complete, no traceback; a second SIGTERM does not disturb the writing."""
    out = tmp_path / "x.npy"
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, name, str(out)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "coefficients written to" in done.stdout
    x = np.load(out)
    assert x.shape == (6,)
    assert np.isfinite(x).all()
    assert x.any()
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


def test_handler_of_sigterm_is_put_back():
    from fastsoftres.cli.signals import terminable

    before = signal.getsignal(signal.SIGTERM)
    with terminable():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(KeyboardInterrupt), terminable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    signal.signal(signal.SIGTERM, before)
