"""fastsoftres/_threads.py: results against the same calls made one after the other."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reference
from reference import run_python

import fastsoftres as fs
from fastsoftres import _threads


@pytest.fixture(autouse=True)
def restore():
    """The process-wide number of threads as it was."""
    before = _threads._allowed
    yield
    _threads._allowed = before


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 40])
def test_every_task_runs_once(count, threads):
    done, lock = [], threading.Lock()

    def task(index):
        with lock:
            done.append(index)

    with fs.num_threads(threads):
        _threads.run(task, count)
    assert sorted(done) == list(range(count))


def test_tasks_run_at_the_same_time():
    """Two tasks that wait for each other end only if both run."""
    meet = threading.Barrier(2, timeout=30)
    with fs.num_threads(2):
        _threads.run(lambda index: meet.wait(), 2)


def test_one_thread_means_the_caller():
    names = set()
    with fs.num_threads(1):
        _threads.run(lambda index: names.add(threading.current_thread()), 5)
    assert names == {threading.current_thread()}


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("bad", [0, 3, 19])
def test_error_in_a_task_is_raised_in_the_caller(bad, threads):
    done = []

    def task(index):
        if index == bad:
            raise KeyError("task broke")
        done.append(index)

    with fs.num_threads(threads), pytest.raises(KeyError, match="task broke"):
        _threads.run(task, 20)
    assert bad not in done
    assert len(done) < 20


@pytest.mark.parametrize("threads", [1, 3])
def test_error_stops_the_tasks_that_have_not_begun(threads):
    done = []

    def task(index):
        if index == 0:
            raise ValueError("first")
        time.sleep(0.01)
        done.append(index)

    with fs.num_threads(threads), pytest.raises(ValueError, match="first"):
        _threads.run(task, 200)
    assert len(done) < 100


def test_pool_works_after_an_error():
    def fail(index):
        raise OSError("broken")

    with fs.num_threads(2):
        for _ in range(5):
            with pytest.raises(OSError, match="broken"):
                _threads.run(fail, 4)
        done = []
        _threads.run(done.append, 10)
    assert sorted(done) == list(range(10))


def test_base_exceptions_of_tasks_propagate():
    def leave(index):
        raise SystemExit(3)

    with fs.num_threads(2), pytest.raises(SystemExit):
        _threads.run(leave, 4)


def test_interrupt_waits_for_the_tasks_under_way(monkeypatch):
    """Ctrl-C while the caller waits: it is raised once the arrays are at rest."""
    running, finished = threading.Event(), []

    def task(index):
        running.set()
        time.sleep(0.05)
        finished.append(index)

    class Interrupted(threading.Event):
        def wait(self, timeout=None):
            if not finished:
                running.wait(10)
                monkeypatch.undo()
                finished.append("interrupt")
                raise KeyboardInterrupt
            return super().wait(timeout)

    job_type = _threads._Job

    def job(*arguments):
        made = job_type(*arguments)
        made.done = Interrupted()
        return made

    monkeypatch.setattr(_threads, "_Job", job)
    with fs.num_threads(2), pytest.raises(KeyboardInterrupt):
        _threads.run(task, 100)
    count = len(finished)
    assert 2 <= count <= 20  # the interrupt and the tasks that had begun, of 100
    time.sleep(0.1)
    assert len(finished) == count


class TestNumber:
    def test_default_is_what_the_process_may_use(self):
        _threads._allowed = None
        assert fs.get_num_threads() == _threads._available() >= 1
        if hasattr(os, "sched_getaffinity"):
            assert fs.get_num_threads() <= len(os.sched_getaffinity(0))

    def test_set_for_the_process(self):
        fs.set_num_threads(3)
        assert fs.get_num_threads() == 3
        with ThreadPoolExecutor(1) as other:
            assert other.submit(fs.get_num_threads).result() == 3

    def test_context_is_undone_and_nests(self):
        fs.set_num_threads(5)
        with fs.num_threads(2):
            assert fs.get_num_threads() == 2
            with fs.num_threads(np.int64(1)):
                assert fs.get_num_threads() == 1
            assert fs.get_num_threads() == 2
        assert fs.get_num_threads() == 5

    def test_context_is_undone_by_an_error(self):
        fs.set_num_threads(5)
        with pytest.raises(RuntimeError), fs.num_threads(2):
            raise RuntimeError
        assert fs.get_num_threads() == 5

    def test_context_holds_in_its_thread_only(self):
        fs.set_num_threads(5)
        with fs.num_threads(2), ThreadPoolExecutor(1) as other:
            assert other.submit(fs.get_num_threads).result() == 5

    @pytest.mark.parametrize("bad", [0, -1, np.int64(0)])
    def test_below_one(self, bad):
        with pytest.raises(ValueError, match=r"num_threads must be an integer >= 1, got .*(0|-1)"):
            fs.set_num_threads(bad)
        with pytest.raises(ValueError, match="num_threads"), fs.num_threads(bad):
            pass

    @pytest.mark.parametrize("bad", [1.0, "2", None, True, [2]])
    def test_not_an_integer(self, bad):
        before = fs.get_num_threads()
        with pytest.raises(TypeError, match="num_threads must be an integer >= 1, got "):
            fs.set_num_threads(bad)
        with pytest.raises(TypeError, match="num_threads"), fs.num_threads(bad):
            pass
        assert fs.get_num_threads() == before


def problem_of_many_chunks(rng, n=20_000, d=10):
    A, x = rng.standard_normal((n, d)), rng.standard_normal(d) / 3
    problem = fs.SoftResProblem(A, reference.target(rng, n), skip=1.0, ridge=0.1)
    assert len(problem._source.bounds()) > 5
    return problem, x


def test_many_callers_at_once_get_the_serial_results(rng):
    problem, x = problem_of_many_chunks(rng)
    points = [x * scale for scale in np.linspace(-1, 1, 8)]

    def work(at):
        value, grad = problem.value_and_grad(at)
        return value, grad, problem.hessp(at, x), problem.hessian(at).to_dense()

    with fs.num_threads(1):
        serial = [work(at) for at in points]
    fs.set_num_threads(2)
    start = threading.Barrier(8, timeout=60)

    def repeat(k):
        start.wait()
        return [work(points[k]) for _ in range(3)]

    with ThreadPoolExecutor(8) as callers:
        results = list(callers.map(repeat, range(8)))
    for one, repeated in zip(serial, results, strict=True):
        for result in repeated:
            for got, wanted in zip(result, one, strict=True):
                np.testing.assert_array_equal(got, wanted)


def test_callers_of_one_point_at_once(rng):
    """A point's lazily formed row vectors may be asked for by many threads."""
    problem, x = problem_of_many_chunks(rng)
    fs.set_num_threads(2)
    wanted = problem.at(x).hessp(x)
    for _ in range(5):
        point, start = problem.at(x), threading.Barrier(8, timeout=60)

        def call(_, point=point, start=start):
            start.wait()
            return point.hessp(x)

        with ThreadPoolExecutor(8) as callers:
            for got in callers.map(call, range(8)):
                np.testing.assert_array_equal(got, wanted)


