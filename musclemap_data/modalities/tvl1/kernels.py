"""The numerical core of TV-L1 optical flow, compiled by numba, behind ``tvl1/__init__.py``.

Notation and method are those of Zach, Pock and Bischof, "A Duality Based Approach for Realtime
TV-L1 Optical Flow" (DAGM 2007), as written out by Sanchez, Meinhardt-Llopis and Facciolo, "TV-L1
Optical Flow Estimation" (IPOL 2013). The flow u = (u1, u2) minimises

    E(u) = sum |grad u1| + |grad u2| + lambda |rho(u)|
    rho(u) = I1(x + u0) + <grad I1(x + u0), u - u0> - I0(x)          linearised around u0

by splitting u from an auxiliary flow v, tied to it by |u - v|^2 / (2 theta), and turning over

    v   = u - clip(rho(u) / |grad I1|^2, -lambda theta, lambda theta) grad I1    (thresholding)
    u_d = v_d + theta div p_d                                                    d = 1, 2
    p_d = (p_d + tau/theta grad u_d) / (1 + tau/theta |grad u_d|)                (Chambolle)

with p_d = (p_d1, p_d2) the dual variable of u_d. I0 and I1 are read on a pyramid, coarse to fine;
on each level I1 is warped (u0 = u) a few times, and each warp is followed by a median filter and a
run of iterations.

Memory. A level lives in ``planes``: one row of that array per field (u1, u2, p11, ...). In a plane,
pixel (x, y) has the index (y + 1) * stride + x: the image has a margin of one row above and below,
and its rows are padded to whole vectors. A neighbour is therefore a constant shift of
the index. The padding takes part in the iterations and stays zero by itself: its data term is zero,
and ``edge`` keeps the last column from looking at it.

Units. U1 and U2 hold tau/theta times the flow in pixels, and RHO_C tau/theta times rho_c. Then

    p_d = (p_d + grad u_d) / (1 + |grad u_d|)        u_d = v_d + tau div p_d

need additions where they had products; the iterations are bound by the number of their products.

Loops that are to become vector code index slices with the bare loop variable: numba lets
``a[x + 1]`` count from the end if negative, and LLVM then gathers single floats (3 times slower).

All kernels are in one file because numba's disk cache notices changes of a kernel's own file only.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

# Everything ``fastmath`` allows: no value here is ever infinite or NaN (tested at the extremes).
kernel = njit(cache=True, nogil=True, fastmath=True, error_model="numpy", boundscheck=False)
inlined = njit(forceinline=True, nogil=True, fastmath=True, error_model="numpy", boundscheck=False)

Float = Any  # a float32 in compiled code
Plane = np.ndarray  # float32 [plane_size]
Planes = np.ndarray  # float32 [PLANES, plane_size]

# The planes of a level: flow, its dual variables, the data term of the present warp, scratch.
U1, U2, P11, P12, P21, P22, I1X, I1Y, RHO_C, INVERSE_GRADIENT, SCRATCH = range(11)
PLANES = 11

TAP_MARGIN = 4  # pixels around I1 that the bicubic filter may touch
TAP_CHANNELS = 4  # I1, its x and y derivative, and one unused that makes a tap 16 bytes

ROWS = 30

# An iteration is written for vectors of this many floats: those of AVX-512, or else of AVX2, which
# LLVM splits where a processor has narrower ones.
HAS_AVX512 = "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2].split(",")
LANES = 16 if HAS_AVX512 else 8

# Iterations that follow each other row by row, so that their rows stay in the processor's cache.
ITERATIONS_AT_ONCE = 9

float32 = np.float32
FLAT = float32(np.finfo(np.float32).eps)  # squared gradient that counts as none, as in OpenCV


class Parameters(NamedTuple):
    """``tvl1.Schedule`` as the kernels take it."""

    tau: float
    lambda_: float
    theta: float
    scale: float
    warps: int
    coarse_warps: int
    outer_iterations: int
    inner_iterations: int
    stop_px: float
    median_px: int
    black_outside: bool


class Memory(NamedTuple):
    """All the memory that a pair of frames needs; made once by ``tvl1.Workspace``."""

    sizes: np.ndarray  # int64 [levels, 2]: height and width, finest level first
    pyramid0: np.ndarray  # float32 [sum of height * width]: I0 of all levels, finest first
    pyramid1: np.ndarray  # the same of I1
    planes: np.ndarray  # float32 [PLANES * plane_size of the finest level]
    edge: (
        np.ndarray
    )  # float32 [LANES]: 1 where a pixel of a row's last vector has a right neighbour
    changes: np.ndarray  # float32 [LANES]: squared change of the flow in one iteration
    taps: np.ndarray  # float32 [taps of the finest level]
    flow: np.ndarray  # float32 [2 * height * width]: the flow of the level before
    starts: np.ndarray  # int32 [width]: where each pixel of a row begins to read
    rows: np.ndarray  # float32 [ROWS, stride + 16]: single rows, scratch of every step


@kernel
def row_stride(width: int) -> int:
    """Floats from one row of a plane to the next: whole vectors."""
    return (width + LANES - 1) // LANES * LANES


@kernel
def stalls(size: int, stride: int) -> int:
    """How often a step of an iteration waits for a store that it does not need, by its addresses.

    A processor takes a load for one that reads what was just stored where the last 12 bits of the
    two addresses agree ("4K aliasing"). What a step stores must therefore not agree with what it or
    the next two steps load from another place: counted in vectors modulo 4096 bytes.
    """
    page = 1024 // LANES
    size, stride = size // LANES, stride // LANES
    count = 0
    for stored in range(6):  # U1 and U2 of a row, the four P of the row above: see ``make_step``
        above = stored >= P11
        store = stored * size - (stride if above else 0)
        for loaded in range(10):
            if (store - loaded * size) % page <= 2 and (above or loaded != stored):
                count += 1
            row_above = loaded * size - stride
            if loaded < 6 and (store - row_above) % page <= 2 and not (above and loaded == stored):
                count += 1
    return count


@kernel
def plane_size(height: int, width: int) -> int:
    """Floats in a plane: whole cache lines, and up to a page more where that saves ``stalls``."""
    stride = row_stride(width)
    least = ((height + 2) * stride + 31) // 16 * 16
    best, fewest = least, stalls(least, stride)
    for size in range(least, least + 1024, 16):
        found = stalls(size, stride) if fewest > 0 else fewest
        if found < fewest:
            best, fewest = size, found
    return best


@kernel
def taps_size(height: int, width: int) -> int:
    """Floats in the table of taps that ``fill_taps`` writes."""
    return (height + 2 * TAP_MARGIN) * (width + 2 * TAP_MARGIN) * TAP_CHANNELS


@kernel
def scale_into(source: np.ndarray, gain: Float, target: np.ndarray) -> None:
    """target[:] = gain * source, without numba's check of shapes that takes a second to compile."""
    gain = float32(gain)
    for i in range(target.size):
        target[i] = gain * source[i]


