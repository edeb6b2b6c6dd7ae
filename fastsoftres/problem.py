"""The problem object: data, parameters and the public evaluations. It owns the mathematics of one fit."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _validate
from .arrange import Arrangement
from .cluster import is_collection, open_collection
from .files import open_rows
from .opening import Given, checked_model, checked_row_ridge, groups_of, open_data, scale
from .point import Point, evaluate, fitted, representable
from .quick import Quick

if TYPE_CHECKING:
    from .columns import Parts
    from .hessian import SoftResHessian
    from .theory.lipschitz import LipschitzBounds


class SoftResProblem:
    """A normalised model's fit: ``½‖f(Ax) - b‖² + ½ Σ row_ridge_i z_i² + ½ ridge ‖x‖²``.

    With z = A x + offset, ``u = exp(z) + skip*z`` and ``f = u / sum(u)``. ``skip=1`` is the softmax-ResNet
    regression of Song, Wang & Yin (arXiv:2309.13482; their objective is twice the first term), ``skip=0``
    is softmax regression. With groups of rows (markets, choice sets), each group is normalised on its own
    and the objective is the sum over groups.

    Parameters
    ----------
    A : (n, d) array_like or SciPy sparse
        float64 or float32; other real types are converted. C-order is fastest. Other layouts are copied
        piece by piece in each pass, which is slower, and never as a whole. Sparse: CSR with int32 or int64
        indices is used where it lies (in order; else, or with duplicates, a copy of it); other formats are
        converted once, with a notice. Evaluations take O(nnz), an assembled Hessian the sum of nnz_i².

        Rows that do not lie in memory are read block by block in each pass, the next block while the last one
        computes: a ``numpy.memmap``; the path of a ``.npy`` file, a Zarr folder, or a Parquet file or folder
        (its numeric columns; ``from_files`` picks them); a Zarr array, HDF5 dataset or pyarrow dataset; a
        sequence of blocks ``A_block`` or ``(A_block, b_block)``, or a function that returns a fresh iterator
        over such blocks.
    b : (n,) array_like
        Target; may be left out where blocks bring it. Any sum is accepted, with a notice where it is not 1
        in each group, since f sums to 1.
    skip : float, optional
        Weight of the linear term, >= 0.
    loss : {"least-squares", "kl"}, optional
        ``"kl"``, for ``skip=0`` and b >= 0, replaces ½‖f - b‖² by ``-Σ b log f``: the likelihood of a
        (fractional) multinomial logit, convex. Its least value is the entropy of b, not 0.
    row_ridge : float or (n,) array_like, optional
        Penalty on z_i², >= 0. It is w² of the papers and not an observation weight.
    ridge : float, optional
        Penalty on ‖x‖², >= 0.
    group_ptr : (G + 1,) array_like of int, optional
        Rows ``group_ptr[g]:group_ptr[g + 1]`` form group g: increasing, from 0 to n. By default all rows are
        one group.
    groups : (n,) array_like, optional
        A label for each row, instead of ``group_ptr``. Groups are numbered as they first appear
        (``group_labels``). Where rows of a group are not consecutive, A is copied once in their order, with a
        notice.
    group_weights : (G,) array_like, optional
        >= 0, multiplies all that a group contributes, its row ridge included: 2 is the same as the group
        twice.
    offset : (n,) array_like, optional
        Added to A x.
    mask : (n,) array_like of bool, optional
        False takes a row out: of its group's normaliser, of the loss, of every sum. Its fitted value is 0.
    memory_limit : int or str, optional
        For A in files: bytes, or a size like ``"512MB"``, that a fit may use; blocks are made as small as
        that asks for. ``fastsoftres.files.budget`` says what is counted. By default blocks have 2 MB and
        nothing is bounded.

    Attributes
    ----------
    shape : (int, int)
        Rows that take part, and columns.
    n_groups : int
    group_labels : (G,) ndarray or None
        The labels given as ``groups``.
    feature_names : list of str or None
        Names of the columns, where A is a table (pandas, polars, pyarrow) or the problem was made by
        ``from_frame``. Results carry them.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these shapes, not real, not finite, or negative where it must not be; if a
        group has no rows, or none that the mask leaves.

    Notes
    -----
    float32 A: z = A x is formed in float64, and so are values. The weighted sums of rows in gradients and
    products are kept in float32 within a block of rows and in float64 across blocks: about 7 digits of the
    terms that cancel. Everything else is float64. A is never modified; do not modify it while the problem is
    in use.

    Where there are groups or a mask, row vectors of a point (z, f, ...) hold the rows that take part, in the
    order of the groups; ``predict`` gives one value for each row as given.

    Examples
    --------
    >>> import numpy as np
    >>> import fastsoftres as fs
    >>> problem = fs.SoftResProblem([[1.0], [0.0]], [0.7, 0.3], skip=0)
    >>> round(problem.value([0.0]), 12)
    0.04
    >>> A, b = [[1.0], [0.0], [2.0], [0.0]], [0.7, 0.3, 0.9, 0.1]
    >>> fs.SoftResProblem(A, b, skip=0, group_ptr=[0, 2, 4]).n_groups
    2
    """

    _parts: Parts | None = None  # of the table that it was made from
    _quick: Quick | None = None

    def __init__(
        self,
        A: Any,
        b: Any = None,
        *,
        skip: float = 1.0,
        loss: str = "least-squares",
        row_ridge: Any = 0.0,
        ridge: float = 0.0,
        group_ptr: Any = None,
        groups: Any = None,
        group_weights: Any = None,
        offset: Any = None,
        mask: Any = None,
        memory_limit: Any = None,
    ) -> None:
        self.skip, self.ridge, self.loss = checked_model(skip, ridge, loss)
        given = Given(
            A, b, row_ridge, group_ptr, groups, group_weights, offset, mask, memory_limit, self.skip,
            loss == "kl",
        )  # fmt: skip
        opened = open_collection(given) if is_collection(A) else open_data(given)
        self._A, self._source, self._rows = opened.A, opened.source, opened.rows
        self._arrangement = opened.arrangement
        self._bb, self._floor = opened.scale
        self.shape: tuple[int, int] = (int(self._arrangement.ptr[-1]), int(opened.source.d))
        self.n_groups = int(self._arrangement.ptr.size - 1)
        self.group_labels = self._arrangement.labels
        self.feature_names = _validate.column_names(A)

    @classmethod
    def from_frame(
        cls,
        df: Any,
        *,
        target: str,
        features: Sequence[str],
        group: str | None = None,
        group_weight: str | None = None,
        offset: str | None = None,
        mask: str | None = None,
        outside: str | None = None,
        constant: bool = False,
        skip: float = 1.0,
        loss: str = "least-squares",
        row_ridge: Any = 0.0,
        ridge: float = 0.0,
    ) -> SoftResProblem:
        """A problem from the columns of a table.

        Parameters
        ----------
        df : DataFrame or Table
            Of pandas, polars or pyarrow, in memory, n rows. Needs ``pip install "fastsoftres[frames]"``.
        target : str
            The column b.
        features : list of str
            The columns of A: numbers or booleans. A is float32 if all of them are, else float64.
        group : str, optional
            The column that says to which group a row belongs (market, choice set), in any order of the rows.
        group_weight : str, optional
            The column of group weights, the same in all rows of a group.
        offset : str, optional
        mask : str, optional
            A column of booleans. Rows where it is False take no part and may hold anything.
        outside : {None, "add"}, optional
            ``"add"`` appends to each group its outside good, the choice of none of the others: a row of zeros
            (also in the constant) without offset, whose target is what the others leave of 1.
        constant : bool, optional
            Put a column of ones before the others. It is called ``constant``.
        skip, loss, row_ridge, ridge : optional
            As for ``SoftResProblem``; a row ridge of n numbers is one for each row of df.

        Returns
        -------
        SoftResProblem
            With ``feature_names``, and the groups' values as ``group_labels``. A and b hold the rows group by
            group, outside goods last in their groups. ``predict(x)`` gives one value for each row of df, and
            ``predict(x, A=other)`` one for each row of another table with these columns (the target and the
            weight are not needed).

        Raises
        ------
        ImportError
            If narwhals is not installed.
        TypeError, ValueError
            If df is no table in memory, a column is missing, not numeric, or has missing values, a weight
            changes within a group, or targets that sum to more than 1 leave nothing for an outside good. The
            message names the column, and the row (from 0) or the group.

        Notes
        -----
        The columns are read once, into the order of the groups: one copy.

        Examples
        --------
        >>> import pandas as pd
        >>> import fastsoftres as fs
        >>> from fastsoftres.data import AUTOMOBILES
        >>> cars = pd.read_csv(AUTOMOBILES)
        >>> problem = fs.SoftResProblem.from_frame(
        ...     cars, target="shares", features=["prices", "air"], group="market", outside="add",
        ...     constant=True, skip=0,
        ... )
        >>> problem.shape, problem.n_groups, problem.feature_names
        ((2237, 3), 20, ['constant', 'prices', 'air'])
        """
        from .frames import parts_of, problem_from

        parts = parts_of(
            features, outside, target=target, group=group, group_weight=group_weight, offset=offset,
            mask=mask, constant=constant,
        )  # fmt: skip
        return problem_from(cls, df, parts, row_ridge, skip=skip, loss=loss, ridge=ridge)

    @classmethod
    def from_files(
        cls,
        path: Any,
        target: Any,
        *,
        features: Sequence[str] | None = None,
        group: str | None = None,
        group_weight: str | None = None,
        offset: str | None = None,
        **options: Any,
    ) -> SoftResProblem:
        """A problem from Parquet files: columns of the table are columns of A, the target, and so on.

        Parameters
        ----------
        path : path, list of paths, or pyarrow.dataset.Dataset
            A ``.parquet`` file, a folder of them (by name), several in order. They are read block by block
            in each pass and never loaded as a whole.
        target : str or (n,) array_like
            The column of b, or b itself.
        features : sequence of str, optional
            Columns of A, in this order. By default all that hold numbers and have no other role.
        group : str, optional
            Column of group labels, of any type. Rows of a group must be consecutive.
        group_weight : str, optional
            Column with each group's weight; it must be the same for all rows of a group.
        offset : str, optional
            Column that is added to A x.
        **options
            ``memory_limit`` and others as for the constructor.

        Returns
        -------
        SoftResProblem

        Raises
        ------
        ImportError
            Without pyarrow: ``pip install 'fastsoftres[files]'``.
        FileNotFoundError, TypeError, ValueError
            If files or columns are not there, hold no numbers, or miss values; otherwise as for the
            constructor.
        """
        from .files.columns import read_columns

        A, b, roles = read_columns(path, target, features, group, group_weight, offset)
        problem = cls(A, b, **roles, **options)
        problem.feature_names = A.columns
        return problem

    @property
    def A(self) -> Any:
        """The matrix (n, d), as given; sparse as SciPy CSR; what stands for it where it is in files."""
        return self._A

    @property
    def b(self) -> np.ndarray:
        """The target, float64, of the rows that take part, in the order of the groups."""
        return self._rows.b

    @property
    def group_ptr(self) -> np.ndarray:
        """Offsets of the groups (G + 1,) among the rows that take part."""
        return self._rows.groups.ptr.copy()

    @property
    def group_weights(self) -> np.ndarray:
        """Weight of each group (G,)."""
        groups = self._rows.groups
        return groups.weight.copy() if groups.weight.size else np.ones(groups.size)

    @property
    def row_ridge(self) -> np.ndarray:
        """Penalty of each row that takes part."""
        return self._rows.w if self._rows.ridged else np.zeros(self.shape[0])

    @property
    def offset(self) -> np.ndarray | None:
        """What is added to A x, of each row that takes part; None if there is none."""
        return self._rows.offset if self._rows.offset.size else None

    @property
    def dtype(self) -> np.dtype:
        """Type in which A is read: float64 or float32."""
        return self._source.dtype

    def __repr__(self) -> str:
        n, d = self.shape
        groups = f", groups={self.n_groups}" if self.n_groups > 1 else ""
        loss = f", loss={self.loss!r}" if self._rows.kl else ""
        stored = "" if self._source.nnz is None else f", nnz={self._source.nnz}"
        return (
            f"SoftResProblem(n={n}, d={d}{stored}, dtype={self.dtype}{groups}, skip={self.skip:g}{loss}, "
            f"ridge={self.ridge:g})"
        )

    def rows(self, picked: np.ndarray) -> SoftResProblem:
        """The same problem on some of the rows that take part (copied), their targets as they are.

        Parameters
        ----------
        picked : (m,) integer array
            Row numbers, ascending, repetition allowed. Groups without a row are left out.
        """
        part = copy.copy(self)
        part._source = self._source.take(picked)
        part._A = part._source.A
        part.shape = (picked.size, self.shape[1])
        data, groups = self._rows, self._rows.groups
        counts = np.diff(np.searchsorted(picked, groups.ptr))
        seen = counts > 0
        ptr = np.concatenate([[0], np.cumsum(counts[seen])])
        weight = groups.weight[seen] if groups.weight.size else groups.weight
        part._rows = data._replace(
            b=data.b[picked],
            w=data.w[picked] if data.ridged else data.w,
            offset=data.offset[picked] if data.offset.size else data.offset,
            groups=groups_of(part._source, ptr, weight),
        )
        part._arrangement = Arrangement(part.shape[0], ptr)
        part.n_groups, part.group_labels = int(ptr.size - 1), None
        part._bb, part._floor, _ = scale(part._rows, part._arrangement)
        return part

    def with_penalty(self, *, ridge: float | None = None, row_ridge: Any = None) -> SoftResProblem:
        """The same data under other penalties; nothing is copied.

        Parameters
        ----------
        ridge, row_ridge : optional
            As for the constructor; what is not given is kept.
        """
        other = copy.copy(self)
        if ridge is not None:
            other.ridge = _validate.number(ridge, "ridge")
        if row_ridge is not None:
            w = checked_row_ridge(row_ridge, self._arrangement.n)
            other._rows = self._rows._replace(w=self._arrangement.taken(w))
        return other

    def at(self, x: Any) -> Point:
        """Evaluate at x, in one read of A.

        Parameters
        ----------
        x : (d,) array_like

        Returns
        -------
        Point
            ``value``, ``grad``, ``z``, ``hessp(t)`` (one more read), ``hessian()``.

        Raises
        ------
        ValueError
            If x has a wrong shape or is not finite, or the objective is undefined there (alpha = 0,
            or A x overflows).

        Notes
        -----
        MATH 4: the gradient is linear in 1/alpha and s, so three sums over the rows give it without
        knowing either. The result is the same to the last bit for any number of threads.
        """
        x = _validate.vector(x, self.shape[1], "x", "column of A").copy()
        return evaluate(self, x)

    def value(self, x: Any) -> float:
        """The objective at x: one read of A. See ``at``."""
        return self.at(x).value

    def grad(self, x: Any) -> np.ndarray:
        """The gradient (d,) at x: one read of A. See ``at``."""
        return representable(self.at(x).grad, "the gradient").copy()

    def value_and_grad(self, x: Any) -> tuple[float, np.ndarray]:
        """The objective and its gradient (d,) at x, together from one read of A. See ``at``."""
        quick = self._quick
        if quick is None or quick.data is not self._rows or quick.ridge != self.ridge:
            quick = self._quick = Quick(self)
        found = quick(x) if quick.fits else None
        if found is not None:
            return found
        point = self.at(x)
        return point.value, representable(point.grad, "the gradient").copy()

    def hessp(self, x: Any, t: Any) -> np.ndarray:
        """The Hessian at x times t, (d,) or (d, k): two reads of A; ``at(x).hessp`` needs one a call."""
        point = self.at(x)
        with np.errstate(all="ignore"):  # overflow is told by an error, not by a warning
            product = point.hessp(t)
        return representable(product, "the Hessian's product with t")

    def hessian(self, x: Any) -> SoftResHessian:
        """The Hessian at x as a linear operator (d, d): one read of A now, one for a product or assembly."""
        return self.at(x).hessian()

    def lipschitz(self, x: Any, radius: float) -> LipschitzBounds:
        """Rigorous Lipschitz constants of f, of the gradient and of the Hessian on a ball.

        Parameters
        ----------
        x : (d,) array_like
            Its centre.
        radius : float
            Its radius, >= 0.

        Returns
        -------
        LipschitzBounds
            ``f``, ``grad``, ``hess``: the smaller of ``local`` (interval reasoning on each row) and
            ``overall`` (from n, the norm of A, the largest z and the least alpha alone). inf where neither
            bounds anything, as where alpha may vanish on the ball.

        Notes
        -----
        Three reads of A, one of them an assembly. MATH 8, docs/theory.md. Rounding is accounted for.

        Examples
        --------
        >>> import fastsoftres as fs
        >>> problem = fs.SoftResProblem([[1.0], [0.0]], [0.7, 0.3], skip=0)
        >>> bounds = problem.lipschitz([0.0], 0.1)
        >>> bounds.f < bounds.overall.f
        True
        """
        from .theory.lipschitz import lipschitz

        return lipschitz(self, x, radius)

    def predict(
        self, x: Any, A: Any = None, *, group_ptr: Any = None, groups: Any = None, offset: Any = None
    ) -> np.ndarray:
        """Fitted values f at x: one read of A.

        Parameters
        ----------
        x : (d,) array_like
        A : (m, d) array_like or table, optional
            Other rows, with ``group_ptr`` or ``groups`` and ``offset`` of their own; by default the
            problem's. For a problem made by ``from_frame`` also a table with its columns, which tell all of
            these.

        Returns
        -------
        (n,) or (m,) float64
            In the order of the rows as given; 0 where the mask takes a row out. Outside goods that
            ``from_frame`` added are left out: theirs is what the others of their group leave of 1.
        """
        if A is None:
            if not (group_ptr is None and groups is None and offset is None):
                raise TypeError("group_ptr, groups and offset go with other rows: give A as well")
            f = fitted(self, _validate.vector(x, self.shape[1], "x", "column of A"))
            return self._arrangement.given(f)
        names = _validate.column_names(A)
        if names is not None and self._parts is not None:
            if not (group_ptr is None and groups is None and offset is None):
                raise TypeError("group_ptr, groups and offset are columns of the table: leave them out")
            from .frames import problem_from

            parts = self._parts.without_target()
            return problem_from(type(self), A, parts, 0.0, skip=self.skip).predict(x)
        if names is not None and self.feature_names not in (None, names):
            raise ValueError(f"A must have the columns {self.feature_names} in this order, got {names}")
        blocks = open_rows(A)
        A = _validate.matrix(A) if blocks is None else blocks
        if A.shape[1] != self.shape[1]:
            raise ValueError(f"A must have {self.shape[1]} columns like the problem's, got shape {A.shape}")
        with warnings.catch_warnings():  # any target: only f is asked for
            warnings.filterwarnings("ignore", "b (of|sums)")
            other = SoftResProblem(
                A, np.full(A.shape[0], 1.0 / A.shape[0]), skip=self.skip,
                group_ptr=group_ptr, groups=groups, offset=offset,
            )  # fmt: skip
        return other.predict(x)
