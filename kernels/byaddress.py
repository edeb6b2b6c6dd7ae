"""A named tuple that compiled code hands on by its address.

Numba hands a tuple of arrays on by its pieces: each call of the small fit's parts copied two hundred numbers,
and half of the time to compile them went into that. ``placed`` writes a tuple into the caller's frame once;
its fields are read where they are used, and, since they never change, LLVM reads them ahead of loops.
"""

from __future__ import annotations

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.extending import register_model
from numba.core.imputils import impl_ret_borrowed, lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import intrinsic


class ByAddress(types.Type):
    """The type of a placed tuple of the Numba type ``kind``."""

    def __init__(self, kind):
        self.kind = kind
        super().__init__(name=f"ByAddress({kind.name})")


@register_model(ByAddress)
class _Model(models.OpaqueModel):
    pass


@infer_getattr
class _Fields(AttributeTemplate):
    key = ByAddress

    def generic_resolve(self, placed, name):
        fields = placed.kind.fields
        return placed.kind.types[fields.index(name)] if name in fields else None


@lower_getattr_generic(ByAddress)
def _field(context, builder, placed, value, name):
    index = placed.kind.fields.index(name)
    struct, i32 = context.get_value_type(placed.kind), ir.IntType(32)
    at = builder.gep(value, [i32(0), i32(index)], inbounds=True, source_etype=struct)
    field = builder.load(at, typ=struct.elements[index])
    field.set_metadata("invariant.load", builder.module.add_metadata([]))
    return impl_ret_borrowed(context, builder, placed.kind.types[index], field)


if numba.config.DISABLE_JIT:

    def placed(values):
        """The tuple itself."""
        return values

else:

    @intrinsic
    def placed(typingctx, values):
        """The address of a copy that lives as long as the calling kernel; what the tuple refers to must live
        as long by itself."""

        def codegen(context, builder, signature, arguments):
            place = cgutils.alloca_once_value(builder, arguments[0])
            return builder.bitcast(place, cgutils.voidptr_t)

        return ByAddress(values)(values), codegen
