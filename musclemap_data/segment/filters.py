"""What a builder wants to know of proposed clips: copies, still pictures, text, black bars.

A copy shows the same pictures: again, mirrored, or cropped. Of copies the surest proposal stays. A
still picture is no clip. Text over the person and black bars are only recorded: a person decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from musclemap_data.check.leakage import MAX_DISTANCE, perceptual_hash
from musclemap_data.draw.text import draw_text
from musclemap_data.ffmpeg import INPUT_OPTIONS
from musclemap_data.files import replacing
from musclemap_data.segment.overlaid import find_lines, lies_over
from musclemap_data.segment.proposals import Proposal

FRAMES = 5
"""Frames of a clip that are looked at, evenly spaced."""
LEAST_ALIKE = 3
"""Of these, how many must be alike in two clips for one to be a copy."""
CROPS = (1.0, 0.9, 0.8)
"""Shares of the picture's sides that a cropped copy may show, from the middle."""
LEAST_ALIKE_MOVEMENT = 0.995
"""Cosine of the movements' features, from which two clips may be one recording. Of 281 real clips a
copy, mirrored and with each joint displaced by 3% of the trunk, has it in 99.6%; one that begins
half a second later in 56%. Of all other pairs six have it: three of held poses, two of different
people, and one that is a piece of the same recording."""
LEAST_CHANGE = 1.6
"""Grey levels by which some part of the picture (1 of 100 in 32 by 32) changes from one of the five
frames to the next, on average. In 302 real clips it is 2.2 or more, also where a pose is held; in
one frame again and again, as a video codec changes it, 1.3 or less."""
BLACK = 24
"""Grey levels up to which a row or column is black."""
LEAST_BAR = 0.03
"""Share of the picture from which black bars are told."""
TILE, LABEL, MOST_TILES = 240, 20, 60

Pictures = npt.NDArray[np.uint8]
"""``uint8 [FRAMES, H, W, 3]``, BGR; empty where a clip cannot be read."""


@dataclass(frozen=True)
class Finding:
    """What a filter says of a proposal.

    Attributes:
        index: of the proposal.
        says: in words.
        leaves_out: whether it is no clip then; else it is only recorded.
        like: index of the proposal that it is a copy of.
    """

    index: int
    says: str
    leaves_out: bool = False
    like: int | None = None


def read_pictures(video: Path, proposal: Proposal) -> Pictures:
    """Evenly spaced frames of a proposed clip, from within its borders."""
    shares = (np.arange(FRAMES) + 0.5) / FRAMES
    found = []
    try:
        with av.open(f"file:{video}", options=INPUT_OPTIONS) as container:
            stream = container.streams.video[0]
            for time in proposal.start + shares * proposal.seconds:
                container.seek(int(time / float(stream.time_base or 1)), stream=stream)
                for frame in container.decode(stream):
                    if frame.time is not None and frame.time >= time - 0.02:
                        found.append(frame.to_ndarray(format="bgr24"))
                        break
    except (av.FFmpegError, IndexError):
        found = []
    return np.stack(found) if len(found) == FRAMES else np.zeros((0, 1, 1, 3), np.uint8)


def find_bars(proposals: Sequence[Proposal], pictures: Sequence[Pictures]) -> list[Finding]:
    """Clips with black bars at their sides, and how much of the picture they take."""
    found = []
    for index, shown in enumerate(pictures):
        if not len(shown):
            continue
        bars = 1 - _lit(shown).mean()
        if bars >= LEAST_BAR:
            found.append(Finding(index, f"black bars take {bars:.0%} of the picture"))
    return found


def find_copies(proposals: Sequence[Proposal], pictures: Sequence[Pictures]) -> list[Finding]:
    """Clips that show the pictures of a surer one: again, mirrored or cropped, bars apart."""
    surest = sorted(range(len(proposals)), key=lambda n: (-proposals[n].confidence, n))
    hashes = {n: _hashes(pictures[n], CROPS) for n in surest if len(pictures[n])}
    mirrored = {n: _hashes(pictures[n][:, :, ::-1], CROPS) for n in hashes}
    kept: list[int] = []
    found = []
    for n in hashes:
        for other in kept:
            says = _likeness(hashes[n], mirrored[n], hashes[other])
            if says:
                text = f"{says} of {proposals[other].proposal}"
                found.append(Finding(n, text, True, other))
                break
        else:
            kept.append(n)
    return sorted(found, key=lambda each: each.index)


def find_still(proposals: Sequence[Proposal], pictures: Sequence[Pictures]) -> list[Finding]:
    """Clips of one picture that does not move: a photograph, a frozen frame, a slide."""
    found = []
    for index, shown in enumerate(pictures):
        parts = [
            cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), (32, 32),
                       interpolation=cv2.INTER_AREA).astype(np.float64)
            for frame in shown
        ]  # fmt: skip
        changes = [np.percentile(np.abs(a - b), 99) for a, b in pairwise(parts)]
        if changes and np.mean(changes) < LEAST_CHANGE:
            found.append(Finding(index, "a still picture", True))
    return found


def find_text(proposals: Sequence[Proposal], pictures: Sequence[Pictures]) -> list[Finding]:
    """Clips in which a line of text lies over the person, where the proposal says who is where."""
    found = []
    for index, (proposal, shown) in enumerate(zip(proposals, pictures, strict=True)):
        if len(shown) and len(proposal.box) == 4:
            left, top, right, bottom = proposal.box
            person = (left, top, right, bottom)
            if any(lies_over(line, person) for line in find_lines(shown)):
                found.append(Finding(index, "text over the person"))
    return found


