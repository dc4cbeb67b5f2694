"""Short vectors of float32 inside compiled functions: one pixel's labels in one register.

Plain loops over a handful of labels are not vectorised by LLVM, so its vector type is used as it
is. `lanes` is a tuple whose length is the number of elements: code is compiled for each length
(LLVM splits what is wider than the machine's registers, and needs no AVX-512).
Nothing here checks bounds.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

FUSED = ("contract", "nsz", "arcp", "reassoc")
INT32 = ir.IntType(32)


class Vector(types.Type):
    """numba's type of `count` floats in a register."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(name=f"Float32x{count}")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """LLVM's type of it."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.VectorType(ir.FloatType(), kind.count))


def _address(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Of element `arguments[2]` of the array `arguments[1]`, for as many floats as lanes."""
    array = context.make_array(signature.args[1])(context, builder, arguments[1])
    index = context.cast(builder, arguments[2], signature.args[2], types.intp)
    kind = ir.VectorType(ir.FloatType(), signature.args[0].count)
    return builder.bitcast(builder.gep(array.data, [index]), ir.PointerType(kind)), kind


def _everywhere(builder: Any, scalar: Any, count: int) -> Any:
    """One float in each lane."""
    unset = ir.Constant(ir.VectorType(ir.FloatType(), count), ir.Undefined)
    first = builder.insert_element(unset, scalar, ir.Constant(INT32, 0))
    return builder.shuffle_vector(
        first, unset, ir.Constant(ir.VectorType(INT32, count), [0] * count)
    )


def _float(context: Any, builder: Any, signature: Any, arguments: Any, place: int) -> Any:
    return context.cast(builder, arguments[place], signature.args[place], types.float32)


@intrinsic
def at(typing: Any, array: Any, index: Any) -> tuple[Any, Callable[..., Any]]:
    """array[index] of a flat array for an index of at least 0.

    numba would ask each time whether the index is negative, which costs as much as the rest.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        held = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = context.cast(builder, arguments[1], signature.args[1], types.intp)
        return context.unpack_value(
            builder, signature.args[0].dtype, builder.gep(held.data, [place])
        )

    return array.dtype(array, index), generate


@intrinsic
def put(typing: Any, array: Any, index: Any, value: Any) -> tuple[Any, Callable[..., Any]]:
    """array[index] = value of a flat array for an index of at least 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        held = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = context.cast(builder, arguments[1], signature.args[1], types.intp)
        kind = signature.args[0].dtype
        fitting = context.cast(builder, arguments[2], signature.args[2], kind)
        context.pack_value(builder, kind, fitting, builder.gep(held.data, [place]))
        return context.get_dummy_value()

    return types.void(array, index, value), generate


@intrinsic
def whole_at(typing: Any, array: Any, index: Any) -> tuple[Any, Callable[..., Any]]:
    """The int32 whose bits are array[index] of a flat float32 array, for an index of at least 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        held = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = context.cast(builder, arguments[1], signature.args[1], types.intp)
        return builder.bitcast(
            builder.load(builder.gep(held.data, [place]), typ=ir.FloatType()), INT32
        )

    return types.int32(array, index), generate


@intrinsic
def load(typing: Any, lanes: Any, array: Any, start: Any) -> tuple[Any, Callable[..., Any]]:
    """array[start : start + lanes] of a contiguous float32 array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, kind = _address(context, builder, signature, arguments)
        return builder.load(address, align=4, typ=kind)

    return Vector(lanes.count)(lanes, array, start), generate


@intrinsic
def store(
    typing: Any, lanes: Any, array: Any, start: Any, vector: Any
) -> tuple[Any, Callable[..., Any]]:
    """array[start : start + lanes] = vector."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, _ = _address(context, builder, signature, arguments)
        builder.store(arguments[3], address, align=4)
        return context.get_dummy_value()

    return types.void(lanes, array, start, vector), generate


@intrinsic
def zeros(typing: Any, lanes: Any) -> tuple[Any, Callable[..., Any]]:
    """A vector of zeros."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(ir.VectorType(ir.FloatType(), signature.args[0].count), None)

    return Vector(lanes.count)(lanes), generate


@intrinsic
def scaled(typing: Any, factor: Any, vector: Any) -> tuple[Any, Callable[..., Any]]:
    """factor * vector, with a scalar factor."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        factors = _everywhere(
            builder, _float(context, builder, signature, arguments, 0), signature.args[1].count
        )
        return builder.fmul(factors, arguments[1], flags=FUSED)

    return vector(factor, vector), generate


