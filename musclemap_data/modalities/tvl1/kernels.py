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
and its rows are padded to a multiple of 16 floats. A neighbour is therefore a constant shift of
the index, and an iteration is two loops over whole planes without a branch, which LLVM turns into
full-width vector code (measured: 1.4 times the speed of loops over single rows, which pay for the
set-up of 14 slices every 341 pixels). The padding takes part in the loops and stays zero by itself:
its data term is zero, and ``inside`` keeps the last column from looking at it.

Loops that are to become vector code index slices with the bare loop variable: numba lets
``a[x + 1]`` count from the end if negative, and LLVM then gathers single floats (3 times slower).

All kernels are in one file because numba's disk cache notices changes of a kernel's own file only.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# Everything ``fastmath`` allows: no value here is ever infinite or NaN (tested at the extremes).
kernel = njit(cache=True, nogil=True, fastmath=True, error_model="numpy", boundscheck=False)

Float = Any  # a float32 in compiled code
Plane = np.ndarray  # float32 [plane_size]
Planes = np.ndarray  # float32 [PLANES, plane_size]

# The planes of a level: flow, its dual variables, the data term of the present warp, scratch.
U1, U2, P11, P12, P21, P22, I1X, I1Y, RHO_C, INVERSE_GRADIENT, SCRATCH = range(11)
PLANES = 11

TAP_MARGIN = 4  # pixels around I1 that the bicubic filter may touch
TAP_CHANNELS = 4  # I1, its x and y derivative, and one unused that makes a tap 16 bytes

ROWS = 30

float32 = np.float32
FLAT = float32(np.finfo(np.float32).eps)  # squared gradient that counts as none, as in OpenCV


class Parameters(NamedTuple):
    """``tvl1.Schedule`` as the kernels take it."""

    tau: float
    lambda_: float
    theta: float
    scale: float
    warps: int
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
    inside: np.ndarray  # float32 [plane_size of the finest level]
    taps: np.ndarray  # float32 [taps of the finest level]
    flow: np.ndarray  # float32 [2 * height * width]: the flow of the level before
    starts: np.ndarray  # int32 [width]: index of the first tap of each pixel of a row
    rows: np.ndarray  # float32 [ROWS, stride + 16]: single rows, scratch of every step


@kernel
def row_stride(width: int) -> int:
    """Floats from one row of a plane to the next: whole vectors."""
    return (width + 15) // 16 * 16