def test_pool_is_as_large_as_asked_for_and_shared():
    """Many callers do not multiply the threads."""
    output = run_python(
        """if True:
        import threading
        from concurrent.futures import ThreadPoolExecutor
        import numpy as np
        import fastsoftres as fs

        def pool():
            return sum(t.name.startswith("fastsoftres-") for t in threading.enumerate())

        fs.set_num_threads(1)
        A = np.ones((200_000, 2))
        problem = fs.SoftResProblem(A, np.full(200_000, 1 / 200_000))
        problem.value_and_grad(np.zeros(2))
        counts = [pool()]
        for threads in (2, 3, 2):
            fs.set_num_threads(threads)
            problem.value_and_grad(np.zeros(2))
            counts.append(pool())
        with ThreadPoolExecutor(8) as callers:
            list(callers.map(lambda i: problem.value_and_grad(np.zeros(2)), range(40)))
        counts.append(pool())
        print(*counts)
        """
    )
    assert output.split() == ["0", "2", "3", "3", "3"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_use_after_fork():
    """The pool's threads do not exist in a forked child: it must make its own, not wait for them."""
    code = """if True:
        import os, signal, sys, warnings
        import numpy as np
        import fastsoftres as fs
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is the point
        rng = np.random.default_rng(0)
        fs.set_num_threads(2)
        problem = fs.SoftResProblem(rng.standard_normal((100_000, 3)), np.full(100_000, 1e-5))
        x = np.ones(3)
        before = problem.grad(x)
        assert fs._threads._pool.size == 2
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            same = (problem.grad(x) == before).all() and fs._threads._pool.size == 2
            os._exit(0 if same else 7)
        _, status = os.waitpid(child, 0)
        assert status == 0, status
        assert (problem.grad(x) == before).all()
    """
    run_python(code, timeout=120)


def test_interpreter_ends_while_the_pool_is_idle():
    code = (
        "import os; from fastsoftres import _threads as t; t.set_num_threads(2); "
        "t.run(lambda i: os.write(1, b'%d\\n' % i), 2)"  # one write a task: print makes two
    )
    done = subprocess.run(
        [sys.executable, "-c", code], timeout=60, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert sorted(done.stdout.split()) == ["0", "1"]
    assert done.stderr == ""