@intrinsic
def plus(typing: Any, total: Any, factor: Any, vector: Any) -> tuple[Any, Callable[..., Any]]:
    """total + factor * vector, with a scalar factor: one fused instruction."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        factors = _everywhere(
            builder, _float(context, builder, signature, arguments, 1), signature.args[2].count
        )
        product = builder.fmul(factors, arguments[2], flags=FUSED)
        return builder.fadd(arguments[0], product, flags=FUSED)

    return total(total, factor, vector), generate


@intrinsic
def added(typing: Any, one: Any, other: Any) -> tuple[Any, Callable[..., Any]]:
    """one + other."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fadd(arguments[0], arguments[1], flags=FUSED)

    return one(one, other), generate


@intrinsic
def multiplied(typing: Any, one: Any, other: Any) -> tuple[Any, Callable[..., Any]]:
    """one * other, lane by lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fmul(arguments[0], arguments[1], flags=FUSED)

    return one(one, other), generate


@intrinsic
def subtracted(typing: Any, one: Any, other: Any) -> tuple[Any, Callable[..., Any]]:
    """one - other, lane by lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fsub(arguments[0], arguments[1], flags=FUSED)

    return one(one, other), generate


@intrinsic
def divided(typing: Any, one: Any, other: Any) -> tuple[Any, Callable[..., Any]]:
    """one / other, lane by lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fdiv(arguments[0], arguments[1], flags=FUSED)

    return one(one, other), generate


def _reduction(combine: Callable[[Any, Any, Any], Any]) -> Callable[..., Any]:
    """An operation over the lanes, halving them in each step."""

    def reduction(typing: Any, vector: Any) -> tuple[Any, Callable[..., Any]]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            parts, count = arguments[0], signature.args[0].count
            while count > 1:
                keep = ir.VectorType(INT32, count // 2)
                low, high = (
                    builder.shuffle_vector(
                        parts, parts, ir.Constant(keep, list(range(s, s + count // 2)))
                    )
                    for s in (0, count // 2)
                )
                odd = builder.extract_element(parts, ir.Constant(INT32, count - 1))
                joined = combine(builder, low, high)
                if count % 2:
                    last = builder.extract_element(joined, ir.Constant(INT32, 0))
                    joined = builder.insert_element(
                        joined, combine(builder, last, odd), ir.Constant(INT32, 0)
                    )
                parts, count = joined, count // 2
            return builder.extract_element(parts, ir.Constant(INT32, 0))

        return types.float32(vector), generate

    return reduction


def _exchange(combine: Callable[[Any, Any, Any], Any]) -> Callable[..., Any]:
    """An operation over each row of lanes, as many as `row` has; its result in all lanes of it."""

    def exchange(typing: Any, row: Any, vector: Any) -> tuple[Any, Callable[..., Any]]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            parts, count, step = arguments[1], signature.args[1].count, signature.args[0].count // 2
            while step:
                turned = [lane ^ step for lane in range(count)]
                mask = ir.Constant(ir.VectorType(INT32, count), turned)
                parts = combine(builder, parts, builder.shuffle_vector(parts, parts, mask))
                step //= 2
            return parts

        return vector(row, vector), generate

    return exchange


def _greater(builder: Any, one: Any, other: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", one, other, flags=("nnan",)), one, other)


def _sum(builder: Any, one: Any, other: Any) -> Any:
    return builder.fadd(one, other, flags=FUSED)


largest = intrinsic(_reduction(_greater))
"""The largest element of a vector."""
total = intrinsic(_reduction(_sum))
"""The sum of a vector's elements."""
largest_of_rows = intrinsic(_exchange(_greater))
"""The largest element of each row of lanes, a power of two of them, in each lane of the row."""
sum_of_rows = intrinsic(_exchange(_sum))
"""The sum of each row of lanes, in each lane of the row."""


@intrinsic
def prefetch(typing: Any, array: Any, start: Any) -> tuple[Any, Callable[..., Any]]:
    """Ask for the cache line of an element that will be needed soon."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        held = context.make_array(signature.args[0])(context, builder, arguments[0])
        index = context.cast(builder, arguments[1], signature.args[1], types.intp)
        address = builder.bitcast(builder.gep(held.data, [index]), cgutils.voidptr_t)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, INT32, INT32, INT32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [address, *(ir.Constant(INT32, n) for n in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, start), generate
