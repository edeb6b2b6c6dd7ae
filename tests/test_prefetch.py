"""fastsoftres/prefetch.py and the reading thread of _threads.py: order, bounds, errors, ends."""

from __future__ import annotations

import contextlib
import os
import threading
import time

import numpy as np
import pytest

import fastsoftres as fs
from fastsoftres import _threads
from fastsoftres.files import npy, source
from fastsoftres.files.pieces import SequenceRows
from fastsoftres.files.source import BlockRows
from fastsoftres.prefetch import buffers, walk_blocks, watching


class Counted(BlockRows):
    """Rows made up of their own numbers; knows how many blocks were read and not yet used."""

    def __init__(self, n=1000, fail_at=None, shared=False):
        super().__init__(n, 2, np.float64, "made up")
        self.shared = shared
        self.cut(160)  # blocks of 10 rows
        self.fail_at = fail_at
        self.read = []

    @contextlib.contextmanager
    def reader(self):
        def fill(start, stop, out):
            if start == self.fail_at:
                raise OSError(f"disk gone at {start}")
            self.read.append(start)
            out[: stop - start] = np.arange(start, stop)[:, None]
            return out[: stop - start]

        yield fill


@pytest.fixture(autouse=True)
def nothing_left():
    """No reading thread outlives its walk."""
    yield
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline and any(t.name == "fastsoftres-ahead" for t in threading.enumerate()):
        time.sleep(0.01)
    assert not any(t.name == "fastsoftres-ahead" for t in threading.enumerate())


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_every_chunk_gets_its_rows_once(threads, shared):
    rows = Counted(shared=shared)
    seen = []
    with fs.num_threads(threads):
        bounds = [(i, i + 5) for i in range(0, 1000, 5)]  # two chunks of each block
        walk_blocks(rows, bounds, lambda index, part: seen.append((index, part.start, part.A[:, 1].tolist())))
    assert sorted(seen) == [(i, 5 * i, list(range(5 * i, 5 * i + 5))) for i in range(200)]
    assert sorted(rows.read) == list(range(0, 1000, 10))


def test_no_more_blocks_are_read_than_there_are_buffers():
    rows = Counted()
    done, most = [0], [0]

    def use(index, part):
        time.sleep(0.002)
        most[0] = max(most[0], len(rows.read) - done[0])
        done[0] += 1

    with fs.num_threads(1):
        walk_blocks(rows, rows.bounds(), use)
        assert 2 <= most[0] <= buffers(rows)


def test_the_next_block_is_read_while_the_last_one_computes():
    """Reading and computing take 3 ms a block each: one after the other would take twice as long."""
    rows = Counted(400)
    fill_of = rows.reader

    @contextlib.contextmanager
    def slow():
        with fill_of() as fill:
            yield lambda *where: (time.sleep(0.003), fill(*where))[1]

    rows.reader = slow
    both = threading.Event()
    reading = [0.0]

    def use(index, part):
        before = len(rows.read)
        time.sleep(0.006)
        if len(rows.read) > before:
            both.set()
            reading[0] += 1

    with fs.num_threads(1):
        walk_blocks(rows, rows.bounds(), use)
    assert both.is_set()
    assert reading[0] > 10


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_the_reader_reaches_the_caller(threads, shared):
    rows = Counted(fail_at=500, shared=shared)
    used = []
    with fs.num_threads(threads), pytest.raises(OSError, match="disk gone at 500"):
        walk_blocks(rows, rows.bounds(), lambda index, part: used.append(index))
    assert set(range(50 - buffers(rows))) <= set(used) <= set(range(50))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_an_error_of_a_pass_stops_the_reader(threads, kind, shared):
    rows = Counted(100_000, shared=shared)

    def use(index, part):
        if index == 20:
            raise kind("enough")

    with fs.num_threads(threads), pytest.raises(kind, match="enough"):
        walk_blocks(rows, rows.bounds(), use)
    # blocks of ten rows: hundreds pass while the thread that fails waits for the interpreter's lock
    assert len(rows.read) < 5_000


@pytest.mark.parametrize("shared", [False, True])
def test_many_walks_at_once_share_the_pool(shared):
    totals, errors = [], []

    def one():
        try:
            total = []
            walk_blocks(
                rows := Counted(shared=shared), rows.bounds(), lambda index, part: total.append(part.A.sum())
            )
            totals.append(sum(total))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert totals == [999_000.0] * 12


