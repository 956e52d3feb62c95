"""The embedded model's network, and how a skeleton becomes its input.

A window of 4 s at 12 frames/s goes in, whatever the frame rate of the video was. Places are told
relative to the body, so that the size of the picture and of the person do not matter.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musclemap_data.skeleton import BONES, JOINT_COUNT

RATE_HZ = 12.0
FRAMES = 48
WINDOW_S = FRAMES / RATE_HZ
REGIONS = 20

_HIPS = (11, 12)
_MEASURED = (
    (5, 7),
    (7, 9),
    (6, 8),
    (8, 10),
    (5, 11),
    (6, 12),
    (11, 13),
    (13, 15),
    (12, 14),
    (14, 16),
)
"""Bones whose lengths together are the size of a person."""
CHANNELS = JOINT_COUNT * 2 + 2 + JOINT_COUNT * 2 + len(BONES) * 2 + 1


def resample(
    skeleton: npt.NDArray[np.float32], times_s: npt.ArrayLike
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """A skeleton at 12 frames/s.

    Args:
        skeleton: ``float32 [T, 17, 3]``: x, y in pixels, score; NaN where nobody was found.
        times_s: ``[T]`` of each frame, ascending.

    Returns:
        ``float32 [N, 17, 3]`` and the times ``[N]``. A moment lies on the line between the frames
        around it, and shows nobody where either of them does not.
    """
    times = np.asarray(times_s, dtype=np.float64)
    wanted = np.arange(times[0], times[-1] + 1e-6, 1 / RATE_HZ)
    after = np.clip(np.searchsorted(times, wanted - 1e-9), 1, max(len(times) - 1, 1))
    if len(times) == 1:
        return skeleton.copy(), times
    before = after - 1
    share = np.clip((wanted - times[before]) / (times[after] - times[before]), 0.0, 1.0)
    weight = share[:, None, None].astype(np.float32)
    mixed: npt.NDArray[np.float32] = skeleton[before] * (1 - weight) + skeleton[after] * weight
    mixed[~np.isfinite(mixed[..., :2]).all(axis=(1, 2)), :, 2] = 0.0
    return mixed, np.asarray(wanted, np.float64)


def cut_windows(
    skeleton: npt.NDArray[np.float32], step: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.intp]]:
    """Windows over a skeleton at 12 frames/s.

    A skeleton that is shorter than a window is one, and its end is empty.

    Args:
        skeleton: ``float32 [N, 17, 3]``, from :func:`resample`.
        step: frames from the start of one window to the next; the last window ends at the end.

    Returns:
        ``float32 [W, 48, 17, 3]`` and the first frame of each.
    """
    last = max(len(skeleton) - FRAMES, 0)
    starts = np.array(sorted({*range(0, last + 1, step), last}), dtype=np.intp)
    if len(skeleton) < FRAMES:
        empty = np.zeros((FRAMES - len(skeleton), JOINT_COUNT, 3), np.float32)
        skeleton = np.concatenate([skeleton, empty])
    return np.stack([skeleton[start : start + FRAMES] for start in starts]), starts


def features(skeleton: Tensor) -> Tensor:
    """What the network reads of a window: places, motion and bones, in units of the body.

    Args:
        skeleton: ``[B, T, 17, 3]``; a frame without a person has score 0 and may hold NaN.

    Returns:
        ``[B, channels, T]``.
    """
    seen = (skeleton[..., 2] > 0).all(-1) & torch.isfinite(skeleton).all(-1).all(-1)  # [B, T]
    mask = seen[:, :, None, None].to(skeleton.dtype)
    places = torch.where(mask > 0, skeleton[..., :2], torch.zeros_like(skeleton[..., :2]))
    hips = places[:, :, _HIPS].mean(2, keepdim=True)  # [B, T, 1, 2]
    lengths = torch.zeros_like(hips[..., 0, 0])
    for a, b in _MEASURED:
        lengths = lengths + (places[:, :, a] - places[:, :, b]).norm(dim=-1)
    unknown = torch.where(seen, lengths, torch.full_like(lengths, float("nan")))
    size = unknown.nanmedian(1).values.nan_to_num(1.0).clamp(min=1e-3)[:, None, None, None] / 5
    away = torch.where(
        mask[..., 0] > 0, hips[:, :, 0], torch.full_like(hips[:, :, 0], float("nan"))
    )
    middle = away.nanmedian(1).values.nan_to_num(0.0)[:, None, None]
    local = (places - hips) / size * mask
    path = (hips - middle) / size * mask
    both = mask[:, 1:] * mask[:, :-1]
    step = F.pad((places[:, 1:] - places[:, :-1]) / size * both, (0, 0, 0, 0, 1, 0)) * 4
    first, second = (torch.tensor([bone[end] for bone in BONES]) for end in (0, 1))
    bones = (places[:, :, second] - places[:, :, first]) / size
    bones = bones / (bones.norm(dim=-1, keepdim=True) + 0.15) * mask
    parts = [local, path, step, bones, mask]
    flat = torch.cat([part.flatten(2) for part in parts], dim=2)
    return flat.transpose(1, 2)


class Block(nn.Module):
    """Two convolutions over time with a residual connection."""

    def __init__(self, inputs: int, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Conv1d(inputs, width, 5, stride=stride, padding=2, bias=False)
        self.first_norm = nn.BatchNorm1d(width)
        self.second = nn.Conv1d(width, width, 5, padding=2, bias=False)
        self.second_norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != width or stride != 1:
            self.shortcut = nn.Conv1d(inputs, width, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Features over time, [batch, channels, T], to such: two convolutions and a shortcut."""
        y: Tensor = F.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(self.dropout(y)))
        return F.relu(y + self.shortcut(x))


class EmbeddedNetwork(nn.Module):
    """Convolutions over time on what ``features`` gives; two heads.

    Args:
        activities: number of activities of the first head.
        width: channels.
        dropout: in the blocks; the heads drop twice as much.
    """

    def __init__(self, activities: int, width: int = 96, dropout: float = 0.1) -> None:
        super().__init__()
        self.width = width
        self.norm = nn.BatchNorm1d(CHANNELS)
        self.mix = nn.Conv1d(CHANNELS, width, 1)
        self.blocks = nn.Sequential(
            Block(width, width, 1, dropout),
            Block(width, width, 2, dropout),
            Block(width, width, 2, dropout),
        )
        self.dropout = nn.Dropout(2 * dropout)
        self.activity = nn.Linear(2 * width, activities)
        self.region = nn.Linear(2 * width, REGIONS)

    def forward(self, skeleton: Tensor) -> tuple[Tensor, Tensor]:
        """Windows ``[B, 48, 17, 3]`` to logits of activities ``[B, A]`` and regions ``[B, 20]``."""
        pooled = self.dropout(self.pooled(skeleton))
        return self.activity(pooled), self.region(pooled)

    def pooled(self, skeleton: Tensor) -> Tensor:
        """Windows ``[B, 48, 17, 3]`` to what both heads read, ``[B, 2 * width]``."""
        x = self.blocks(F.relu(self.mix(self.norm(features(skeleton)))))
        return torch.cat([x.mean(2), x.amax(2)], dim=1)
