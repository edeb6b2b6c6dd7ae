"""One pool of threads for the whole process, and how many of them a call may use.

Kernels release the interpreter lock and never start threads. A call hands its chunks to the pool and
waits, so many callers at once share the pool instead of multiplying it. Why a pool of our own:
numba's own workqueue layer aborts when two Python threads enter it, and OpenMP does not survive a fork.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

#: Seconds after which a caller that waits looks up: the system may hand a signal to another thread, which
#: does not wake this one, and only the main thread runs Python's handlers.
_LOOK = 0.1

_allowed: int | None = None
_local: contextvars.ContextVar[int | None] = contextvars.ContextVar("fastsoftres_threads", default=None)


def _available() -> int:
    if hasattr(os, "process_cpu_count"):
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def _checked(count: Any) -> int:
    if isinstance(count, bool) or not hasattr(count, "__index__"):
        raise TypeError(f"num_threads must be an integer >= 1, got {count!r}")
    if count < 1:
        raise ValueError(f"num_threads must be an integer >= 1, got {count!r}")
    return int(count)


def get_num_threads() -> int:
    """Threads that a call made here may use.

    Returns
    -------
    int
        What ``num_threads`` or ``set_num_threads`` chose; by default the cores this process may run on.

    Examples
    --------
    >>> import fastsoftres as fs
    >>> with fs.num_threads(3):
    ...     fs.get_num_threads()
    3
    """
    return _local.get() or _allowed or _available()


def set_num_threads(num_threads: int) -> None:
    """Set the number of threads for all calls of this process.

    Parameters
    ----------
    num_threads : int
        At least 1. More than the machine has cores is allowed and slower.

    Raises
    ------
    TypeError, ValueError
        If it is not an integer, or below 1.

    Examples
    --------
    >>> import fastsoftres as fs
    >>> fs.set_num_threads(fs.get_num_threads())
    """
    global _allowed
    _allowed = _checked(num_threads)


@contextlib.contextmanager
def num_threads(num_threads: int) -> Iterator[None]:
    """Use this number of threads inside a ``with`` block, in this thread (or task) only.

    Parameters
    ----------
    num_threads : int
        At least 1.

    Examples
    --------
    >>> import fastsoftres as fs
    >>> with fs.num_threads(1):
    ...     fs.get_num_threads()
    1
    """
    token = _local.set(_checked(num_threads))
    try:
        yield
    finally:
        _local.reset(token)


class _Job:
    """Tasks 0 .. count-1, taken one after the other by whichever worker is free."""

    def __init__(self, task: Callable[[int], None], count: int, workers: int):
        self.task = task
        self.count = count
        self.taken = 0
        self.working = workers
        self.error: BaseException | None = None
        self.lock = threading.Lock()
        self.done = threading.Event()

    def next(self) -> int | None:
        with self.lock:
            if self.taken >= self.count:
                return None
            self.taken += 1
            return self.taken - 1

    def stop(self) -> None:
        with self.lock:
            self.taken = self.count

    def work(self) -> None:
        try:
            while (index := self.next()) is not None:
                self.task(index)
        except BaseException as error:  # handed to the caller, who raises it
            self.error = error
            self.stop()
        finally:
            with self.lock:
                self.working -= 1
                last = self.working == 0
            if last:
                self.done.set()


class _Pool:
    def __init__(self) -> None:
        self.tickets: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self.lock = threading.Lock()
        self.size = 0

    def _serve(self) -> None:
        while True:
            self.tickets.get().work()

    def submit(self, job: _Job, workers: int) -> None:
        with self.lock:
            while self.size < workers:
                name = f"fastsoftres-{self.size}"
                threading.Thread(target=self._serve, name=name, daemon=True).start()
                self.size += 1
        for _ in range(workers):
            self.tickets.put(job)


_pool = _Pool()


def _forget_pool() -> None:
    """In a forked child the threads are gone: begin anew."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def run(task: Callable[[int], None], count: int) -> None:
    """Call ``task(0) .. task(count - 1)``, in parallel where that is allowed.

    An error in a task is raised here, after the others have stopped. So is an interrupt: tasks are short,
    those under way are waited for, and the caller's arrays are at rest when this returns.
    """
    workers = min(get_num_threads(), count)
    if workers <= 1:
        for index in range(count):
            task(index)
        return
    job = _Job(task, count, workers)
    _pool.submit(job, workers)
    try:
        while not job.done.wait(_LOOK):
            pass
    except BaseException:
        job.stop()
        job.done.wait()
        raise
    if job.error is not None:
        raise job.error


class Ahead:
    """Items ``0 .. count-1`` made in order by a thread of their own, while the last ones are used.

    Parameters
    ----------
    make : callable
        ``make(index, slot)`` makes an item in one of the slots.
    uses : sequence of int
        How often each item is used: after as many calls of ``done`` its slot is made anew.
    slots : int
        Items that exist at a time.
    """

    def __init__(self, make: Callable[[int, int], Any], uses: list[int], slots: int):
        self.make = make
        self.left = uses
        self.free = list(range(slots))
        self.items: dict[int, tuple[Any, int]] = {}
        self.error: BaseException | None = None
        self.closed = False
        self.change = threading.Condition()
        self.thread = threading.Thread(target=self._serve, name="fastsoftres-ahead", daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        try:
            for index in range(len(self.left)):
                with self.change:
                    self.change.wait_for(lambda: self.free or self.closed)
                    if self.closed:
                        return
                    slot = self.free.pop()
                item = self.make(index, slot)
                with self.change:
                    self.items[index] = item, slot
                    self.change.notify_all()
                del item  # its slot is all that may keep it
        except BaseException as error:  # handed to whoever waits for the item
            with self.change:
                self.error = error
                self.change.notify_all()

    def get(self, index: int) -> Any:
        """The item, when it is there."""
        with self.change:
            self.change.wait_for(lambda: index in self.items or self.error or self.closed)
            if index in self.items:
                return self.items[index][0]
            raise self.error or RuntimeError("closed while an item was waited for")

    def done(self, index: int) -> bool:
        """One use of the item is over; was it the last?"""
        with self.change:
            self.left[index] -= 1
            if self.left[index]:
                return False
            self.free.append(self.items.pop(index)[1])
            self.change.notify_all()
            return True

    def stop(self, error: BaseException | None = None) -> None:
        """Make nothing more; the error that ended one use ends those that wait."""
        with self.change:
            self.closed = True
            self.error = self.error or error
            self.change.notify_all()

    def close(self) -> None:
        """Stop, and wait for the item under way."""
        self.stop()
        self.thread.join()
