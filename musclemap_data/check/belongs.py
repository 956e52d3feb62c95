"""Whether a stored RGB difference and a stored flow belong to the pictures they are stored with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from musclemap_data.check.findings import Kind, Seen
from musclemap_data.modalities.flow import from_image
from musclemap_data.modalities.modality import Row

DIFF_LEVELS = 6.0
"""Grey levels of change, averaged over a few pixels, from which on a place counts as changed."""
DIFF_WRONG = 0.5
"""Share of the change in those places by which a difference may be off: two JPEGs lie between."""
NEIGHBOUR_GAIN = 0.15
"""By this share a neighbour's picture must fit better to be called the right one."""
FLOW_LEVELS = 8.0
"""Grey levels between two pictures from which on a pixel counts as moving."""
FLOW_EXPLAINS = 0.25
"""Least share of the change of moving pixels that a flow must explain, of what DIS flow does."""
LEAST_AREA = 0.003
"""Share of the pixels that must move for a verdict on flow or difference."""
FLOW_SIDE = 128
LEAST_SIDE = 16
"""A picture with a shorter side is too small for DIS flow."""


def wrong_difference(row: Row, pairs: list[int]) -> Seen | None:
    """Compares with ``|x(t) - x(t-1)|`` of the stored pictures, and with the stored neighbours.

    Only where something changes, and averaged over a few pixels: there a JPEG's errors are small.
    """
    gaps = {-1: 0.0, 0: 0.0, 1: 0.0}  # of the stored difference, and of its neighbours
    whole, area, worst, most = 0.0, 0.0, 0, -1.0
    for first in pairs:
        number = first + 1
        change = np.abs(_picture(row, "rgb", number) - _picture(row, "rgb", first))
        wanted = _averaged(change)
        own = _averaged(_picture(row, "rgb_diff", number))
        places = np.maximum(wanted, own) > DIFF_LEVELS
        whole += float(np.maximum(wanted, own)[places].sum())
        area += float(places.mean()) / len(pairs)
        for step in gaps:
            inside = 0 < number + step < row["frames"]
            other = _averaged(_picture(row, "rgb_diff", number + step)) if step and inside else own
            gaps[step] += float(np.abs(other - wanted)[places].sum())
        gap = float(np.abs(own - wanted)[places].sum())
        if gap > most:
            worst, most = number, gap
    if area < LEAST_AREA:
        return None
    off = gaps[0] / whole
    if off > DIFF_WRONG:
        what = f"it is off by {off:.0%} of the change"
        return Seen(Kind.RGB_DIFF, what, off, (worst - 1, worst))
    shifted = min(gaps[-1], gaps[1]) / whole
    if shifted < off - NEIGHBOUR_GAIN:
        what = f"it is off by {off:.0%} of the change, that of a neighbour by {shifted:.0%}"
        return Seen(Kind.RGB_DIFF, what, off, (worst - 1, worst))
    return None


def _picture(row: Row, column: str, number: int) -> npt.NDArray[np.float32]:
    import simplejpeg

    return np.asarray(simplejpeg.decode_jpeg(row[column][number], colorspace="RGB"), np.float32)


def _averaged(picture: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The mean of the colours and of 4 x 4 pixels, ``float32 [h, w]``."""
    import cv2

    height, width = picture.shape[:2]
    size = (max(1, width // 4), max(1, height // 4))
    grey = picture.mean(axis=2)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.float32)


def wrong_flow(row: Row, pairs: list[int]) -> Seen | None:
    """How much of the motion the stored flow explains, against OpenCV's DIS flow.

    Picture t + 1, carried back along the flow, should be picture t (see ``compute_flow``). What is
    left is held against no motion at all, against DIS, and against the flow of the neighbours;
    only where the pictures differ or the flow says that something moves.
    """
    gains = {"own": 0.0, "before": 0.0, "after": 0.0, "best": 0.0}
    area, worst, most = 0.0, 0, -1.0
    for first in pairs:
        here, there = (_flow_gray(row, number) for number in (first, first + 1))
        if min(here.shape) < LEAST_SIDE:
            return None
        own = _stored_flow(row, first, here.shape)
        moving = np.abs(here - there) > FLOW_LEVELS
        moving |= np.linalg.norm(own, axis=-1) > 1
        area += float(moving.mean()) / len(pairs)
        still = _left_over(here, there, np.zeros_like(own), moving)
        gain = {}
        for name, number in (("own", first), ("before", first - 1), ("after", first + 1)):
            inside = 0 <= number < len(row["flow"])
            flow = _stored_flow(row, number, here.shape) if inside else own
            gain[name] = still - _left_over(here, there, flow, moving)
        best = still - _left_over(here, there, _dis_flow(here, there), moving)
        gain["best"] = max(best, gain["own"])
        for name, value in gain.items():
            gains[name] += value
        if gain["best"] - gain["own"] > most:
            worst, most = first, gain["best"] - gain["own"]
    if area < LEAST_AREA or gains["best"] <= 0:
        return None
    share = gains["own"] / gains["best"]
    if share < FLOW_EXPLAINS:
        what = f"it explains {max(share, 0):.0%} of the motion between the pictures"
        return Seen(Kind.FLOW, what, 1 - share, (worst, worst + 1))
    shifted = max(gains["before"], gains["after"]) / gains["best"]
    # Where hardly anything moves, a neighbour's flow may fit by chance; but a flow that explains as
    # much as DIS in each pair is no flow of other pictures.
    if share < 1 and shifted > share + NEIGHBOUR_GAIN:
        what = f"it explains {share:.0%} of the motion, the flow of a neighbour {shifted:.0%}"
        return Seen(Kind.FLOW, what, 1 - share, (worst, worst + 1))
    return None


def _flow_gray(row: Row, number: int) -> npt.NDArray[np.float32]:
    """A picture in grey, its short side at most ``FLOW_SIDE``, ``float32 [h, w]``."""
    import cv2
    import simplejpeg

    gray = simplejpeg.decode_jpeg(row["rgb"][number], colorspace="GRAY")[..., 0]
    scale = min(1.0, FLOW_SIDE / min(gray.shape))
    size = (round(gray.shape[1] * scale), round(gray.shape[0] * scale))
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.float32)


def _stored_flow(row: Row, number: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """The stored flow of a pair at that size, in its pixels, ``float32 [h, w, 2]``."""
    import cv2
    import simplejpeg

    image = simplejpeg.decode_jpeg(row["flow"][number], colorspace="GRAY")[..., 0]
    flow = from_image(image, row["flow_bound_px"])
    scale = np.array([shape[1] / flow.shape[1], shape[0] / flow.shape[0]], np.float32)
    small = cv2.resize(flow, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(small * scale, np.float32)


def _dis_flow(
    here: npt.NDArray[np.float32], there: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    import cv2

    solver = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    empty = np.zeros((*here.shape, 2), np.float32)
    flow = solver.calc(here.astype(np.uint8), there.astype(np.uint8), empty)
    return np.asarray(flow, np.float32)


def _left_over(
    here: npt.NDArray[np.float32],
    there: npt.NDArray[np.float32],
    flow: npt.NDArray[np.float32],
    places: npt.NDArray[np.bool_],
) -> float:
    """Sum of the grey levels between a picture and the next one, carried back, in some places."""
    import cv2

    y, x = np.indices(here.shape, np.float32)
    carried = cv2.remap(
        there,
        x + flow[..., 0],
        y + flow[..., 1],
        interpolation=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return float(np.abs(here - carried)[places].sum())
