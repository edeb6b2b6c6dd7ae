"""``python -m asv_benchmarks.processors``: the machine code of value and gradient for other processors.

The kernel is compiled for each of them by name and its vector instructions are counted; ``--write FOLDER``
keeps the assembly. The primitives are generic LLVM vectors, so nothing but their width differs.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

#: Name, NUMBA_CPU_NAME, its features, bytes of a vector, and multiply-adds on whole vectors in its assembly.
TARGETS = {
    "AVX2 (haswell)": ("haswell", "+avx2,+fma", 32, r"vfmadd\w+pd\s.*%ymm"),
    "AVX-512 (skylake-avx512)": (
        "skylake-avx512",
        "+avx512f,+avx512vl,+avx512dq,+fma",
        64,
        r"vfmadd\w+pd\s.*%zmm",
    ),
}
_COMPILE = """
import sys
from fastsoftres.kernels import gradient
gradient.gradient_rows.compile(SIGNATURE)
print(next(iter(getattr(gradient.gradient_rows, "inspect_" + sys.argv[1])().values())))
"""
#: Argument types of ``gradient_rows`` for float64, for a processor that cannot run what is compiled.
_SIGNATURE = "(" + ", ".join(
    {
        "A": "f8[:,::1]", "1": "f8[::1]", "2": "f8[:,::1]", "3": "f8[:,:,::1]", "i": "i8[::1]",
        "n": "i8", "s": "f8", "b": "boolean",
    }[kind]
    for kind in "A11111inisb1111112" + "23"
) + ")"  # fmt: skip


def assembly(name: str) -> str:
    """Assembly of ``gradient_rows`` (float64) for one of ``TARGETS``."""
    processor, features, width, _ = TARGETS[name]
    return _compiled(processor, features, width, "asm")


def _compiled(processor: str, features: str, width: int, kind: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        names = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": folder,
                 "FASTSOFTRES_VECTOR_BYTES": str(width)}  # fmt: skip
        script = _COMPILE.replace("SIGNATURE", repr(_SIGNATURE))
        done = subprocess.run(
            [sys.executable, "-c", script, kind],
            env=os.environ | names, check=True, capture_output=True, text=True,
        )  # fmt: skip
    return done.stdout


def main(arguments: list[str] | None = None) -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(prog="python -m asv_benchmarks.processors", description=__doc__)
    parser.add_argument("--write", type=Path, help="keep the assembly in this folder")
    options = parser.parse_args(arguments)
    for name, (*_, pattern) in TARGETS.items():
        code = assembly(name)
        found = re.findall(pattern, code)
        print(f"{name}: {len(code.splitlines()):,} lines, {len(found)} multiply-adds on whole vectors")
        if options.write:
            options.write.mkdir(parents=True, exist_ok=True)
            (options.write / f"{name.split()[0]}.s").write_text(code)


if __name__ == "__main__":
    main()