# --- pyramid -------------------------------------------------------------------------------------


@kernel
def resize(
    source: np.ndarray,
    target: np.ndarray,
    step_x: Float,
    step_y: Float,
    gain: Float,
    starts: np.ndarray,
    rows: np.ndarray,
) -> None:
    """Bilinear resize of [H, W] images as OpenCV's INTER_LINEAR; ``step`` source pixels a pixel."""
    source_height, source_width = source.shape
    height, width = target.shape
    gain = float32(gain)
    row, row_right, shares = rows[0], rows[0, 1:], rows[1]
    for x in range(width):
        source_x = min(max((x + 0.5) * step_x - 0.5, 0.0), source_width - 1.0)
        starts[x] = np.int32(source_x)
        shares[x] = float32(source_x - starts[x])
    for y in range(height):
        source_y = min(max((y + 0.5) * step_y - 0.5, 0.0), source_height - 1.0)
        top = int(source_y)
        above = source[top]
        below = source[min(top + 1, source_height - 1)]
        share = float32(source_y - top)
        for x in range(source_width):
            row[x] = gain * (above[x] + share * (below[x] - above[x]))
        row[source_width] = row[source_width - 1]
        out = target[y]
        for x in range(width):
            left = row[starts[x]]
            out[x] = left + shares[x] * (row_right[starts[x]] - left)


@kernel
def build_pyramid(
    frame: np.ndarray,
    sizes: np.ndarray,
    scale: Float,
    pyramid: np.ndarray,
    starts: np.ndarray,
    rows: np.ndarray,
) -> None:
    """Write all levels of a uint8 [H, W] frame into ``pyramid``, one after the other."""
    height, width = frame.shape
    level = pyramid[: height * width].reshape(height, width)
    for y in range(height):
        for x in range(width):
            level[y, x] = frame[y, x]
    start = height * width
    for s in range(1, len(sizes)):
        height, width = sizes[s]
        coarser = pyramid[start : start + height * width].reshape(height, width)
        resize(level, coarser, 1.0 / scale, 1.0 / scale, 1.0, starts, rows)
        level = coarser
        start += height * width


# --- data term: warp and linearise ---------------------------------------------------------------


