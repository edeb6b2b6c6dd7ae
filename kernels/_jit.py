"""Every compilation flag of the package, in one place, with its reason.

Inside a loop over blocks no array is sliced or reshaped: a view counts references, atomically, and an
atomic operation waits for all stores before it: 30 to 90 ns a block. Helpers take arrays and offsets.
"""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numba
from numba.core import caching

from . import _linked
from .simd import VECTOR_BYTES

#: Contraction lets LLVM fuse a*b + c. Nothing may reorder or drop NaN and inf: the shift logic and the
#: finiteness checks depend on them.
_FUSE = {"contract"}
#: Sums over one block may be reordered so that they vectorise. Only for loops whose terms are already
#: known to be finite, or where any non-finite term makes the answer non-finite in every order.
_REORDER = {"contract", "reassoc", "nsz"}


def _package_stamp() -> str:
    """Hash of all kernel sources: an edited primitive invalidates every kernel that inlines it.

    So does another vector width, which Numba's own key does not know and the tiles depend on.
    """
    digest = hashlib.sha256(f"{numba.__version__} {VECTOR_BYTES}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


class _IndexedCache(caching.IndexDataCacheFile):
    """Numba's cache files, with data files named by their key.

    Numba numbers them, so two processes that compile two signatures of one function at the same moment
    can claim the same number and leave an index that points to the other's machine code.
    """

    def load(self, key):
        try:
            return super().load(key)
        except Exception:  # a truncated or foreign file is not worth more than compiling again
            return None

    def save(self, key, data):
        try:
            self._save(key, data)
        except OSError as error:  # a full or read-only disk is no reason to fail what was compiled
            _warn_no_cache(f"compiled kernels cannot be written to the cache ({error.strerror or error})")

    def _save(self, key, data):
        overloads = self._load_index()
        name = self._data_name(int(hashlib.sha256(repr(key).encode()).hexdigest()[:12], 16))
        self._save_data(name, data)  # before the index: a reader never finds an entry without its file
        overloads[key] = name
        self._save_index(overloads)


_stamp: str | None = None
_warned = False


def _warn_no_cache(why) -> None:
    """Once a process."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"fastsoftres: {why}; they are compiled anew in every process. Set NUMBA_CACHE_DIR to a "
            "writable folder.",
            RuntimeWarning,
            stacklevel=4,
        )


def _enable_cache(dispatcher) -> None:
    global _stamp
    try:
        dispatcher.enable_caching()
    except RuntimeError:  # no writable folder: numba raises where it could go on
        _warn_no_cache("no folder to cache compiled kernels in")
        return
    cache = dispatcher._cache
    if _stamp is None:
        _stamp = _package_stamp()
    cache._cache_file = _IndexedCache(cache._cache_path, cache._impl.filename_base, _stamp)


def _compiled(fastmath, counts=True, **options):
    def decorate(function):
        # nogil: the threads are ours (runners.py), the compiled code runs outside the interpreter lock.
        # error_model="numpy": a division check in a loop would keep it from vectorising.
        # _nrt is told: what is compiled for the first time inside another function takes over its options.
        dispatcher = numba.njit(
            nogil=True, error_model="numpy", fastmath=fastmath, _nrt=counts, no_cfunc_wrapper=True, **options
        )(function)
        if not numba.config.DISABLE_JIT:
            _enable_cache(dispatcher)
        return dispatcher

    return decorate


#: A pass: what is called from Python.
kernel = _compiled(_FUSE)
#: The same for what allocates nothing (see ``inline``): counting was a fifth of a small fit's time.
lean = _compiled(_FUSE, counts=False)
#: A part of a compiled program, called by its address (``apart``): never from Python.
called = _compiled(_FUSE, no_cpython_wrapper=True)
called_lean = _compiled(_FUSE, counts=False, no_cpython_wrapper=True)
#: A scalar formula or a step of a pass: inlined by LLVM into the kernels that call it. ``_nrt=False``: it
#: counts no references. What LLVM does not inline would count each array it is given, atomically, twice a
#: call: 200 cycles a block, and a wait for all earlier stores. So it may not allocate, return an array or
#: call what returns one: that is for ``owner``.
INLINE_OPTIONS = {
    "nogil": True, "error_model": "numpy", "fastmath": _FUSE, "_nrt": False, **_linked.OPTIONS,
}  # fmt: skip
inline = _linked.linked(**INLINE_OPTIONS)
OWNER_OPTIONS = {**INLINE_OPTIONS, "_nrt": True}
owner = _linked.linked(**OWNER_OPTIONS)
#: A loop of sums over one block, free to vectorise. A sum never shares a loop with a store: LLVM compiles
#: such a loop twice, with and without vectors, and takes the second where arrays lie close together, so the
#: order of summation, and with it the last bit, would depend on addresses. Row numbers are unsigned or begin
#: at 0: for Python's negative indices the checks would also fail where two arrays merely adjoin.
reduction = _linked.linked(nogil=True, error_model="numpy", fastmath=_REORDER, _nrt=False)