def test_progress_is_told_and_ends_at_the_last_row(rng, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "BLOCK_BYTES", 4096)
    np.save(tmp_path / "A.npy", rng.standard_normal((2000, 3)))
    problem = fs.SoftResProblem(tmp_path / "A.npy", np.full(2000, 1 / 2000))
    told = []
    with fs.num_threads(1), watching(lambda rows, of: told.append((rows, of))):
        problem.at(np.zeros(3))
    assert [rows for rows, _ in told] == problem._source.edges[1:].tolist()
    assert {of for _, of in told} == {2000}
    told.clear()
    problem.at(np.zeros(3))
    assert told == []


def test_no_more_threads_read_than_the_budget_has_buffers():
    rows = Counted(shared=True)
    rows.buffers = 2
    seen = set()
    with fs.num_threads(7):
        walk_blocks(rows, rows.bounds(), lambda *_: (time.sleep(0.001), seen.add(threading.get_ident())))
    assert len(seen) <= 2


@pytest.mark.parametrize("shared", [False, True])
def test_progress_of_several_threads_only_grows(shared):
    rows, told = Counted(shared=shared), []
    with fs.num_threads(5), watching(lambda done, of: told.append(done)):
        walk_blocks(rows, rows.bounds(), lambda *_: time.sleep(0.0005))
    assert told == list(range(10, 1001, 10))


def test_blocks_in_memory_are_read_where_they_lie(rng):
    """What the kernels can take is not copied, however blocks are cut; what they cannot is."""
    plain, large, strided = (
        rng.standard_normal((50, 2)),
        rng.standard_normal((95, 2)),
        np.ones((60, 4))[:, ::2],
    )
    rows = SequenceRows([plain, (large, np.ones(95))[0], strided, np.asfortranarray(plain)])
    rows.cut(16 * 40)
    assert rows.edges.tolist() == [0, 40, 50, 90, 130, 145, 185, 205, 245, 255]
    shares = {}
    with fs.num_threads(2):
        walk_blocks(
            rows,
            rows.bounds(),
            lambda index, part: shares.update(
                {part.start: [np.shares_memory(part.A, A) for A in (plain, large, strided)]}
            ),
        )
    assert [shares[start] for start in (0, 50, 130, 145, 205)] == [
        [True, False, False], [False, True, False], [False, True, False], [False] * 3, [False] * 3,
    ]  # fmt: skip


def test_blocks_made_on_demand_are_copied(rng):
    """Each may lie where the last one did."""
    blocks, memory = [np.full((50, 2), float(k)) for k in range(8)], np.empty((50, 2))

    class Reused:
        def __len__(self):
            return 8

        def __getitem__(self, i):
            memory[...] = blocks[i]
            return memory

    for given in (Reused(), lambda: (Reused()[i] for i in range(8))):
        rows, seen = SequenceRows(given), {}
        with fs.num_threads(3):
            walk_blocks(
                rows, rows.bounds(), lambda index, part, s=seen: s.update({part.start: part.A.copy()})
            )
        np.testing.assert_array_equal(np.concatenate([seen[i] for i in sorted(seen)]), np.concatenate(blocks))


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="Linux only")
def test_what_the_system_does_not_hold_is_asked_for(rng, tmp_path, monkeypatch):
    """A look at a byte that would have to wait makes the system read the block."""
    np.save(tmp_path / "A.npy", rng.standard_normal((2000, 4)))
    rows = npy.open_npy(tmp_path / "A.npy")
    rows.cut(32 * 100)
    asked = []
    monkeypatch.setattr(os, "posix_fadvise", lambda file, at, size, how: asked.append((at, size)))
    walk_blocks(rows, rows.bounds(), lambda *_: None)
    assert asked == []

    def cold(*_):
        raise BlockingIOError

    monkeypatch.setattr(os, "preadv", cold)
    with fs.num_threads(1):
        walk_blocks(rows, rows.bounds(), lambda *_: None)
    assert asked == [(rows.offset + 3200 * (k + 4), 3200) for k in range(16)]


def test_ahead_makes_nothing_after_it_is_closed():
    made = []
    ahead = _threads.Ahead(lambda index, slot: made.append(index), [1] * 100, 2)
    ahead.get(0)
    ahead.close()
    assert len(made) <= 2