@kernel
def fill_taps(image1: np.ndarray, black_outside: bool, taps: np.ndarray) -> None:
    """Interleave I1 with its central differences and surround them by what lies outside.

    The four channels of a pixel sit side by side, so the 4 x 4 neighbourhood of the bicubic filter
    is four runs of 16 floats. Outside is black or, without ``black_outside``, the nearest pixel.
    """
    height, width = image1.shape
    pitch = (width + 2 * TAP_MARGIN) * TAP_CHANNELS
    half = float32(0.5)
    for y in range(-TAP_MARGIN, height + TAP_MARGIN):
        out = taps[(y + TAP_MARGIN) * pitch : (y + TAP_MARGIN + 1) * pitch]
        if black_outside and (y < 0 or y >= height):
            out[:] = float32(0)
            continue
        row_y = min(max(y, 0), height - 1)
        row = image1[row_y]
        above = image1[max(row_y - 1, 0)]
        below = image1[min(row_y + 1, height - 1)]
        image = out[TAP_MARGIN * TAP_CHANNELS :]
        inner = image[TAP_CHANNELS:]
        row1, row2, above1, below1 = row[1:], row[2:], above[1:], below[1:]
        for x in range(width - 2):  # of pixel x + 1, which has both neighbours: vector code
            inner[4 * x] = row1[x]
            inner[4 * x + 1] = half * (row2[x] - row[x])
            inner[4 * x + 2] = half * (below1[x] - above1[x])
            inner[4 * x + 3] = float32(0)
        for x in (0, width - 1):
            image[4 * x] = row[x]
            image[4 * x + 1] = half * (row[min(x + 1, width - 1)] - row[max(x - 1, 0)])
            image[4 * x + 2] = half * (below[x] - above[x])
            image[4 * x + 3] = float32(0)
        last = (width - 1 + TAP_MARGIN) * TAP_CHANNELS
        for channel in range(TAP_CHANNELS):
            left = float32(0) if black_outside else out[TAP_MARGIN * TAP_CHANNELS + channel]
            right = float32(0) if black_outside else out[last + channel]
            for x in range(TAP_MARGIN):
                out[x * TAP_CHANNELS + channel] = left
                out[last + (x + 1) * TAP_CHANNELS + channel] = right


@kernel
def cubic_weights(t: Float) -> tuple[Float, Float, Float, Float]:
    """Weights of the four taps around t in [0, 1): Keys' cubic kernel, a = -0.75 as in OpenCV."""
    a = float32(-0.75)
    one = float32(1)
    s = one - t
    return (
        a * t * s * s,
        ((a + float32(2)) * t - (a + float32(3))) * t * t + one,
        ((a + float32(2)) * s - (a + float32(3))) * s * s + one,
        a * s * t * t,
    )


@intrinsic
def weigh_taps(
    typing_context: Any, taps: Any, start: Any, pitch: Any, vertical: Any, horizontal: Any
) -> Any:
    """Weigh the 4 x 4 taps from index ``start`` on by two cubic filters: (I1, I1x, I1y).

    In Python it would read

        rows = [taps[start + k * pitch :][:16] for k in range(4)]
        column = sum(vertical[k] * rows[k] for k in range(4))
        return sum(horizontal[k] * column[4 * k : 4 * k + 3] for k in range(4))

    It is written in LLVM's terms because numba leaves loops of so few steps scalar: with four rows
    of 16 floats as vectors the whole warp is three times as fast. LLVM splits the vectors where a
    processor has narrower ones. The caller answers for the bounds.
    """
    index = types.intp
    signature = types.UniTuple(types.float32, 3)(taps, index, index, vertical, horizontal)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        taps, start, pitch, vertical, horizontal = arguments
        data = context.make_array(signature.args[0])(context, builder, taps).data
        run = ir.VectorType(ir.FloatType(), 16)
        lane = ir.IntType(32)

        def weigh(vector: Any, weights: Any, k: int, total: Any) -> Any:
            """total + weights[k] * vector"""
            empty = ir.Constant(vector.type, ir.Undefined)
            weight = builder.insert_element(empty, builder.extract_value(weights, k), lane(0))
            everywhere = ir.Constant(ir.VectorType(lane, vector.type.count), None)
            weight = builder.shuffle_vector(weight, empty, everywhere)
            product = builder.fmul(vector, weight, flags=("fast",))
            return product if total is None else builder.fadd(total, product, flags=("fast",))

        column = None
        for k in range(4):
            address = builder.bitcast(builder.gep(data, [start]), run.as_pointer())
            column = weigh(builder.load(address, align=4), vertical, k, column)
            start = builder.add(start, pitch)
        value = None
        for k in range(4):
            quarter = ir.Constant(ir.VectorType(lane, 4), [lane(4 * k + c) for c in range(4)])
            value = weigh(builder.shuffle_vector(column, column, quarter), horizontal, k, value)
        channels = [builder.extract_element(value, lane(c)) for c in range(3)]
        return context.make_tuple(builder, signature.return_type, channels)

    return signature, generate


@kernel
def locate(
    y: int,
    u1: Plane,
    u2: Plane,
    unit: Float,
    height: int,
    reach: Float,
    starts: np.ndarray,
    weights: np.ndarray,
    seen: np.ndarray,
) -> None:
    """Where the pixels of row y land in I1: first tap, weights, and 1 if in sight or else 0.

    ``u1`` and ``u2`` are in ``unit`` a pixel. ``reach`` is how far beyond the border I1 is still in
    sight, in pixels.
    """
    width = u1.size
    pitch = (width + 2 * TAP_MARGIN) * TAP_CHANNELS
    a0, a1, a2, a3 = weights[0], weights[1], weights[2], weights[3]
    b0, b1, b2, b3 = weights[4], weights[5], weights[6], weights[7]
    reach = float32(reach)
    to_pixels = float32(1) / unit
    right_edge = float32(width - 1) + reach
    bottom_edge = float32(height - 1) + reach
    for x in range(width):
        x1 = float32(x) + to_pixels * u1[x]
        y1 = float32(y) + to_pixels * u2[x]
        x1_near = min(max(x1, -reach), right_edge)
        y1_near = min(max(y1, -reach), bottom_edge)
        seen[x] = float32(1) if x1 == x1_near and y1 == y1_near else float32(0)
        left = np.floor(x1_near)
        top = np.floor(y1_near)
        a0[x], a1[x], a2[x], a3[x] = cubic_weights(x1_near - left)
        b0[x], b1[x], b2[x], b3[x] = cubic_weights(y1_near - top)
        tap_x = np.int32(left) + np.int32(TAP_MARGIN - 1)
        tap_y = np.int32(top) + np.int32(TAP_MARGIN - 1)
        starts[x] = tap_y * np.int32(pitch) + tap_x * np.int32(TAP_CHANNELS)


