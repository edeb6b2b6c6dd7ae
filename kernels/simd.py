"""Vector primitives: the few inner loops that LLVM does not vectorise from plain code.

Operations on rows in cache, written as LLVM vectors of a width chosen for the host: ``row_dots``,
``add_rows``, ``gram_tile``, ``product_tile``, ``centred_tile``, ``segment_sum``, ``fill``, ``add_two`` and
the bit casts of ``exp``. Each has a plain reference of the same name in ``REFERENCES``, used when Numba's
compiler is off, and tested against it.

Vectors are generic LLVM types, so the same code compiles for AVX-512, AVX2 and NEON; the width only
decides how many registers a tile needs. Pointers are opaque, element types explicit.
"""

from __future__ import annotations

import os

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

I32 = ir.IntType(32)
INTP = ir.IntType(64)

#: Bytes of a cache line, which the processor fetches at a time.
LINE = 64
#: Rows and columns that ``transpose_tile`` turns in registers: in float64 a cache line of each column.
SQUARE = 8
#: Rows that one call of ``row_dots`` takes: eight independent sums hide the latency of an FMA.
ROWS = 8
#: Entries that ``segment_sum`` and ``fill`` take at a time: most choice sets and markets' nests have no more,
#: and a loop that runs once is predicted.
RUN = 16


def _vector_bytes() -> int:
    """Width of the host's registers (numba compiles for the host, or for NUMBA_CPU_NAME)."""
    chosen = os.environ.get("FASTSOFTRES_VECTOR_BYTES")
    if chosen:
        return int(chosen)
    if numba.config.CPU_NAME:
        return 32
    try:
        features = llvm.get_host_cpu_features()
    except RuntimeError:
        return 32
    return 64 if features.get("avx512f") else 32


VECTOR_BYTES = _vector_bytes()
#: Gram tile: MR rows of the result in broadcasts times NV vectors. 16 accumulators of 32 registers
#: with AVX-512, 8 of 16 else; narrow enough that little is wasted on the diagonal.
GRAM_MR = 8 if VECTOR_BYTES == 64 else 4
GRAM_NV = 2
#: Tile of sums over rows of products of columns: 16 accumulators and what is loaded beside them, or 8 of 16.
DOT_MR = 4
DOT_NR = 4 if VECTOR_BYTES == 64 else 2


def lanes(dtype) -> int:
    """Elements of one vector of ``dtype``."""
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def gram_columns(dtype) -> int:
    """Width of a Gram tile in columns."""
    return GRAM_NV * lanes(dtype)


# ----------------------------------------------------------------------------------------------
# building blocks of the code generators


