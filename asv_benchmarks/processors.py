"""``python -m asv_benchmarks.processors``: the machine code of the kernels for other processors.

Value and gradient is compiled for x86 processors by name, and its vector instructions are counted. For ARM
the steps of a block (products with rows, weights, sums of rows, a Gram tile) are compiled: a whole kernel
allocates, and Numba's counting of references holds x86 operations. ``--write FOLDER`` keeps the assembly. The
primitives are generic LLVM vectors, so nothing but their width differs.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple


class Target(NamedTuple):
    """A processor, and what a multiply-add on whole vectors looks like in its assembly."""

    cpu: str  # NUMBA_CPU_NAME
    features: str
    width: int  # bytes of a vector
    pattern: str
    script: str


_KERNEL = """
from fastsoftres.kernels import gradient
gradient.gradient_rows.compile(SIGNATURE)
print(next(iter(gradient.gradient_rows.inspect_asm().values())))
"""
#: Argument types of ``gradient_rows`` for float64, for a processor that cannot run what is compiled.
_SIGNATURE = "(" + ", ".join(
    {
        "A": "f8[:,::1]", "1": "f8[::1]", "2": "f8[:,::1]", "3": "f8[:,:,::1]", "i": "i8[::1]",
        "n": "i8", "s": "f8", "b": "boolean",
    }[kind]
    for kind in "A11111inisb1111112" + "23"
) + ")"  # fmt: skip
_KERNEL = _KERNEL.replace("SIGNATURE", repr(_SIGNATURE))
_STEPS = """
import re
import llvmlite.binding as llvm
import numba
from fastsoftres.kernels import gradient, simd, storage

def products_and_sums(A, x, W, rows, zb, acc):
    storage.dots(A, x, 0, rows, rows, zb)
    storage.add_rows_3(A, 0, rows, W, rows, acc)

def weights(zb, rows, b, w, W, sums):
    gradient._slice_terms(zb, rows, b, w, 0, False, 1.0, False, 0.0, W, sums)

def tile(left, right, rows, H):
    simd.gram_tile(left, 0, right, 0, rows, H, 0, 64)

steps = {
    products_and_sums: "(f8[:,::1], f8[::1], f8[::1], i8, f8[::1], f8[:,::1])",
    weights: "(f8[::1], i8, f8[::1], f8[::1], f8[::1], f8[::1])",
    tile: "(f8[::1], f8[::1], i8, f8[::1])",
}
llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
triple = "aarch64-unknown-linux-gnu"
machine = llvm.Target.from_triple(triple).create_target_machine(cpu="neoverse-n1", opt=3)
for step, signature in steps.items():
    compiled = numba.njit(
        nogil=True, error_model="numpy", fastmath={"contract"},
        _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True,
    )(step)
    compiled.compile(signature)
    code = next(iter(compiled.inspect_llvm().values()))
    code = re.sub(r"^target (triple|datalayout) = .*$", "", code, flags=re.M)
    code = re.sub(r'"(target-cpu|target-features|tune-cpu)"="[^"]*"', "", code)
    module = llvm.parse_assembly(code)
    module.triple, module.data_layout = triple, str(machine.target_data)
    print(machine.emit_assembly(module))
"""
TARGETS = {
    "AVX2 (haswell)": Target("haswell", "+avx2,+fma", 32, r"vfmadd\w+pd\s.*%ymm", _KERNEL),
    "AVX-512 (skylake-avx512)": Target(
        "skylake-avx512", "+avx512f,+avx512vl,+avx512dq,+fma", 64, r"vfmadd\w+pd\s.*%zmm", _KERNEL
    ),
    "ARM NEON (neoverse-n1), steps of a block": Target(
        "generic", "", 16, r"\bfml[as]\s+v\d+\.2d", _STEPS
    ),
}  # fmt: skip


def assembly(name: str) -> str:
    """Assembly (float64) for one of ``TARGETS``."""
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        names = {"NUMBA_CPU_NAME": target.cpu, "NUMBA_CPU_FEATURES": target.features,
                 "NUMBA_CACHE_DIR": folder, "FASTSOFTRES_VECTOR_BYTES": str(target.width)}  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", target.script],
            env=os.environ | names, check=True, capture_output=True, text=True,
        )  # fmt: skip
    return done.stdout


def main(arguments: list[str] | None = None) -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(prog="python -m asv_benchmarks.processors", description=__doc__)
    parser.add_argument("--write", type=Path, help="keep the assembly in this folder")
    options = parser.parse_args(arguments)
    for name, target in TARGETS.items():
        code = assembly(name)
        found = re.findall(target.pattern, code)
        print(f"{name}: {len(code.splitlines()):,} lines, {len(found)} multiply-adds on whole vectors")
        if options.write:
            options.write.mkdir(parents=True, exist_ok=True)
            (options.write / f"{name.split()[0]}.s").write_text(code)


if __name__ == "__main__":
    main()