@kernel
def interpolate(
    taps: np.ndarray, pitch: int, starts: np.ndarray, weights: np.ndarray, values: np.ndarray
) -> None:
    """I1 and its two derivatives at the places found by ``locate``, into ``values`` [3, W]."""
    a0, a1, a2, a3 = weights[0], weights[1], weights[2], weights[3]
    b0, b1, b2, b3 = weights[4], weights[5], weights[6], weights[7]
    i1, i1x, i1y = values[0], values[1], values[2]
    for x in range(starts.size):
        i1[x], i1x[x], i1y[x] = weigh_taps(  # type: ignore[call-arg]
            taps, starts[x], pitch, (b0[x], b1[x], b2[x], b3[x]), (a0[x], a1[x], a2[x], a3[x])
        )


@kernel
def set_data_term(
    image0: Plane, unit: Float, values: np.ndarray, seen: np.ndarray, planes: Planes, start: int
) -> None:
    """Write the data term's four planes for one row of pixels, from plane index ``start`` on."""
    stop = start + image0.size
    i1, i1x, i1y = values[0], values[1], values[2]
    u1 = planes[U1, start:stop]
    u2 = planes[U2, start:stop]
    out_i1x = planes[I1X, start:stop]
    out_i1y = planes[I1Y, start:stop]
    out_rho_c = planes[RHO_C, start:stop]
    out_inverse = planes[INVERSE_GRADIENT, start:stop]
    for x in range(image0.size):
        gradient = i1x[x] * i1x[x] + i1y[x] * i1y[x]
        use = seen[x] if gradient > FLAT else float32(0)
        out_i1x[x] = use * i1x[x]
        out_i1y[x] = use * i1y[x]
        out_rho_c[x] = use * (unit * (i1[x] - image0[x]) - i1x[x] * u1[x] - i1y[x] * u2[x])
        out_inverse[x] = use / max(gradient, FLAT)


@kernel
def linearise(
    image0: np.ndarray, black_outside: bool, unit: Float, planes: Planes, memory: Memory
) -> None:
    """Warp I1 and its gradient by the present flow u0 and write the data term of all pixels.

        I1X, I1Y          grad I1(x + u0)
        RHO_C             I1(x + u0) - <grad I1(x + u0), u0> - I0(x), times ``unit``
        INVERSE_GRADIENT  1 / |grad I1(x + u0)|^2, or 0 where there is no gradient

    so that rho(u) = RHO_C + <grad I1, u>.

    Where x + u0 leaves the image there is nothing to compare and the data term is zero, unless
    ``black_outside`` asks for OpenCV's rule: I1 is black beyond its border.
    """
    height, width = image0.shape
    stride = row_stride(width)
    pitch = (width + 2 * TAP_MARGIN) * TAP_CHANNELS
    reach = 1.99 if black_outside else 0.0  # two pixels away all 16 taps are black
    starts = memory.starts[:width]
    weights = memory.rows[0:8]
    values = memory.rows[8:11]
    seen = memory.rows[11]
    for y in range(height):
        start = (y + 1) * stride
        u1 = planes[U1, start : start + width]
        u2 = planes[U2, start : start + width]
        locate(y, u1, u2, unit, height, reach, starts, weights, seen)
        interpolate(memory.taps, pitch, starts, weights, values)
        set_data_term(image0[y], unit, values, seen, planes, start)


# --- iterations ----------------------------------------------------------------------------------