class _Emit:
    """Vector instructions for one element type, on top of an IR builder."""

    def __init__(self, builder, numba_type):
        self.b = builder
        self.size = numba_type.bitwidth // 8
        self.elem = ir.DoubleType() if numba_type == types.float64 else ir.FloatType()
        self.f64 = ir.DoubleType()
        self.w = VECTOR_BYTES // self.size
        self.vec = ir.VectorType(self.elem, self.w)

    def const(self, value):
        return ir.Constant(INTP, value)

    def at(self, pointer, index, elem=None):
        return self.b.gep(pointer, [index], source_etype=elem or self.elem)

    def load(self, pointer, mask=None, vec=None):
        vec = vec or self.vec
        size = 8 if vec.element == self.f64 else 4
        if mask is None:
            return self.b.load(pointer, align=size, typ=vec)
        name = f"llvm.masked.load.v{vec.count}f{size * 8}.p0"
        ftype = ir.FunctionType(vec, [ir.PointerType(), I32, mask.type, vec])
        function = cgutils.get_or_insert_function(self.b.module, ftype, name)
        zero = ir.Constant(vec, None)
        return self.b.call(function, [pointer, ir.Constant(I32, size), mask, zero])

    def zeros(self, vec=None):
        return ir.Constant(vec or self.vec, None)

    def splat(self, scalar, vec=None):
        vec = vec or self.vec
        one = self.b.insert_element(ir.Constant(vec, ir.Undefined), scalar, ir.Constant(I32, 0))
        return self.b.shuffle_vector(
            one, ir.Constant(vec, ir.Undefined), ir.Constant(ir.VectorType(I32, vec.count), None)
        )

    def fma(self, a, b, c):
        kind = f"v{a.type.count}f{64 if a.type.element == self.f64 else 32}"
        ftype = ir.FunctionType(a.type, [a.type] * 3)
        function = cgutils.get_or_insert_function(self.b.module, ftype, f"llvm.fmuladd.{kind}")
        return self.b.call(function, [a, b, c])

    def fabs(self, a):
        kind = f"v{a.type.count}f{self.size * 8}"
        ftype = ir.FunctionType(a.type, [a.type])
        function = cgutils.get_or_insert_function(self.b.module, ftype, f"llvm.fabs.{kind}")
        return self.b.call(function, [a])

    def tail_mask(self, count):
        """Lanes below ``count``; all where it is larger than w, none where it is not positive."""
        index = ir.Constant(ir.VectorType(I32, self.w), list(range(self.w)))
        limit = self.splat(self.b.trunc(count, I32), index.type)
        return self.b.icmp_signed("<", index, limit)

    def shuffle(self, a, b, order):
        mask = ir.Constant(ir.VectorType(I32, len(order)), order)
        return self.b.shuffle_vector(a, b, mask)

    def sum_of_each(self, vectors):
        """One vector of the horizontal sums of ``ROWS`` vectors: a transposition of halves and adds."""
        while vectors[0].type.count > ROWS:  # fold long vectors
            half = vectors[0].type.count // 2
            low, high = list(range(half)), list(range(half, 2 * half))
            vectors = [self.b.fadd(self.shuffle(v, v, low), self.shuffle(v, v, high)) for v in vectors]
        width = vectors[0].type.count
        run = width  # lanes that still belong to one sum
        while run > 1:  # pairs of vectors interleave halves of their runs
            run //= 2
            even = [i for i in range(2 * width) if (i // run) % 2 == 0]
            odd = [i for i in range(2 * width) if (i // run) % 2 == 1]
            vectors = [
                self.b.fadd(self.shuffle(p, q, even), self.shuffle(p, q, odd))
                for p, q in zip(vectors[::2], vectors[1::2], strict=True)
            ]
        while len(vectors) > 1:  # short vectors are laid side by side
            n = vectors[0].type.count
            vectors = [
                self.shuffle(p, q, list(range(2 * n)))
                for p, q in zip(vectors[::2], vectors[1::2], strict=True)
            ]
        return vectors[0]

    def widen(self, v):
        """To float64, in which sums across blocks are kept."""
        return v if self.size == 8 else self.b.fpext(v, ir.VectorType(self.f64, v.type.count))

    def prefetch_run(self, pointer, count, elem):
        """Fetch ``count`` elements that follow each other into the first-level cache."""
        line = LINE // (8 if elem == self.f64 else 4)
        for k in range(0, count, line):
            self.prefetch(self.at(pointer, self.const(k), elem))

    def prefetch(self, pointer, locality=3, write=0):
        ftype = ir.FunctionType(ir.VoidType(), [ir.PointerType(), I32, I32, I32])
        function = cgutils.get_or_insert_function(self.b.module, ftype, "llvm.prefetch.p0")
        self.b.call(
            function, [pointer, ir.Constant(I32, write), ir.Constant(I32, locality), ir.Constant(I32, 1)]
        )


def _data(context, builder, array_type, value):
    """Opaque pointer to an array's first element."""
    pointer = context.make_array(array_type)(context, builder, value).data
    # numba still hands out typed pointers, which llvmlite takes as equal to opaque ones and would not cast
    cast = ir.instructions.CastInstr(builder.block, "bitcast", pointer, ir.PointerType(), "")
    builder._insert(cast)
    return cast


def _loop(builder, start, stop, step):
    """``for index in range(start, stop, step)`` with INTP values; yields the index."""
    return cgutils.for_range_slice(builder, start, stop, step, INTP, inc=True)


# ----------------------------------------------------------------------------------------------
# fetch


def _make_fetch(write):
    @intrinsic
    def _fetch(typingctx, v, start, stop):
        sig = types.void(v, types.intp, types.intp)

        def codegen(context, builder, signature, args):
            e = _Emit(builder, v.dtype)
            base = _data(context, builder, v, args[0])
            with _loop(builder, args[1], args[2], e.const(LINE // e.size)) as (i, _):
                e.prefetch(e.at(base, i), write=write)
            return context.get_dummy_value()

        return sig, codegen

    return _fetch


_fetch, _fetch_to_write = _make_fetch(0), _make_fetch(1)


def _fetch_reference(v, start, stop):
    """Ask for v[start:stop], contiguous, to be in cache; a hint, which may reach past the end."""


# ----------------------------------------------------------------------------------------------
# row_dots


def _emit_row_dots(context, builder, A, args, vectors):
    """Products of ``ROWS`` rows with ``vectors`` vectors that lie ``ldx`` apart; each sum lies ``ldo``
    apart."""
    A_, d, x, ldx, i, last, ahead, out, ldo, o = args
    # z decides everything that follows, so float32 rows are widened as they are loaded
    e = _Emit(builder, types.float64)
    narrow = A.dtype == types.float32
    stored = ir.FloatType() if narrow else ir.DoubleType()
    rows = [e.at(A_, builder.mul(i, d), stored)]
    left = builder.sub(last, i)
    for r in range(1, ROWS):  # past the last row the last one is read again: no other tail
        further = builder.select(builder.icmp_signed("<=", e.const(r), left), d, e.const(0))
        rows.append(e.at(rows[-1], further, stored))
    fetch = e.at(rows[0], ahead, stored)
    whole = builder.and_(d, e.const(-e.w))
    xs = [e.at(x, builder.mul(e.const(k), ldx)) for k in range(vectors)]
    # ROWS * vectors sums in registers; of 16 registers a second vector leaves none for A
    together = ROWS if VECTOR_BYTES == 64 or vectors == 1 else ROWS // vectors
    acc = [[cgutils.alloca_once_value(builder, e.zeros()) for _ in range(ROWS)] for _ in range(vectors)]

    def step(j, mask, some):
        xv = [e.load(e.at(p, j), mask) for p in xs]
        if some[0] == 0:
            e.prefetch_run(e.at(fetch, builder.mul(j, e.const(ROWS // 2)), stored), ROWS * e.w // 2, stored)
        for r in some:
            row = e.load(e.at(rows[r], j, stored), mask, ir.VectorType(stored, e.w))
            row = builder.fpext(row, e.vec) if narrow else row
            for k in range(vectors):
                builder.store(e.fma(row, xv[k], builder.load(acc[k][r], typ=e.vec)), acc[k][r])

    for begin in range(0, ROWS, together):
        some = range(begin, begin + together)
        with _loop(builder, e.const(0), whole, e.const(e.w)) as (j, _):
            step(j, None, some)
        with builder.if_then(builder.icmp_signed("<", whole, d)):
            step(whole, e.tail_mask(builder.sub(d, whole)), some)
    for k in range(vectors):
        sums = e.sum_of_each([builder.load(a, typ=e.vec) for a in acc[k]])
        builder.store(sums, e.at(out, builder.add(builder.mul(e.const(k), ldo), o)), align=8)


@intrinsic
def _row_dots(typingctx, A, d, x, i, last, ahead, out, o):
    sig = types.void(A, types.intp, x, types.intp, types.intp, types.intp, out, types.intp)

    def codegen(context, builder, signature, args):
        none = ir.Constant(INTP, 0)
        Ap, xp, outp = (_data(context, builder, signature.args[k], args[k]) for k in (0, 2, 6))
        _, d_, _, i_, last_, ahead_, _, o_ = args
        _emit_row_dots(context, builder, A, (Ap, d_, xp, none, i_, last_, ahead_, outp, none, o_), 1)
        return context.get_dummy_value()

    return sig, codegen


def _row_dots_reference(A, d, x, i, last, ahead, out, o):
    """out[o:o+8] = A[i:i+8] @ x in float64, flat C-ordered A (rows of d); rows past ``last`` repeat it."""
    rows = np.minimum(np.arange(i, i + ROWS), last)
    out[o : o + ROWS] = A.reshape(-1, d)[rows].astype(np.float64) @ x


@intrinsic
def _row_dots_2(typingctx, A, d, T, k, i, last, ahead, out, ldo, o):
    n = types.intp
    sig = types.void(A, n, T, n, n, n, n, out, n, n)

    def codegen(context, builder, signature, args):
        Ap, Tp, outp = (_data(context, builder, signature.args[k], args[k]) for k in (0, 2, 7))
        d_ = args[1]
        x = builder.gep(Tp, [builder.mul(args[3], d_)], source_etype=ir.DoubleType())
        _emit_row_dots(context, builder, A, (Ap, d_, x, d_, *args[4:7], outp, *args[8:]), 2)
        return context.get_dummy_value()

    return sig, codegen


def _row_dots_2_reference(A, d, T, k, i, last, ahead, out, ldo, o):
    """The same for vectors k and k + 1 of T, which lie d apart; their products lie ``ldo`` apart."""
    T, out = T.reshape(-1, d), out.reshape(-1)
    for m in range(2):
        _row_dots_reference(A, d, T[k + m], i, last, ahead, out[m * ldo :], o)


# ----------------------------------------------------------------------------------------------
# add_rows


def _make_add_rows(plain, absolute, alone=False):
    """Weighted sums of rows: ``plain`` weight vectors, then ``absolute`` ones for sums of \\|A\\|.

    ``alone``: nothing else reads the block, so all of the next one is fetched.
    """
    count = plain + absolute

    @intrinsic
    def _add_rows(typingctx, A, d, i, rows, W, ldw, o, ahead, acc):
        sig = types.void(A, types.intp, types.intp, types.intp, W, types.intp, types.intp, types.intp, acc)

        def codegen(context, builder, signature, args):
            e = _Emit(builder, A.dtype)
            base, wp, accp = (
                _data(context, builder, A, args[0]),
                _data(context, builder, W, args[4]),
                _data(context, builder, acc, args[8]),
            )
            d_, i_, rows_, ldw_, o_, ahead_ = args[1], args[2], args[3], args[5], args[6], args[7]
            first = e.at(base, builder.mul(i_, d_))
            weights = [e.at(wp, builder.add(builder.mul(e.const(k), ldw_), o_)) for k in range(count)]
            whole = builder.and_(d_, e.const(-e.w))

            # row_dots fetches the first half of the next block, this the second: always the next line in
            # memory, so that the processor's own prefetching sees one stream and runs ahead of ours
            share = 1 if alone else 2
            half = e.const(0) if alone else builder.sdiv(builder.mul(rows_, d_), e.const(2))
            fetch = e.at(first, builder.add(ahead_, half))

            def tile(j, vectors, deep, mask):
                """``vectors`` of columns from j on, ``deep`` rows at a time, each with sums of its own."""
                sums = [
                    [cgutils.alloca_once(builder, e.vec) for _ in range(deep * vectors)] for _ in range(count)
                ]
                for own in sums:
                    for one in own:
                        builder.store(e.zeros(), one)
                run = e.at(fetch, builder.sdiv(builder.mul(j, rows_), e.const(share)))

                def add(r, deep):
                    at = e.at(first, builder.add(builder.mul(r, d_), j))
                    for s in range(deep):
                        parts = [e.load(e.at(at, e.const(t * e.w)), mask) for t in range(vectors)]
                        for k in range(count):
                            weight = e.splat(
                                builder.load(e.at(weights[k], builder.add(r, e.const(s))), typ=e.elem)
                            )
                            for t in range(vectors):
                                value = e.fabs(parts[t]) if k >= plain else parts[t]
                                one = sums[k][s * vectors + t]
                                builder.store(e.fma(value, weight, builder.load(one, typ=e.vec)), one)
                        at = e.at(at, d_)

                together = builder.sub(rows_, builder.urem(rows_, e.const(deep)))
                with _loop(builder, e.const(0), together, e.const(deep)) as (r, _):
                    some = vectors * e.w // share
                    e.prefetch_run(e.at(run, builder.mul(r, e.const(some))), deep * some, e.elem)
                    add(r, deep)
                if deep > 1:
                    with _loop(builder, together, rows_, e.const(1)) as (r, _):
                        add(r, 1)
                for k in range(count):
                    to = e.at(accp, builder.add(builder.mul(e.const(k), d_), j), e.f64)
                    for t in range(vectors):
                        total = builder.load(sums[k][t], typ=e.vec)
                        for s in range(1, deep):
                            total = builder.fadd(total, builder.load(sums[k][s * vectors + t], typ=e.vec))
                        total = e.widen(total)
                        if mask is None:
                            at = e.at(to, e.const(t * e.w), e.f64)
                            old = builder.load(at, align=8, typ=total.type)
                            builder.store(builder.fadd(old, total), at, align=8)
                        else:
                            _add_lanes(e, total, to, builder.sub(d_, j))

            # as many sums at a time as registers hold: count * 4 and 4 of A in 32, or 2 in 16. Where a row is
            # short they go to several rows, since one sum can grow only every four cycles
            wide = 4 if VECTOR_BYTES == 64 and count <= 5 else 2
            step = e.const(wide * e.w)
            tiled = builder.sub(whole, builder.urem(whole, step))
            with _loop(builder, e.const(0), tiled, step) as (j, _):
                tile(j, wide, 1, None)
            with _loop(builder, tiled, whole, e.const(e.w)) as (j, _):
                tile(j, 1, wide, None)
            with builder.if_then(builder.icmp_signed("<", whole, d_)):
                tile(whole, 1, wide, e.tail_mask(builder.sub(d_, whole)))
            return context.get_dummy_value()

        return sig, codegen

    def reference(A, d, i, rows, W, ldw, o, ahead, acc):
        """acc[k] += W[k, o:o+rows] @ A[i:i+rows] (the last sums with \\|A\\|), flat C-ordered arrays."""
        block = A.reshape(-1, d)[i : i + rows]
        weights = W.reshape(-1)
        for k in range(count):
            part = np.abs(block) if k >= plain else block
            start = k * ldw + o
            acc.reshape(-1)[k * d : (k + 1) * d] += weights[start : start + rows] @ part

    return _add_rows, reference


def _add_lanes(e, total, to, count):
    """Add the first ``count`` lanes of ``total`` to memory: the end of a row, once a block."""
    for lane in range(e.w - 1):
        wanted = e.b.icmp_signed("<", e.const(lane), count)
        with e.b.if_then(wanted):
            at = e.at(to, e.const(lane), e.f64)
            value = e.b.extract_element(total, ir.Constant(I32, lane))
            e.b.store(e.b.fadd(e.b.load(at, typ=e.f64), value), at)


# ----------------------------------------------------------------------------------------------
# pack_row


@intrinsic
def _pack_row(typingctx, A, d, i, mu, scale, centre, weight, left, right, capacity, r):
    sig = types.void(
        A, types.intp, types.intp, mu, types.float64, types.float64, types.float64, left, right,
        types.intp, types.intp,
    )  # fmt: skip

    def codegen(context, builder, signature, args):
        e = _Emit(builder, A.dtype)
        out = _Emit(builder, right.dtype)
        width = GRAM_NV * out.w
        row = e.at(_data(context, builder, A, args[0]), builder.mul(args[2], args[1]))
        mup = _data(context, builder, mu, args[3])
        leftp, rightp = _data(context, builder, left, args[7]), _data(context, builder, right, args[8])
        d_, capacity_, r_ = args[1], args[9], args[10]
        left_row = e.at(leftp, builder.mul(r_, e.const(GRAM_MR)), out.elem)
        right_row = e.at(rightp, builder.mul(r_, e.const(width)), out.elem)
        cast = (lambda v: v) if e.size == 8 else (lambda v: builder.fptrunc(v, e.elem))
        scale_, minus = e.splat(cast(args[4])), e.splat(cast(builder.fneg(args[5])))
        piece = ir.VectorType(out.elem, e.w)
        weight_ = args[6] if out.size == 8 else builder.fptrunc(args[6], out.elem)
        weight_ = e.splat(weight_, piece)

        def step(j, mask):
            v = builder.fmul(e.load(e.at(row, j), mask), scale_)
            v = e.fma(e.load(e.at(mup, j)), minus, v)
            if e.size > out.size:
                v = builder.fptrunc(v, piece)
            elif e.size < out.size:
                v = builder.fpext(v, piece)
            panel = builder.and_(j, e.const(-width))  # its first column
            at = builder.add(builder.mul(panel, capacity_), builder.sub(j, panel))
            builder.store(v, e.at(right_row, at, out.elem), align=out.size)
            v = builder.fmul(v, weight_)
            for m in range(0, e.w, GRAM_MR):
                take = list(range(m, m + GRAM_MR))
                part = v if e.w == GRAM_MR else e.shuffle(v, v, take)
                at = builder.mul(builder.add(j, e.const(m)), capacity_)
                builder.store(part, e.at(left_row, at, out.elem), align=out.size)

        whole = builder.and_(d_, e.const(-e.w))
        with _loop(builder, e.const(0), whole, e.const(e.w)) as (j, _):
            step(j, None)
        with builder.if_then(builder.icmp_signed("<", whole, d_)):
            step(whole, e.tail_mask(builder.sub(d_, whole)))
        return context.get_dummy_value()

    return sig, codegen


def _pack_row_reference(A, d, i, mu, scale, centre, weight, left, right, capacity, r):
    """Row r of both panels of ``gram_tile``: c = scale*A[i] - centre*mu on the right, weight*c on the left.

    ``mu`` is of A's type and as long as a padded row, zero past d; so are the panels past the last vector.
    """
    width = gram_columns(right.dtype)
    row = scale * A.reshape(-1, d)[i] - centre * mu[:d]
    for j in range(d):
        right[((j // width) * capacity + r) * width + j % width] = row[j]
        left[((j // GRAM_MR) * capacity + r) * GRAM_MR + j % GRAM_MR] = weight * right.dtype.type(row[j])


# ----------------------------------------------------------------------------------------------
# gram_tile


def _make_gram_tile(vectors):
    """Tiles of ``vectors`` vectors; panels are as wide as ``gram_columns`` says."""

    @intrinsic
    def _gram_tile(typingctx, left, lo, right, ro, rows, H, ho, ldh):
        sig = types.void(left, types.intp, right, types.intp, types.intp, H, types.intp, types.intp)

        def codegen(context, builder, signature, args):
            e = _Emit(builder, right.dtype)
            lp = e.at(_data(context, builder, left, args[0]), args[1])
            rp = e.at(_data(context, builder, right, args[2]), args[3])
            hp = e.at(_data(context, builder, H, args[5]), args[6], e.f64)
            rows_, ldh_ = args[4], args[7]
            acc = [[cgutils.alloca_once(builder, e.vec) for _ in range(vectors)] for _ in range(GRAM_MR)]
            for a in acc:
                for b in a:
                    builder.store(e.zeros(), b)
            with _loop(builder, e.const(0), rows_, e.const(1)) as (r, _):
                row = e.at(rp, builder.mul(r, e.const(GRAM_NV * e.w)))
                column = e.at(lp, builder.mul(r, e.const(GRAM_MR)))
                parts = [e.load(e.at(row, e.const(t * e.w))) for t in range(vectors)]
                for m in range(GRAM_MR):
                    scalar = e.splat(builder.load(e.at(column, e.const(m)), typ=e.elem))
                    for t in range(vectors):
                        builder.store(e.fma(scalar, parts[t], builder.load(acc[m][t], typ=e.vec)), acc[m][t])
            for m in range(GRAM_MR):
                for t in range(vectors):
                    offset = builder.add(builder.mul(e.const(m), ldh_), e.const(t * e.w))
                    at = e.at(hp, offset, e.f64)
                    total = e.widen(builder.load(acc[m][t], typ=e.vec))
                    old = builder.load(at, align=8, typ=total.type)
                    builder.store(builder.fadd(old, total), at, align=8)
            return context.get_dummy_value()

        return sig, codegen

    def reference(left, lo, right, ro, rows, H, ho, ldh):
        """H[m, j] += sum_r left[r, m] * right[r, j] for one tile; panels are packed row by row."""
        width, columns = gram_columns(right.dtype), vectors * lanes(right.dtype)
        L = left.reshape(-1)[lo : lo + rows * GRAM_MR].reshape(rows, GRAM_MR)
        R = right.reshape(-1)[ro : ro + rows * width].reshape(rows, width)[:, :columns]
        at = ho + ldh * np.arange(GRAM_MR)[:, None] + np.arange(columns)
        H.reshape(-1)[at] += L.T @ R

    return _gram_tile, reference


_gram_tile, _gram_tile_reference = _make_gram_tile(GRAM_NV)
_gram_tile_1, _gram_tile_1_reference = _make_gram_tile(1)


# ----------------------------------------------------------------------------------------------
# transpose_tile


@intrinsic
def _transpose_tile(typingctx, A, ao, lda, ahead, B, bo, ldb):
    sig = types.void(A, types.intp, types.intp, types.intp, B, types.intp, types.intp)

    def codegen(context, builder, signature, args):
        e = _Emit(builder, A.dtype)
        source = e.at(_data(context, builder, A, args[0]), args[1])
        target = e.at(_data(context, builder, B, args[4]), args[5])
        square = range(SQUARE)
        vec = ir.VectorType(e.elem, SQUARE)
        rows = []
        for _ in square:
            e.prefetch(e.at(source, args[3]))
            rows.append(e.load(source, vec=vec))
            source = e.at(source, args[2])
        run = SQUARE
        while run > 1:  # squares of ``run`` lanes change places across the diagonal, then the squares in them
            run //= 2
            upper = [lane if not lane & run else SQUARE + lane - run for lane in square]
            lower = [lane + run if not lane & run else SQUARE + lane for lane in square]
            for i in square:
                if not i & run:
                    p, q = rows[i], rows[i + run]
                    rows[i], rows[i + run] = e.shuffle(p, q, upper), e.shuffle(p, q, lower)
        for row in rows:
            builder.store(row, target, align=e.size)
            target = e.at(target, args[6])
        return context.get_dummy_value()

    return sig, codegen


def _transpose_tile_reference(A, ao, lda, ahead, B, bo, ldb):
    """A square of ``SQUARE`` rows from A, rows ``lda`` apart, to B, rows ``ldb`` apart, transposed.

    What lies ``ahead`` in A is fetched.
    """
    square = np.arange(SQUARE)
    B.reshape(-1)[bo + ldb * square[:, None] + square] = A.reshape(-1)[ao + lda * square + square[:, None]]


# ----------------------------------------------------------------------------------------------
# product_tile


@intrinsic
def _product_tile(typingctx, left, lo, along, across, right, ro, ldr, count, out, oo, ldo, ahead):
    integer = types.intp
    sig = types.void(
        left, integer, integer, integer, right, integer, integer, integer, out, integer, integer, integer
    )  # fmt: skip

    def codegen(context, builder, signature, args):
        e = _Emit(builder, types.float64)
        along_, across_, ldr_, count_, ldo_ = args[2], args[3], args[6], args[7], args[10]
        first = e.at(_data(context, builder, left, args[0]), args[1])
        columns = [e.at(first, builder.mul(across_, e.const(m))) for m in range(GRAM_MR)]
        rp = e.at(_data(context, builder, right, args[4]), args[5])
        op = e.at(_data(context, builder, out, args[8]), args[9])
        lines = builder.inttoptr(args[11], ir.PointerType())
        acc = [[cgutils.alloca_once(builder, e.vec) for _ in range(GRAM_NV)] for _ in range(GRAM_MR)]
        for a in acc:
            for b in a:
                builder.store(e.zeros(), b)
        with _loop(builder, e.const(0), count_, e.const(1)) as (r, _):
            row = e.at(rp, builder.mul(r, ldr_))
            step = builder.mul(r, along_)
            # to the second level: the first is full of what the tile reads
            e.prefetch(e.at(lines, builder.mul(r, e.const(LINE // 8))), 2)
            vectors = [e.load(e.at(row, e.const(t * e.w))) for t in range(GRAM_NV)]
            for m in range(GRAM_MR):
                scalar = e.splat(builder.load(e.at(columns[m], step), typ=e.elem))
                for t in range(GRAM_NV):
                    builder.store(e.fma(scalar, vectors[t], builder.load(acc[m][t], typ=e.vec)), acc[m][t])
        for m in range(GRAM_MR):
            row = e.at(op, builder.mul(e.const(m), ldo_))
            for t in range(GRAM_NV):
                at = e.at(row, e.const(t * e.w))
                old = builder.load(at, align=8, typ=e.vec)
                builder.store(builder.fadd(old, builder.load(acc[m][t], typ=e.vec)), at, align=8)
        return context.get_dummy_value()

    return sig, codegen


def _product_tile_reference(left, lo, along, across, right, ro, ldr, count, out, oo, ldo, ahead):
    """out[m, j] += sum_r left[r, m] * right[r, j], float64, one tile; rows of ``left`` lie ``along`` apart,
    its columns ``across``. ``count`` cache lines from the address ``ahead`` on are prefetched.
    """
    r, m, j = np.arange(count), np.arange(GRAM_MR), np.arange(gram_columns(np.float64))
    L = left.reshape(-1)[lo + along * r[:, None] + across * m]
    R = right.reshape(-1)[ro + ldr * r[:, None] + j]
    out.reshape(-1)[oo + ldo * m[:, None] + j] += L.T @ R


# ----------------------------------------------------------------------------------------------
# centred_tile


@intrinsic
def _centred_tile(typingctx, F, i, j, ldf, rows, mu, mi, mj, D, do, H, ho, ldh):
    n = types.intp
    sig = types.void(F, n, n, n, n, mu, n, n, D, n, H, n, n)

    def codegen(context, builder, signature, args):
        e = _Emit(builder, types.float64)
        Fp, mup = _data(context, builder, F, args[0]), _data(context, builder, mu, args[5])
        Dp = e.at(_data(context, builder, D, args[8]), args[9])
        Hp = e.at(_data(context, builder, H, args[10]), args[11])

        def columns(first, mean, count):
            start, means = e.at(Fp, first), e.at(mup, mean)
            each = [e.const(k) for k in range(count)]
            return (
                [e.at(start, builder.mul(k, args[3])) for k in each],
                [e.splat(builder.load(e.at(means, k), typ=e.elem)) for k in each],
            )

        lefts, left_means = columns(args[1], args[6], DOT_MR)
        rights, right_means = columns(args[2], args[7], DOT_NR)
        acc = [cgutils.alloca_once_value(builder, e.zeros()) for _ in range(DOT_MR * DOT_NR)]
        for a in acc:
            builder.store(e.zeros(), a)
        with _loop(builder, e.const(0), args[4], e.const(e.w)) as (r, _):
            weight = e.load(e.at(Dp, r))
            vectors = [builder.fsub(e.load(e.at(p, r)), m) for p, m in zip(rights, right_means, strict=True)]
            for m in range(DOT_MR):
                one = builder.fsub(e.load(e.at(lefts[m], r)), left_means[m])
                one = builder.fmul(one, weight)
                for k in range(DOT_NR):
                    a = acc[m * DOT_NR + k]
                    builder.store(e.fma(one, vectors[k], builder.load(a, typ=e.vec)), a)
        together = ROWS // DOT_NR  # rows of the tile whose sums one transposition gives
        row = ir.VectorType(e.elem, DOT_NR)
        for m in range(0, DOT_MR, together):
            some = acc[m * DOT_NR : (m + together) * DOT_NR]
            sums = e.sum_of_each([builder.load(a, typ=e.vec) for a in some])
            for k in range(together):
                part = e.shuffle(sums, sums, list(range(k * DOT_NR, (k + 1) * DOT_NR)))
                at = e.at(Hp, builder.mul(e.const(m + k), args[12]))
                builder.store(builder.fadd(builder.load(at, align=8, typ=row), part), at, align=8)
        return context.get_dummy_value()

    return sig, codegen


def _centred_tile_reference(F, i, j, ldf, rows, mu, mi, mj, D, do, H, ho, ldh):
    """H[m, k] += sum_r (F_m[r] - mu_m) D[r] (F_k[r] - mu_k) for one tile of columns of F, ``ldf`` apart, from
    places i and j on, their means from mi and mj on. ``rows`` is a multiple of 8.
    """
    m, k, r = np.arange(DOT_MR), np.arange(DOT_NR), np.arange(rows)
    left = F[i + ldf * m[:, None] + r] - mu[mi + m][:, None]
    right = F[j + ldf * k[:, None] + r] - mu[mj + k][:, None]
    H[ho + ldh * m[:, None] + k] += (left * D[do + r]) @ right.T


# ----------------------------------------------------------------------------------------------
# segment_sum, fill


@intrinsic
def _segment_sum(typingctx, v, start, stop):
    sig = types.float64(v, types.intp, types.intp)

    def codegen(context, builder, signature, args):
        e = _Emit(builder, types.float64)
        base = _data(context, builder, v, args[0])
        acc = [cgutils.alloca_once_value(builder, e.zeros()) for _ in range(RUN // e.w)]
        with _loop(builder, args[1], args[2], e.const(RUN)) as (i, _):
            for t, a in enumerate(acc):
                at = builder.add(i, e.const(t * e.w))
                part = e.load(e.at(base, at), e.tail_mask(builder.sub(args[2], at)))
                builder.store(builder.fadd(builder.load(a, typ=e.vec), part), a)
        parts = [builder.load(a, typ=e.vec) for a in acc]
        while len(parts) > 1:
            parts = [builder.fadd(p, q) for p, q in zip(parts[::2], parts[1::2], strict=True)]
        total = parts[0]
        while total.type.count > 1:
            half = total.type.count // 2
            low, high = list(range(half)), list(range(half, 2 * half))
            total = builder.fadd(e.shuffle(total, total, low), e.shuffle(total, total, high))
        return builder.extract_element(total, ir.Constant(I32, 0))

    return sig, codegen


def _segment_sum_reference(v, start, stop):
    """Sum of v[start:stop], float64, in an order that depends on its length alone."""
    return v[start:stop].sum()


@intrinsic
def _fill(typingctx, v, start, stop, value):
    sig = types.void(v, types.intp, types.intp, types.float64)

    def codegen(context, builder, signature, args):
        e = _Emit(builder, types.float64)
        base, value_ = _data(context, builder, v, args[0]), e.splat(args[3])
        with _loop(builder, args[1], args[2], e.const(RUN)) as (i, _):
            for t in range(RUN // e.w):
                builder.store(value_, e.at(base, builder.add(i, e.const(t * e.w))), align=8)
        return context.get_dummy_value()

    return sig, codegen


def _fill_reference(v, start, stop, value):
    """v[start:stop] = value, float64; up to RUN - 1 entries more may be overwritten."""
    v[start:stop] = value


# ----------------------------------------------------------------------------------------------
# add_two


@intrinsic
def _add_two(typingctx, F, o, G, p, a, H, q, b, count):
    n, x = types.intp, types.float64
    sig = types.void(F, n, G, n, x, H, n, x, n)

    def codegen(context, builder, signature, args):
        e = _Emit(builder, types.float64)
        Fp, Gp, Hp = (
            e.at(_data(context, builder, signature.args[k], args[k]), args[k + 1]) for k in (0, 2, 5)
        )
        a_, b_, count_ = e.splat(args[4]), e.splat(args[7]), args[8]
        whole = builder.and_(count_, e.const(-e.w))

        def step(j, mask):
            at = e.at(Fp, j)
            total = e.fma(a_, e.load(e.at(Gp, j), mask), e.load(at, mask))
            total = e.fma(b_, e.load(e.at(Hp, j), mask), total)
            if mask is None:
                builder.store(total, at, align=8)
                return
            ftype = ir.FunctionType(ir.VoidType(), [e.vec, ir.PointerType(), I32, mask.type])
            name = f"llvm.masked.store.v{e.w}f64.p0"
            function = cgutils.get_or_insert_function(builder.module, ftype, name)
            builder.call(function, [total, at, ir.Constant(I32, 8), mask])

        with _loop(builder, e.const(0), whole, e.const(e.w)) as (j, _):
            step(j, None)
        with builder.if_then(builder.icmp_signed("<", whole, count_)):
            step(whole, e.tail_mask(builder.sub(count_, whole)))
        return context.get_dummy_value()

    return sig, codegen


def _add_two_reference(F, o, G, p, a, H, q, b, count):
    """F[o:o+count] += a*G[p:p+count] + b*H[q:q+count], float64; F may be G or H, in other places.

    Plain loops of ten or thirty entries end before LLVM's vectors begin.
    """
    F[o : o + count] += a * G[p : p + count] + b * H[q : q + count]


# ----------------------------------------------------------------------------------------------
# bit casts


@intrinsic
def _float_bits(typingctx, value):
    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), codegen


@intrinsic
def _bits_float(typingctx, value):
    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), codegen


def _float_bits_reference(value):
    """The 64 bits of a float64 as a signed integer."""
    return np.float64(value).view(np.int64)


def _bits_float_reference(value):
    """The float64 with these 64 bits."""
    return np.int64(value).view(np.float64)


_add_rows_1, _add_rows_1_reference = _make_add_rows(1, 0)
_add_rows_3, _add_rows_3_reference = _make_add_rows(3, 0)
_add_rows_4, _add_rows_4_reference = _make_add_rows(4, 0)
_add_rows_2_2, _add_rows_2_2_reference = _make_add_rows(2, 2, alone=True)

#: Plain NumPy versions, by name: the specification of each primitive.
REFERENCES = {
    "fetch": _fetch_reference,
    "fetch_to_write": _fetch_reference,
    "row_dots": _row_dots_reference,
    "row_dots_2": _row_dots_2_reference,
    "add_rows_1": _add_rows_1_reference,
    "add_rows_3": _add_rows_3_reference,
    "add_rows_4": _add_rows_4_reference,
    "add_rows_2_2": _add_rows_2_2_reference,
    "pack_row": _pack_row_reference,
    "gram_tile": _gram_tile_reference,
    "gram_tile_1": _gram_tile_1_reference,
    "transpose_tile": _transpose_tile_reference,
    "product_tile": _product_tile_reference,
    "centred_tile": _centred_tile_reference,
    "add_two": _add_two_reference,
    "segment_sum": _segment_sum_reference,
    "fill": _fill_reference,
    "float_bits": _float_bits_reference,
    "bits_float": _bits_float_reference,
}

if numba.config.DISABLE_JIT:
    globals().update(REFERENCES)
else:
    fetch, fetch_to_write = _fetch, _fetch_to_write
    row_dots, row_dots_2 = _row_dots, _row_dots_2
    add_rows_1, add_rows_3, add_rows_4 = _add_rows_1, _add_rows_3, _add_rows_4
    add_rows_2_2 = _add_rows_2_2
    pack_row, product_tile = _pack_row, _product_tile
    gram_tile, gram_tile_1 = _gram_tile, _gram_tile_1
    transpose_tile, centred_tile, add_two = _transpose_tile, _centred_tile, _add_two
    segment_sum, fill = _segment_sum, _fill
    float_bits, bits_float = _float_bits, _bits_float