@kernel
def plane_size(height: int, width: int) -> int:
    """Floats in a plane: an odd number of cache lines, so that no two planes compete for a set."""
    return (((height + 2) * row_stride(width) + 16) // 16 | 1) * 16


@kernel
def taps_size(height: int, width: int) -> int:
    """Floats in the table of taps that ``fill_taps`` writes."""
    return (height + 2 * TAP_MARGIN) * (width + 2 * TAP_MARGIN) * TAP_CHANNELS


@kernel
def copy(source: np.ndarray, target: np.ndarray) -> None:
    """target[:] = source, without numba's check of shapes that takes a second to compile."""
    for i in range(target.size):
        target[i] = source[i]


# --- pyramid -------------------------------------------------------------------------------------


@kernel
def resize(
    source: np.ndarray,
    target: np.ndarray,
    step_x: Float,
    step_y: Float,
    gain: Float,
    row: np.ndarray,
) -> None:
    """Bilinear resize of [H, W] images as OpenCV's INTER_LINEAR; ``step`` source pixels a pixel."""
    source_height, source_width = source.shape
    height, width = target.shape
    gain = float32(gain)
    for y in range(height):
        source_y = min(max((y + 0.5) * step_y - 0.5, 0.0), source_height - 1.0)
        top = int(source_y)
        above = source[top]
        below = source[min(top + 1, source_height - 1)]
        share = float32(source_y - top)
        for x in range(source_width):
            row[x] = above[x] + share * (below[x] - above[x])
        for x in range(width):
            source_x = min(max((x + 0.5) * step_x - 0.5, 0.0), source_width - 1.0)
            left = int(source_x)
            right = min(left + 1, source_width - 1)
            target[y, x] = gain * (row[left] + float32(source_x - left) * (row[right] - row[left]))


@kernel
def build_pyramid(
    frame: np.ndarray, sizes: np.ndarray, scale: Float, pyramid: np.ndarray, row: np.ndarray
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
        resize(level, coarser, 1.0 / scale, 1.0 / scale, 1.0, row)
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
        for x in range(width):
            o = (x + TAP_MARGIN) * TAP_CHANNELS
            out[o] = row[x]
            out[o + 1] = half * (row[min(x + 1, width - 1)] - row[max(x - 1, 0)])
            out[o + 2] = half * (below[x] - above[x])
            out[o + 3] = float32(0)
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
    height: int,
    reach: Float,
    starts: np.ndarray,
    weights: np.ndarray,
    seen: np.ndarray,
) -> None:
    """Where the pixels of row y land in I1: first tap, weights, and 1 if in sight or else 0.

    ``reach`` is how far beyond the border I1 is still in sight, in pixels.
    """
    width = u1.size
    pitch = (width + 2 * TAP_MARGIN) * TAP_CHANNELS
    a0, a1, a2, a3 = weights[0], weights[1], weights[2], weights[3]
    b0, b1, b2, b3 = weights[4], weights[5], weights[6], weights[7]
    reach = float32(reach)
    right_edge = float32(width - 1) + reach
    bottom_edge = float32(height - 1) + reach
    for x in range(width):
        x1 = float32(x) + u1[x]
        y1 = float32(y) + u2[x]
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
    image0: Plane, values: np.ndarray, seen: np.ndarray, planes: Planes, start: int
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
        out_rho_c[x] = use * (i1[x] - i1x[x] * u1[x] - i1y[x] * u2[x] - image0[x])
        out_inverse[x] = use / max(gradient, FLAT)


@kernel
def linearise(image0: np.ndarray, black_outside: bool, planes: Planes, memory: Memory) -> None:
    """Warp I1 and its gradient by the present flow u0 and write the data term of all pixels.

        I1X, I1Y          grad I1(x + u0)
        RHO_C             I1(x + u0) - <grad I1(x + u0), u0> - I0(x)
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
        locate(y, u1, u2, height, reach, starts, weights, seen)
        interpolate(memory.taps, pitch, starts, weights, values)
        set_data_term(image0[y], values, seen, planes, start)


# --- iterations ----------------------------------------------------------------------------------


@kernel
def update_u(planes: Planes, start: int, stop: int, stride: int, l_t: Float, theta: Float) -> Float:
    """One step of the flow; returns the squared change summed over all pixels, in px^2.

    v   = u - clip(rho(u) / |grad I1|^2, -l_t, l_t) grad I1        l_t = lambda theta
    u_d = v_d + theta div p_d          div p_d = p_d1(x) - p_d1(x-1) + p_d2(y) - p_d2(y-1)
    """
    u1 = planes[U1, start:stop]
    u2 = planes[U2, start:stop]
    p11 = planes[P11, start:stop]
    p11_left = planes[P11, start - 1 : stop - 1]
    p12 = planes[P12, start:stop]
    p12_above = planes[P12, start - stride : stop - stride]
    p21 = planes[P21, start:stop]
    p21_left = planes[P21, start - 1 : stop - 1]
    p22 = planes[P22, start:stop]
    p22_above = planes[P22, start - stride : stop - stride]
    i1x = planes[I1X, start:stop]
    i1y = planes[I1Y, start:stop]
    rho_c = planes[RHO_C, start:stop]
    inverse_gradient = planes[INVERSE_GRADIENT, start:stop]
    change = float32(0)
    for i in range(u1.size):
        rho = rho_c[i] + i1x[i] * u1[i] + i1y[i] * u2[i]
        threshold = min(max(rho * inverse_gradient[i], -l_t), l_t)
        div_p1 = p11[i] - p11_left[i] + p12[i] - p12_above[i]
        div_p2 = p21[i] - p21_left[i] + p22[i] - p22_above[i]
        step1 = theta * div_p1 - threshold * i1x[i]
        step2 = theta * div_p2 - threshold * i1y[i]
        u1[i] += step1
        u2[i] += step2
        change += step1 * step1 + step2 * step2
    return change


@kernel
def update_p(
    planes: Planes, inside: Plane, start: int, stop: int, stride: int, tau_theta: Float
) -> None:
    """One step of the dual variables, with forward differences that end at the image's edge.

    p_d = (p_d + tau/theta grad u_d) / (1 + tau/theta |grad u_d|)
    """
    u1 = planes[U1, start:stop]
    u1_right = planes[U1, start + 1 : stop + 1]
    u1_below = planes[U1, start + stride : stop + stride]
    u2 = planes[U2, start:stop]
    u2_right = planes[U2, start + 1 : stop + 1]
    u2_below = planes[U2, start + stride : stop + stride]
    p11 = planes[P11, start:stop]
    p12 = planes[P12, start:stop]
    p21 = planes[P21, start:stop]
    p22 = planes[P22, start:stop]
    has_right = inside[start:stop]
    one = float32(1)
    for i in range(u1.size):
        u1x = (u1_right[i] - u1[i]) * has_right[i]
        u1y = u1_below[i] - u1[i]
        u2x = (u2_right[i] - u2[i]) * has_right[i]
        u2y = u2_below[i] - u2[i]
        shrink1 = one / (one + tau_theta * np.sqrt(u1x * u1x + u1y * u1y))
        shrink2 = one / (one + tau_theta * np.sqrt(u2x * u2x + u2y * u2y))
        p11[i] = (p11[i] + tau_theta * u1x) * shrink1
        p12[i] = (p12[i] + tau_theta * u1y) * shrink1
        p21[i] = (p21[i] + tau_theta * u2x) * shrink2
        p22[i] = (p22[i] + tau_theta * u2y) * shrink2


@kernel
def iterate(
    planes: Planes,
    inside: Plane,
    height: int,
    stride: int,
    tau: Float,
    lambda_: Float,
    theta: Float,
    iterations: int,
    stop: Float,
) -> Float:
    """Alternate ``update_u`` and ``update_p``; end early once the change is at most ``stop``, px^2.

    Returns the last change.
    """
    l_t = float32(lambda_ * theta)
    tau_theta = float32(tau / theta)
    theta_ = float32(theta)
    first = stride
    last = (height + 1) * stride  # the margin row below the image
    change = float32(0)
    for _ in range(iterations):
        change = update_u(planes, first, last, stride, l_t, theta_)
        for field in (U1, U2):  # a copy of the last row makes its vertical difference zero
            copy(planes[field, last - stride : last], planes[field, last : last + stride])
        update_p(planes, inside, first, last, stride, tau_theta)
        if change <= stop:
            break
    return change


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
    copy(scratch[image], plane[image])


# --- the whole method ----------------------------------------------------------------------------


@kernel
def solve_level(image0: np.ndarray, planes: Planes, memory: Memory, parameters: Parameters) -> None:
    """Refine the flow in ``planes`` on one level of the pyramid (taps, ``inside`` are filled)."""
    height, width = image0.shape
    stride = row_stride(width)
    stop = parameters.stop_px * parameters.stop_px * height * width
    for _ in range(parameters.warps):
        linearise(image0, parameters.black_outside, planes, memory)
        for _ in range(parameters.outer_iterations):
            if parameters.median_px > 1:
                median_filter(planes, U1, parameters.median_px, height, width, memory.rows)
                median_filter(planes, U2, parameters.median_px, height, width, memory.rows)
            change = iterate(
                planes,
                memory.inside,
                height,
                stride,
                parameters.tau,
                parameters.lambda_,
                parameters.theta,
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
        for y in range(height):  # 1 where a pixel has a right neighbour
            row = memory.inside[(y + 1) * stride : (y + 2) * stride]
            row[: width - 1] = float32(1)
            row[width - 1 :] = float32(0)
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
                    1.0 / parameters.scale,
                    memory.rows[0],
                )
        fill_taps(image1, parameters.black_outside, memory.taps)
        solve_level(image0, planes, memory, parameters)
        count = height * width
        for d in range(2):
            flow = memory.flow[d * count : (d + 1) * count]
            for y in range(height):
                row = planes[U1 + d, (y + 1) * stride :]
                copy(row, flow[y * width : (y + 1) * width])
        coarse_height, coarse_width = height, width
    count = coarse_height * coarse_width
    for y in range(coarse_height):
        for x in range(coarse_width):
            i = y * coarse_width + x
            out[y, x, 0] = memory.flow[i]
            out[y, x, 1] = memory.flow[count + i]