class Lanes:
    """A vector of ``LANES`` floats in the code that an intrinsic writes: operators in LLVM's terms.

    Numba leaves a loop scalar whose rows LLVM cannot prove apart, as here, where an iteration
    writes the very planes that it reads one row further on.
    """

    type = ir.VectorType(ir.FloatType(), LANES)

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    @classmethod
    def load(cls, builder: Any, data: Any, index: Any) -> "Lanes":
        """The floats from data[index] on."""
        address = builder.bitcast(builder.gep(data, [index]), cls.type.as_pointer())
        return cls(builder, builder.load(address, align=4))

    def store(self, data: Any, index: Any) -> None:
        """Write to data[index] and on."""
        address = self.builder.bitcast(self.builder.gep(data, [index]), self.type.as_pointer())
        self.builder.store(self.value, address, align=4)

    @classmethod
    def all(cls, builder: Any, value: Any) -> "Lanes":
        """A float of Python or of LLVM in every lane."""
        if isinstance(value, float):
            return cls(builder, ir.Constant(cls.type, [value] * LANES))
        lane = ir.IntType(32)
        empty = ir.Constant(cls.type, ir.Undefined)
        first = builder.insert_element(empty, value, lane(0))
        everywhere = ir.Constant(ir.VectorType(lane, LANES), None)
        return cls(builder, builder.shuffle_vector(first, empty, everywhere))

    def __add__(self, other: "Lanes") -> "Lanes":
        value = self.builder.fadd(self.value, other.value, flags=("fast",))
        return Lanes(self.builder, value)

    def __sub__(self, other: "Lanes") -> "Lanes":
        value = self.builder.fsub(self.value, other.value, flags=("fast",))
        return Lanes(self.builder, value)

    def __mul__(self, other: "Lanes") -> "Lanes":
        value = self.builder.fmul(self.value, other.value, flags=("fast",))
        return Lanes(self.builder, value)

    def _call(self, name: str, *arguments: Any) -> "Lanes":
        """The LLVM function of that name, with this as its first argument."""
        values = [self.value, *arguments]
        module = self.builder.module
        function = module.globals.get(name)
        if function is None:
            types_ = [value.type for value in values]
            function = ir.Function(module, ir.FunctionType(self.type, types_), name)
        return Lanes(self.builder, self.builder.call(function, values, fastmath=("fast",)))

    def clip(self, limit: "Lanes") -> "Lanes":
        """min(max(self, -limit), limit)"""
        least = self.builder.fneg(limit.value)
        most = self._call(f"llvm.minnum.v{LANES}f32", limit.value)
        return most._call(f"llvm.maxnum.v{LANES}f32", least)

    def shrink(self) -> "Lanes":
        """1 / (1 + sqrt(self)) of values over 0: with r = 1 / sqrt(self) it is r / (1 + r).

        AVX-512 has both reciprocals to 14 bits in one step. That is enough: the flow moves by
        0.00002 px in the mean. Elsewhere they are exact to rounding.
        """
        one = Lanes.all(self.builder, 1.0)
        if HAS_AVX512:
            rest = ir.Constant(self.type, ir.Undefined), ir.Constant(ir.IntType(16), -1)
            r = self._call("llvm.x86.avx512.rsqrt14.ps.512", *rest)
            return r * (r + one)._call("llvm.x86.avx512.rcp14.ps.512", *rest)
        root = self._call(f"llvm.sqrt.v{LANES}f32")
        value = self.builder.fdiv(one.value, (one + root).value, flags=("fast",))
        return Lanes(self.builder, value)


def make_step(flow: bool, dual: bool, edge: bool = False) -> Any:
    """Code for one step of ``LANES`` pixels: of the flow at ``at``, of p a row above.

    The dual variables of a row need the new flow of the row below, so they follow a row behind:
    each value is read once an iteration. In Python one step would read

        v   = u - clip(rho(u) / |grad I1|^2, -limit, limit) grad I1
        u_d = v_d + tau div p_d      div p_d = p_d1(x) - p_d1(x-1) + p_d2(y) - p_d2(y-1)
        p_d = (p_d + grad u_d) / (1 + |grad u_d|)                          forward differences

    Args:
        flow: update u at ``at``.
        dual: update p at ``at - stride``; without ``flow``, there is no row below.
        edge: a pixel has a right neighbour where ``edges`` is 1; else all of them have one.

    Returns:
        An intrinsic: (planes [PLANES * size], size, at, stride, (limit, tau), edges, changes) ->
        None. It adds the squared change of u to ``changes`` [LANES], unless that is None. The
        caller answers for the bounds.
    """

    def step(
        typing_context: Any,
        planes: Any,
        size: Any,
        at: Any,
        stride: Any,
        numbers: Any,
        edges: Any,
        changes: Any,
    ) -> Any:
        index = types.intp
        signature = types.void(planes, index, index, index, numbers, edges, changes)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _, size, at, stride, numbers, _, _ = arguments
            above = builder.sub(at, stride)
            zero, one = ir.Constant(at.type, 0), ir.Constant(at.type, 1)

            def data_of(argument: int) -> Any:
                array = context.make_array(signature.args[argument])
                return array(context, builder, arguments[argument]).data

            data = data_of(0)

            def place(field: int, index: Any) -> Any:
                return builder.add(builder.mul(size, ir.Constant(size.type, field)), index)

            def load(field: int, index: Any) -> Lanes:
                return Lanes.load(builder, data, place(field, index))

            p12_above, p22_above = load(P12, above), load(P22, above)
            if flow:
                limit = Lanes.all(builder, builder.extract_value(numbers, 0))
                tau = Lanes.all(builder, builder.extract_value(numbers, 1))
                left = builder.sub(at, one)
                u1, u2, i1x, i1y = (load(field, at) for field in (U1, U2, I1X, I1Y))
                rho = load(RHO_C, at) + i1x * u1 + i1y * u2
                threshold = (rho * load(INVERSE_GRADIENT, at)).clip(limit)
                div_p1 = load(P11, at) - load(P11, left) + load(P12, at) - p12_above
                div_p2 = load(P21, at) - load(P21, left) + load(P22, at) - p22_above
                step1 = tau * div_p1 - threshold * i1x
                step2 = tau * div_p2 - threshold * i1y
                u1, u2 = u1 + step1, u2 + step2
                u1.store(data, place(U1, at))
                u2.store(data, place(U2, at))
                if signature.args[6] is not types.none:
                    sums = Lanes.load(builder, data_of(6), zero)
                    (sums + step1 * step1 + step2 * step2).store(data_of(6), zero)
            if dual:
                right = builder.add(above, one)
                u1_above, u2_above = load(U1, above), load(U2, above)
                u1x, u2x = load(U1, right) - u1_above, load(U2, right) - u2_above
                if edge:
                    has_right = Lanes.load(builder, data_of(5), zero)
                    u1x, u2x = u1x * has_right, u2x * has_right
                tiny = Lanes.all(builder, 1e-20)
                square1, square2 = u1x * u1x + tiny, u2x * u2x + tiny
                if flow:
                    u1y, u2y = u1 - u1_above, u2 - u2_above
                    square1, square2 = square1 + u1y * u1y, square2 + u2y * u2y
                    p12_above, p22_above = p12_above + u1y, p22_above + u2y
                shrink1, shrink2 = square1.shrink(), square2.shrink()
                ((load(P11, above) + u1x) * shrink1).store(data, place(P11, above))
                ((load(P21, above) + u2x) * shrink2).store(data, place(P21, above))
                (p12_above * shrink1).store(data, place(P12, above))
                (p22_above * shrink2).store(data, place(P22, above))

        return signature, generate

    return intrinsic(step)