def find_alike(
    proposals: Sequence[Proposal], features: Sequence[npt.NDArray[np.float32] | None]
) -> list[Finding]:
    """Clips of different videos in which people move so alike that it may be one recording.

    Pictures do not matter, so a copy in other colours, with a frame around it or half a second
    later can be found. Poses that are held all look alike and are not compared.

    Args:
        proposals: the clips.
        features: of each clip a vector of its movement ``[D]``; None where there is none.
    """
    rows = [n for n, each in enumerate(features) if each is not None and not proposals[n].hold]
    if len(rows) < 2:
        return []
    vectors = np.stack([features[n] for n in rows]).astype(np.float64)  # type: ignore[misc]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9
    videos = np.array([proposals[n].video_id for n in rows])
    found = []
    for place, n in enumerate(rows):
        alike = np.where(videos[:place] != videos[place], vectors[:place] @ vectors[place], -1.0)
        if place and alike.max() >= LEAST_ALIKE_MOVEMENT:
            other = rows[int(alike.argmax())]
            text = f"moves just as {proposals[other].proposal}: the same recording?"
            found.append(Finding(n, text, like=other))
    return found


FILTERS: dict[str, Callable[[Sequence[Proposal], Sequence[Pictures]], list[Finding]]] = {
    "copies": find_copies,
    "still": find_still,
    "text": find_text,
    "bars": find_bars,
}


def apply_findings(proposals: Sequence[Proposal], findings: Sequence[Finding]) -> list[Proposal]:
    """The proposals with what was found of them, as a reason or as why they are left out."""
    changed = list(proposals)
    for finding in findings:
        p = changed[finding.index]
        changed[finding.index] = (
            replace(p, left_out=finding.says)
            if finding.leaves_out
            else replace(p, reasons=(*p.reasons, finding.says))
        )
    return changed


def write_sheet(
    path: Path,
    proposals: Sequence[Proposal],
    pictures: Sequence[Pictures],
    findings: Sequence[Finding],
) -> None:
    """One PNG: the middle picture of each clip found, beside the one that it is a copy of."""
    rows = []
    for finding in findings[:MOST_TILES]:
        shown = [finding.index, *([] if finding.like is None else [finding.like])]
        tiles = [_tile(pictures[n]) for n in shown]
        tiles += [np.full_like(tiles[0], 255)] * (2 - len(tiles))
        label = np.full((LABEL, 2 * TILE, 3), 255, np.uint8)
        words = f"{proposals[finding.index].proposal}: {finding.says}"[:90]
        draw_text(label, 4, 14, words, 10)
        rows += [label, np.hstack(tiles)]
    good, data = cv2.imencode(".png", np.vstack(rows))
    if good:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(data.tobytes())


def _tile(shown: Pictures) -> Pictures:
    """The middle picture of a clip; white where it could not be read."""
    tile = np.full((TILE, TILE, 3), 255, np.uint8)
    if not len(shown):
        return tile
    picture = shown[FRAMES // 2]
    height, width = picture.shape[:2]
    scale = TILE / max(height, width)
    small = cv2.resize(picture, (max(1, round(width * scale)), max(1, round(height * scale))))
    tile[: small.shape[0], : small.shape[1]] = small
    return tile


def _lit(shown: Pictures) -> npt.NDArray[np.bool_]:
    """``[H, W]``: what is not in a black bar."""
    brightest = shown.max(axis=(0, 3))
    rows = np.flatnonzero(brightest.max(axis=1) > BLACK)
    columns = np.flatnonzero(brightest.max(axis=0) > BLACK)
    lit = np.zeros(brightest.shape, bool)
    if len(rows) and len(columns):
        lit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return lit


def _hashes(shown: Pictures, crops: Sequence[float]) -> list[list[int | None]]:
    """For each crop, the perceptual hash of each frame without its bars."""
    lit = _lit(shown)
    rows, columns = np.flatnonzero(lit.any(1)), np.flatnonzero(lit.any(0))
    if not len(rows):
        return [[None] * len(shown) for _ in crops]
    inner = shown[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    grey = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_BGR2GRAY) for frame in inner]
    height, width = grey[0].shape
    found = []
    for share in crops:
        top, left = round(height * (1 - share) / 2), round(width * (1 - share) / 2)
        part = (slice(top, height - top or None), slice(left, width - left or None))
        found.append([perceptual_hash(np.ascontiguousarray(frame[part])) for frame in grey])
    return found


def _likeness(
    one: list[list[int | None]], mirrored: list[list[int | None]], other: list[list[int | None]]
) -> str:
    """How a clip is a copy of another: in words; empty if it is none."""
    for hashes, how in ((one, ""), (mirrored, "mirrored ")):
        if _alike(hashes[0], other[0]):
            return f"{how}copy"
        for crop in range(1, len(CROPS)):
            if _alike(hashes[0], other[crop]) or _alike(hashes[crop], other[0]):
                return f"{how}cropped copy"
    return ""


def _alike(one: list[int | None], other: list[int | None]) -> bool:
    same = [
        any(a is not None and b is not None and (a ^ b).bit_count() <= MAX_DISTANCE for b in other)
        for a in one
    ]
    return sum(same) >= LEAST_ALIKE
