"""How compiled code shares out tasks: whoever is free takes the next."""

from __future__ import annotations

from typing import Any

from numba import types

from .intrinsics import intrinsic


@intrinsic
def take(typingctx: Any, counter: Any) -> Any:
    """Add one to ``counter[0]`` and return what it was, also where several threads do so at one time."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", data, context.get_constant(types.int64, 1), "monotonic")

    return types.int64(counter), generate