first_row_step = make_step(flow=True, dual=False)
step = make_step(flow=True, dual=True)
edge_step = make_step(flow=True, dual=True, edge=True)
below_step = make_step(flow=False, dual=True)
below_edge_step = make_step(flow=False, dual=True, edge=True)


@inlined
def iterate_row(
    flat: np.ndarray,
    size: int,
    y: int,
    height: int,
    stride: int,
    numbers: tuple[Float, Float],
    edge: np.ndarray,
    changes: np.ndarray | None,
) -> None:
    """One iteration of u in row y and of p in row y - 1; rows go from 0 to ``height``."""
    first = (y + 1) * stride
    last = first + stride - LANES
    if y == 0:
        for i in range(first, last + 1, LANES):
            first_row_step(flat, size, i, stride, numbers, edge, changes)
    elif y < height:
        for i in range(first, last, LANES):
            step(flat, size, i, stride, numbers, edge, changes)
        edge_step(flat, size, last, stride, numbers, edge, changes)
    else:
        for i in range(first, last, LANES):
            below_step(flat, size, i, stride, numbers, edge, changes)
        below_edge_step(flat, size, last, stride, numbers, edge, changes)


@kernel
def iterate(
    planes: Planes,
    memory: Memory,
    height: int,
    stride: int,
    tau: Float,
    lambda_: Float,
    iterations: int,
    stop: Float,
) -> Float:
    """Alternate steps of u and p; with ``stop`` > 0 end once u's squared change is at most that.

    ``stop`` is in the unit of U1 and U2, squared and summed over the pixels. Without it,
    ``ITERATIONS_AT_ONCE`` go down the image together: iteration k works on row y right after
    iteration k - 1 has done row y + 1.

    Returns the last change, or 1 where nobody asked for it.
    """
    size = planes.shape[1]
    flat = planes.reshape(planes.size)
    numbers = (float32(lambda_ * tau), float32(tau))  # lambda theta, in the unit of U1 and U2
    edge, changes = memory.edge, memory.changes
    if stop > 0:
        for _ in range(iterations):
            changes[:] = float32(0)
            for y in range(height + 1):
                iterate_row(flat, size, y, height, stride, numbers, edge, changes)
            change = float32(0)
            for x in range(LANES):
                change += changes[x]
            if change <= stop:
                break
        return change
    for done in range(0, iterations, ITERATIONS_AT_ONCE):
        block = min(ITERATIONS_AT_ONCE, iterations - done)
        for t in range(height + block):
            for k in range(max(0, t - height), min(block, t + 1)):
                iterate_row(flat, size, t - k, height, stride, numbers, edge, None)
    return float32(1)


# --- median --------------------------------------------------------------------------------------
# Selection by a fixed network of minima and maxima: no branch, so a row is filtered 16 pixels at a
# time. Columns are sorted first, and their sorted values shared by the neighbours they serve.


@kernel
def sort2(a: Float, b: Float) -> tuple[Float, Float]:
    """The two values in ascending order."""
    return min(a, b), max(a, b)


@kernel
def sort3(a: Float, b: Float, c: Float) -> tuple[Float, Float, Float]:
    """The three values in ascending order."""
    a, b = sort2(a, b)
    b, c = sort2(b, c)
    a, b = sort2(a, b)
    return a, b, c


