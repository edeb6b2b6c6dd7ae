"""Scores: each independent unit's share of the gradient, and the meat that they make."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from .._validate import any_array
from ..kernels import segments
from ..passes import Open, RowData, _Joined
from ..point import Point
from ..runners import walk
from ..sources import Rows


@dataclasses.dataclass(frozen=True, eq=False)
class Clusters:
    """Which groups are independent of each other."""

    count: int
    code: np.ndarray | None  # (G,) number of each group's cluster; None: every group is one


def clusters_of(point: Point, labels: Any) -> Clusters:
    """From labels, one for each group, or one for each row as given (the same within a group)."""
    problem = point.problem
    groups = problem._rows.groups
    if labels is None:
        return Clusters(groups.size, None)
    given = any_array(labels, "clusters")
    if given.ndim != 1 or given.size not in (groups.size, problem._arrangement.n):
        raise ValueError(
            f"clusters must have one label for each group ({groups.size}) or for each row "
            f"({problem._arrangement.n}), got shape {given.shape}"
        )
    missing = np.array([label is None or label != label for label in given.tolist()])  # noqa: PLR0124
    if missing.any():
        raise ValueError(
            f"clusters must not have missing labels, got {given[missing][0]} at {missing.argmax()}"
        )
    _, code = np.unique(given.astype(str) if given.dtype.kind == "O" else given, return_inverse=True)
    code = code.reshape(-1)
    if given.size != groups.size:
        rows = problem._arrangement.taken(code)
        code = rows[groups.ptr[:-1]]
        # an outside good of a table has no label of its own
        split = (groups.rows_of(code) != rows) & (problem._arrangement.taken(np.ones(given.size)) != 0.0)
        if split.any():
            g = int(np.searchsorted(groups.ptr, int(split.argmax()), side="right")) - 1
            name = problem._arrangement.name(g)
            raise ValueError(
                f"clusters must be the same for all rows of a group, but group {name} has several: rows "
                "inside one normaliser are not independent"
            )
    return Clusters(int(code.max()) + 1, code)


def row_scores(data: RowData, f: np.ndarray, va: np.ndarray, b: np.ndarray) -> np.ndarray:
    """dL/dz of the data's part (n,), group weights included, for any target b (MATH 2)."""
    groups = data.groups
    if data.kl:
        score = groups.rows_of(groups.sums(b)) * f - b
    else:
        c = f - b
        score = va * (c - groups.rows_of(groups.sums(c * f)))
    return score * groups.rows_of(groups.weight) if groups.weight.size else score


class _Meat(_Joined):
    """Sum over groups of score score' (d, d); of groups that chunks cut the scores stay open."""

    reads_A = True

    def __init__(self, groups: Any, score: np.ndarray):
        self.groups, self.score = groups, score

    def block(self, rows: Rows) -> tuple[tuple[np.ndarray], list[Open]]:
        span = self.groups.span(rows.start, rows.stop)
        d = rows.A.shape[1]
        S = np.empty((span.last - span.first, 1, d))
        segments.segment_sums(rows.A, rows.of(self.score)[None, :], span.ptr, span.base, S)
        M = np.zeros((d, d))
        whole = S[span.head : S.shape[0] - span.tail, 0] if span.cut else S[:, 0]
        segments.add_outer_products(whole, M)
        return (M,), [Open(g, S[g - span.first, 0], S[g - span.first, 0]) for _, g in span.cut]

    def join(self, piece: Open, later: Open) -> None:
        piece.sums[...] += later.sums


class _ClusterScores:
    """Scores (clusters, k, d) for k row vectors."""

    reads_A = True

    def __init__(self, groups: Any, scores: np.ndarray, clusters: Clusters):
        self.groups, self.scores, self.clusters = groups, scores, clusters

    def block(self, rows: Rows) -> np.ndarray:
        span = self.groups.span(rows.start, rows.stop)
        k, d = self.scores.shape[0], rows.A.shape[1]
        part = np.empty((span.last - span.first, k, d))
        W = np.ascontiguousarray(self.scores[:, rows.start : rows.stop])
        segments.segment_sums(rows.A, W, span.ptr, span.base, part)
        total = np.zeros((self.clusters.count, k, d))
        code = self.clusters.code
        here = np.arange(span.first, span.last) if code is None else span.of(code)
        np.add.at(total, here, part)
        return total

    def merge(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        before += after
        return before


def meat(point: Point, score: np.ndarray, clusters: Clusters) -> np.ndarray:
    """Sum over clusters of their scores' outer products (d, d): one read of A, nothing of groups x d stored.

    Only clusters of several groups have their scores kept, (clusters, d).
    """
    source, groups = point.problem._source, point.problem._rows.groups
    if clusters.code is not None:
        S = cluster_scores(point, score[None, :], clusters)[:, 0]
        return S.T @ S
    (M,), pieces = walk(source, _Meat(groups, score))
    for _, s, _ in pieces:
        M += np.outer(s, s)
    return M


def cluster_scores(point: Point, scores: np.ndarray, clusters: Clusters) -> np.ndarray:
    """Scores (clusters, k, d) of k row vectors (k, n): one read of A."""
    return walk(point.problem._source, _ClusterScores(point.problem._rows.groups, scores, clusters))
