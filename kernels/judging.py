"""When a point is a solution, what it is when it is not, and how far the next step may go (MATH 7).

Numbers in, a verdict out: one set of rules for the loop over problems of any size and for the compiled fit of
a small one.
"""

from __future__ import annotations

import math

from ._jit import inline, kernel

# Why a run ended (``solvers.stopping.Status`` has the same); UNDECIDED: it goes on.
UNDECIDED = -1
CONVERGED, MAXITER, PLATEAU, STALLED, UNBOUNDED, BARRIER, STOPPED, TIME, LEFT = range(9)

#: A last step that moves some z_i further than this is no convergence but a march to infinity.
STRIDE = 0.3
#: So small a share of ‖b‖² left, and so many such steps in a row, say that the march goes on for ever.
_VANISHED = 1e-12
_STRIDES = 3
#: Sum of |f| from which a stall is laid to the barrier: alpha is a thousandth of what it sums.
_NEAR_BARRIER = 1e3
#: Curvature more negative than this share of the largest makes a stationary point a saddle.
_NEGATIVE = 1e-8

#: No z_i moves further than this in a first trial: curvature changes by e to this power. The cap grows
#: while steps at the cap are what the model said, as where u is nearly linear in z.
CAP = 5.0
_MAX_CAP = 1e8
#: First radius: root mean square change of z.
RADIUS = 1.0
MAX_RADIUS = 1e8

#: A Newton decrement below this share of the loss (or of ½‖b‖² at a perfect fit) cannot change the fit.
DECREMENT = (1e-10, 1e-16)


@kernel
def measures(grad, terms, rows, loss, bb, ridge):
    """The relative gradient m1, the plateau measure m2 and the misfit; ``loss`` is twice the data's.

    ``terms`` and ``rows`` (d,): what the gradient is measured against (``gradient.column_sums``). Of a column
    of zeros they are the ridge's alone, ridge abs(x_j): nothing can cancel, and abs(grad_j) over them is 1
    until x_j is exactly 0. There the root of what x_j costs, ridge x_j², over ‖b‖² counts instead; rows say
    nothing of that column, nor it of them.
    """
    largest = total = all_rows = 0.0
    seen = False
    for j in range(grad.size):
        if terms[j] > 0.0:  # in units in which every column's terms have size 1
            seen = True
            if ridge > 0.0 and bb > 0.0 and abs(grad[j]) == terms[j]:
                largest = max(largest, min(terms[j] / math.sqrt(ridge) / math.sqrt(bb), 1.0))
                continue
            relative = abs(grad[j]) / terms[j]
            part = rows[j] / terms[j]
            if not relative <= largest:  # nan too
                largest = relative
            total += relative * relative
            all_rows += part * part
    # rows that contribute exactly nothing have not cancelled: f is saturated, or it fits
    plateau = math.sqrt(total) / math.sqrt(all_rows) if all_rows > 0.0 else (1.0 if seen else 0.0)
    loss = max(loss, 0.0)
    misfit = loss / bb if bb > 0.0 else (0.0 if loss <= 0.0 else math.inf)
    return largest, plateau, misfit


@inline
def verdict(plateau, misfit, known, strength, saturated, tol):
    """What a point with a vanishing gradient is; ``known``: curvature has been looked at."""
    fits, cancels = misfit <= tol, plateau <= math.sqrt(tol)
    if fits or not known:
        return CONVERGED if fits or cancels else PLATEAU
    # far from a fit, directions without curvature that A does see are saturated; where nothing cancels in
    # the gradient, only curvature that has not cancelled either speaks for a minimum
    if saturated or not (cancels or strength > math.sqrt(tol)):
        return PLATEAU
    return CONVERGED


@kernel
def judge(
    gradient, plateau, misfit, loss, bb, length, decrement, curvature, strength, saturated,
    largest_dz, strides, tol, share, fitted_share,
):  # fmt: skip
    """A minimum, to first and second order? ``UNDECIDED``, or what the point is; and the strides in a row.

    ``loss`` is the objective above its least value; ``length`` to ``saturated`` are what the next step's
    model says; ``largest_dz`` is of the last step; ``share`` of the loss and ``fitted_share`` of ½‖b‖² are
    what the Newton decrement may still promise.
    """
    # Newton's method arrives in ever shorter steps; a fit that still strides when there is nothing left to
    # gain follows f to its limit at infinity
    striding = largest_dz > STRIDE and not length <= 0.1 * STRIDE
    strides = strides + 1 if striding and misfit <= _VANISHED else 0
    if strides >= _STRIDES:
        return UNBOUNDED, strides
    if not gradient <= tol:
        return UNDECIDED, strides
    if decrement > share * loss + fitted_share * 0.5 * bb or curvature < -_NEGATIVE:
        return UNDECIDED, strides
    if striding and misfit <= tol:
        return UNBOUNDED, strides
    return verdict(plateau, misfit, True, strength, saturated, tol), strides


@kernel
def at_rest(gradient, plateau, misfit, sum_f, known, curvature, strength, saturated, tol):
    """No step lowers the objective any more: a solution at the limit of rounding, or a plateau.

    ``sum_f``: sum |u| / |alpha|, how much of u cancels in its sum; ``known``: the step's model is of this
    point.
    """
    if not gradient <= tol:
        return BARRIER if sum_f > _NEAR_BARRIER else STALLED
    if known and curvature < -_NEGATIVE:
        return STALLED
    return verdict(plateau, misfit, known, strength, saturated, tol)


@kernel
def reach(radius, cap, length, largest, eta, agreement):
    """Radius and cap after a step of ``eta`` times one of ``length`` and largest change of z ``largest``.

    ``agreement`` is actual over predicted decrease.
    """
    if eta >= 1.0:
        radius = min(max(radius, 2.0 * eta * length), MAX_RADIUS)
    elif eta * largest < 0.9 * cap:
        radius = max(2.0 * eta * length, 1e-3 * radius)
    if eta * largest >= 0.9 * cap and agreement > 0.5:
        cap = min(2.0 * eta * largest, _MAX_CAP)
    elif agreement < 0.25:
        cap = CAP
    return radius, cap