@kernel
def sort5(
    a: Float, b: Float, c: Float, d: Float, e: Float
) -> tuple[Float, Float, Float, Float, Float]:
    """The five values in ascending order."""
    a, b = sort2(a, b)
    d, e = sort2(d, e)
    c, e = sort2(c, e)
    c, d = sort2(c, d)
    a, d = sort2(a, d)
    a, c = sort2(a, c)
    b, e = sort2(b, e)
    b, d = sort2(b, d)
    b, c = sort2(b, c)
    return a, b, c, d, e


@kernel
def sort5_rows(
    row0: Plane, row1: Plane, row2: Plane, row3: Plane, row4: Plane, sorted_: np.ndarray, first: int
) -> None:
    """Sort five rows against each other: the five values of each place in order into ``sorted_``.

    ``sorted_`` has five rows, of which index ``first`` takes the first place.
    """
    s0, s1, s2 = sorted_[0, first:], sorted_[1, first:], sorted_[2, first:]
    s3, s4 = sorted_[3, first:], sorted_[4, first:]
    for x in range(row0.size):
        s0[x], s1[x], s2[x], s3[x], s4[x] = sort5(row0[x], row1[x], row2[x], row3[x], row4[x])


@kernel
def median3_row(columns: np.ndarray, out: Plane) -> None:
    """3 x 3 median of one row from its sorted columns: rows 1 to 3 of ``columns``.

    It is the median of the largest low, the median middle and the smallest high.
    """
    w = out.size
    low, middle, high = columns[1], columns[2], columns[3]
    low0, low1, low2 = low[1 : w + 1], low[2 : w + 2], low[3 : w + 3]
    middle0, middle1, middle2 = middle[1 : w + 1], middle[2 : w + 2], middle[3 : w + 3]
    high0, high1, high2 = high[1 : w + 1], high[2 : w + 2], high[3 : w + 3]
    for x in range(w):
        largest_low = max(max(low0[x], low1[x]), low2[x])
        _, median_middle, _ = sort3(middle0[x], middle1[x], middle2[x])
        smallest_high = min(min(high0[x], high1[x]), high2[x])
        _, out[x], _ = sort3(largest_low, median_middle, smallest_high)


@kernel
def median5_row(columns: np.ndarray, windows: np.ndarray, out: Plane) -> None:
    """5 x 5 median of one row from its sorted columns; ``windows`` is [25, W] of scratch.

    The five rows of each window are sorted as well. That leaves 13 of its 25 values that can be
    the median (12 have 13 others on one side), of which the network selects the seventh.
    """
    w = out.size
    for k in range(5):
        row = columns[k]
        near0, near1, near2, near3 = row[:w], row[1 : w + 1], row[2 : w + 2], row[3 : w + 3]
        sort5_rows(near0, near1, near2, near3, row[4 : w + 4], windows[5 * k : 5 * k + 5], 0)
    r0, r1 = windows[3, :w], windows[4, :w]
    r2, r3, r4 = windows[7, :w], windows[8, :w], windows[9, :w]
    r5, r6, r7 = windows[11, :w], windows[12, :w], windows[13, :w]
    r8, r9, r10 = windows[15, :w], windows[16, :w], windows[17, :w]
    r11, r12 = windows[20, :w], windows[21, :w]
    for x in range(w):
        v0, v1, v2, v3, v4, v5, v6 = r0[x], r1[x], r2[x], r3[x], r4[x], r5[x], r6[x]
        v7, v8, v9, v10, v11, v12 = r7[x], r8[x], r9[x], r10[x], r11[x], r12[x]
        v0, v2 = sort2(v0, v2)
        v5, v8 = sort2(v5, v8)
        v0, v5 = sort2(v0, v5)
        v4, v12 = sort2(v4, v12)
        v7, v10 = sort2(v7, v10)
        v10, v12 = sort2(v10, v12)
        v2, v5 = sort2(v2, v5)
        v8, v3 = sort2(v8, v3)
        v6, v1 = sort2(v6, v1)
        v2, v8 = sort2(v2, v8)
        v2, v6 = sort2(v2, v6)
        v2, v9 = sort2(v2, v9)
        v5, v3 = sort2(v5, v3)
        v3, v1 = sort2(v3, v1)
        v5, v1 = sort2(v5, v1)
        v9, v1 = sort2(v9, v1)
        v3, v1 = sort2(v3, v1)
        v5, v8 = sort2(v5, v8)
        v3, v6 = sort2(v3, v6)
        v9, v4 = sort2(v9, v4)
        v5, v3 = sort2(v5, v3)
        v5, v9 = sort2(v5, v9)
        v8, v6 = sort2(v8, v6)
        v6, v4 = sort2(v6, v4)
        v8, v4 = sort2(v8, v4)
        v8, v3 = sort2(v8, v3)
        v6, v9 = sort2(v6, v9)
        v8, v6 = sort2(v8, v6)
        v8, v7 = sort2(v8, v7)
        v3, v9 = sort2(v3, v9)
        v9, v7 = sort2(v9, v7)
        v3, v7 = sort2(v3, v7)
        v3, v6 = sort2(v3, v6)
        v9, v10 = sort2(v9, v10)
        v3, v9 = sort2(v3, v9)
        v6, v10 = sort2(v6, v10)
        v6, v9 = sort2(v6, v9)
        v9, v11 = sort2(v9, v11)
        v6, v9 = sort2(v6, v9)
        out[x] = v9


