"""fastsoftres/runners.py: passes whose sums tell in which order they were merged."""

from __future__ import annotations

import itertools
import random
import threading
import time

import numpy as np
import pytest

import fastsoftres as fs
from fastsoftres import runners
from fastsoftres.sources import DenseRows


class Order:
    """Its sums are the blocks seen, in the order of merging."""

    def __init__(self, reads_A=True, delay=0.0):
        self.reads_A, self.delay = reads_A, delay

    def block(self, rows):
        assert (rows.A is not None) == self.reads_A
        if self.delay:
            time.sleep(random.uniform(0, self.delay))
        return [(rows.start, rows.stop)]

    def merge(self, before, after):
        return before + after


@pytest.fixture
def source():
    """16 chunks."""
    made = DenseRows(np.zeros((1 << 20, 1)))
    assert len(made.bounds()) == 16
    return made


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_merged_in_the_order_of_the_rows(source, threads):
    """Whichever block is ready first."""
    with fs.num_threads(threads):
        assert runners.walk(source, Order(delay=0.01)) == source.bounds()


def test_one_block_is_not_merged():
    class Alone(Order):
        merge = None

    assert runners.walk(DenseRows(np.zeros((5, 2))), Alone()) == [(0, 5)]


@pytest.mark.parametrize("rows", [1, 1000, (1 << 16), (1 << 16) + 1, 200_000])
def test_passes_over_row_state_do_not_read_the_matrix(rows):
    class Unreadable(DenseRows):
        def read(self, start, stop):
            raise AssertionError("A was read")

    bounds = runners.walk(Unreadable(np.zeros((rows, 1))), Order(reads_A=False))
    assert bounds[0][0] == 0
    assert bounds[-1][1] == rows
    assert all(stop == start for (_, stop), (start, _) in itertools.pairwise(bounds))
    assert max(stop - start for start, stop in bounds) <= 1 << 16


def test_least_rows_of_a_pass(source):
    class Large(Order):
        least_rows = 300_000

    assert runners.walk(source, Large()) == source.bounds(300_000)
    assert len(source.bounds(300_000)) == 4


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("where", ["block", "merge"])
def test_errors_of_a_pass_are_raised(source, where, threads):
    class Broken(Order):
        def block(self, rows):
            if where == "block" and rows.start:
                raise ZeroDivisionError("in a block")
            return 0

        def merge(self, before, after):
            if where == "merge":
                raise ZeroDivisionError("in a merge")
            return 0

    with fs.num_threads(threads), pytest.raises(ZeroDivisionError, match=f"in a {where}"):
        runners.walk(source, Broken())


def test_only_sums_out_of_turn_are_kept():
    """Memory: a block's sums go as soon as their turn comes."""
    merger = runners._OrderedMerge(Order())
    for index in (3, 1, 0, 2):
        merger.add(index, [index])
    assert merger.total == [0, 1, 2, 3]
    assert merger.waiting == {}
    merger.add(5, [5])
    assert merger.total == [0, 1, 2, 3]
    assert merger.waiting == {5: [5]}


def test_merging_is_never_concurrent(source):
    inside = threading.Lock()

    class Exclusive(Order):
        def merge(self, before, after):
            assert inside.acquire(blocking=False)
            time.sleep(0.001)
            inside.release()
            return before + after

    with fs.num_threads(4):
        assert runners.walk(source, Exclusive(delay=0.002)) == source.bounds()