@kernel
def median_filter(
    planes: Planes, field: int, size: int, height: int, width: int, rows: np.ndarray
) -> None:
    """Filter one plane in place with a size x size median (3 or 5); edge pixels are repeated."""
    stride = row_stride(width)
    plane = planes[field]
    scratch = planes[SCRATCH]
    columns = rows[0:5]  # sorted columns of a row, with two pixels of margin left and right
    windows = rows[5:30]
    for y in range(height):
        row0 = plane[(max(y - 2, 0) + 1) * stride :][:stride]
        row1 = plane[(max(y - 1, 0) + 1) * stride :][:stride]
        row2 = plane[(y + 1) * stride :][:stride]
        row3 = plane[(min(y + 1, height - 1) + 1) * stride :][:stride]
        row4 = plane[(min(y + 2, height - 1) + 1) * stride :][:stride]
        if size == 3:
            low, middle, high = columns[1, 2:], columns[2, 2:], columns[3, 2:]
            for x in range(stride):
                low[x], middle[x], high[x] = sort3(row1[x], row2[x], row3[x])
        else:
            sort5_rows(row0, row1, row2, row3, row4, columns, 2)
        for k in range(5):
            column = columns[k]
            column[0] = column[1] = column[2]
            column[width + 2] = column[width + 3] = column[width + 1]
        out = scratch[(y + 1) * stride :][:stride]
        if size == 3:
            median3_row(columns, out)
        else:
            median5_row(columns, windows, out)
        out[width:] = float32(0)  # the padding stays zero
    image = slice(stride, (height + 1) * stride)
    scale_into(scratch[image], 1, plane[image])


# --- the whole method ----------------------------------------------------------------------------


@kernel
def solve_level(
    image0: np.ndarray, warps: int, planes: Planes, memory: Memory, parameters: Parameters
) -> None:
    """Refine the flow in ``planes`` on one level of the pyramid (taps, ``edge`` are filled)."""
    height, width = image0.shape
    unit = float32(parameters.tau / parameters.theta)
    stop = (parameters.stop_px * unit) ** 2 * height * width
    for _ in range(warps):
        linearise(image0, parameters.black_outside, unit, planes, memory)
        for _ in range(parameters.outer_iterations):
            if parameters.median_px > 1:
                median_filter(planes, U1, parameters.median_px, height, width, memory.rows)
                median_filter(planes, U2, parameters.median_px, height, width, memory.rows)
            change = iterate(
                planes,
                memory,
                height,
                row_stride(width),
                parameters.tau,
                parameters.lambda_,
                parameters.inner_iterations,
                stop,
            )
            if change <= stop:
                break


@kernel
def solve_pair(
    pyramid0: np.ndarray,
    pyramid1: np.ndarray,
    memory: Memory,
    parameters: Parameters,
    out: np.ndarray,
) -> None:
    """TV-L1 flow between two pyramids, coarse to fine, into ``out`` float32 [H, W, 2]."""
    sizes = memory.sizes
    levels = len(sizes)
    unit = parameters.tau / parameters.theta
    start = pyramid0.size
    coarse_height, coarse_width = 0, 0
    for s in range(levels - 1, -1, -1):
        height, width = sizes[s]
        start -= height * width
        image0 = pyramid0[start : start + height * width].reshape(height, width)
        image1 = pyramid1[start : start + height * width].reshape(height, width)
        stride = row_stride(width)
        size = plane_size(height, width)
        planes = memory.planes[: PLANES * size].reshape(PLANES, size)
        planes[:] = float32(0)
        first = stride - LANES  # of a row's last vector
        for x in range(LANES):
            memory.edge[x] = float32(1) if first + x < width - 1 else float32(0)
        if coarse_height > 0:
            step_y = coarse_height / height
            step_x = coarse_width / width
            count = coarse_height * coarse_width
            for d in range(2):
                coarse = memory.flow[d * count : (d + 1) * count]
                fine = planes[U1 + d, stride : (height + 1) * stride].reshape(height, stride)
                resize(
                    coarse.reshape(coarse_height, coarse_width),
                    fine[:, :width],
                    step_x,
                    step_y,
                    unit / parameters.scale,
                    memory.starts,
                    memory.rows,
                )
        fill_taps(image1, parameters.black_outside, memory.taps)
        warps = parameters.coarse_warps if s > 0 else parameters.warps
        solve_level(image0, warps, planes, memory, parameters)
        count = height * width
        for d in range(2):
            flow = memory.flow[d * count : (d + 1) * count]
            for y in range(height):
                row = planes[U1 + d, (y + 1) * stride :]
                scale_into(row, 1 / unit, flow[y * width : (y + 1) * width])
        coarse_height, coarse_width = height, width
    count = coarse_height * coarse_width
    for y in range(coarse_height):
        for x in range(coarse_width):
            i = y * coarse_width + x
            out[y, x, 0] = memory.flow[i]
            out[y, x, 1] = memory.flow[count + i]
