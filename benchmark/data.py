"""Clips from shards: what is read of a view, and what a model gets.

Rules, stated once (those of views and batches are in :mod:`benchmark.sampling`):

* An unreadable clip stops the run and names its address. It is never replaced by another clip.
* What is random about a clip depends on (seed, epoch, position of the clip in the split) alone,
  so any number of workers or processes gives the same batches.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import simplejpeg
import torch
from torch import Tensor
from torch.utils.data import Dataset

from benchmark import augment
from benchmark.clips import Clip, activity_number, read_clips
from benchmark.features import FEATURES, features_of
from benchmark.sampling import view_indices, view_starts
from benchmark.settings import Settings
from musclemap_data.errors import UserError
from musclemap_data.modalities import modality_of, pictures
from musclemap_data.modalities.jpeg import Box, cut_out
from musclemap_data.modalities.modality import Modality, Numbers, Pictures
from musclemap_data.modalities.rgb import MEAN, STD
from musclemap_data.shards import Shard
from musclemap_data.stored import StoredPictures

_NO_BYTES = np.empty(0, np.uint8)
_LEFT_SHOULDER, _RIGHT_SHOULDER, _LEFT_HIP, _RIGHT_HIP = 5, 6, 11, 12

Batch = dict[str, Tensor]

DRAWS = "draws"
"""``int64 [5]`` of an item: the seed of its RGB and the erased box, for ``augment_batch``."""


class ClipDataset(Dataset[Batch]):
    """Views of the clips of one or more splits.

    In training an item is a clip and its view is random; otherwise an item is one test view of a
    clip, and ``items`` holds (clip, first frame). Items are asked for by ``(epoch, index, view)``,
    where view tells the views of a clip in one batch apart; by ``index`` alone for epoch 0.

    An item is a dict of tensors: the modalities asked for (pictures ``uint8 [C, T, S, S]``, which
    lie in memory as they were decoded, the skeleton ``float32 [M, T, 17, 3]``, other numbers
    ``float32 [T, ...]``), ``muscles`` ``float32 [20]`` (in training what the setting ``target``
    names) and ``clip`` ``int64 []``, an index into ``clips``; ``features`` are those of all views
    of the clip, ``float32 [views, width]`` (:mod:`benchmark.features`); in training with
    ``augment_on=device`` there are ``DRAWS`` too. Pictures stay bytes until
    :func:`normalise_batch`, on the model's device: a quarter of the memory to move.

    Args:
        modalities: their keys, such as ``rgb_diff``.
        subset, assigned: as for :func:`read_clips`.
        verify: check the page checksums of each clip when this process first reads it.

    Raises:
        UserError: a shard or a row cannot be read, or a clip lacks a modality.
        ValueError: there is no such modality.
    """

    def __init__(
        self,
        data_dir: Path,
        splits: Sequence[str],
        modalities: Sequence[str],
        settings: Settings,
        *,
        train: bool,
        subset: Collection[str] | None = None,
        assigned: Mapping[str, str] | None = None,
        verify: bool = True,
    ) -> None:
        self.modalities = tuple(modalities)
        self._read_of = [modality_of(key) for key in modalities if key != FEATURES]
        self.settings = settings
        self.train = train
        self.verify = verify
        self.clips = read_clips(data_dir, splits, subset, assigned)
        self.items = [
            (index, start)
            for index, clip in enumerate(self.clips)
            for start in (
                (0,)
                if train
                else view_starts(clip.frames, settings.frames, settings.rate, settings.test_views)
            )
        ]
        self._targets = self.targets() if train else self.labels().astype(np.float32)
        self._features = features_of(self.clips, settings) if FEATURES in modalities else {}
        if self._features:  # all views of a clip at once
            self.items = [(index, 0) for index in range(len(self.clips))]
        self._of_pictures = [
            each.key for each in self._read_of if isinstance(each.content, Pictures)
        ]
        self._columns = [column.name for each in self._read_of for column in each.columns]
        self._shards: dict[tuple[Path, bool], Shard] = {}
        self._verified: set[tuple[Path, int]] = set()
        self._process = os.getpid()
        self._buffer = _NO_BYTES

    def __len__(self) -> int:
        return len(self.items)

    def labels(self) -> npt.NDArray[np.bool_]:
        """``bool [clips, 20]``."""
        return np.array([clip.muscles for clip in self.clips], dtype=bool).reshape(-1, 20)

    def targets(self) -> npt.NDArray[np.float32]:
        """What is learned of each clip, ``float32 [clips, 20]``: its labels or its grades.

        Raises:
            UserError: grades are asked for, and a clip has none.
        """
        if self.settings.target == "labels":
            return self.labels().astype(np.float32)
        for clip in self.clips:
            if clip.grades is None:
                raise UserError(
                    f"{clip.address} has no grades: the activity table of the data set has other "
                    "labels for it, or knows only 0 and 1. Train with target=labels"
                )
        grades = np.array([clip.grades for clip in self.clips], dtype=np.float32)
        return grades.reshape(-1, 20)

    def __getstate__(self) -> dict[str, object]:
        # Memory maps stay in their process.
        return {**self.__dict__, "_shards": {}, "_verified": set(), "_buffer": _NO_BYTES}

    def __getitem__(self, key: int | tuple[int, ...]) -> Batch:
        epoch, index, view = (*key, 0)[:3] if isinstance(key, tuple) else (0, key, 0)
        clip_index, start = self.items[index]
        clip, settings = self.clips[clip_index], self.settings
        seed = [settings.seed, epoch, clip_index]
        rng = np.random.default_rng(seed)
        crops: tuple[augment.Geometry, ...] = ()
        if self.train:
            last_start = max(0, clip.frames - ((settings.frames - 1) * settings.rate + 1))
            start = int(rng.integers(last_start + 1))
            geometry = augment.train_geometry(clip.height, clip.width, settings, rng)
            if settings.early_views:
                crops = augment.early_views(clip.height, clip.width, settings, seed)
                geometry = crops[view]
        else:
            geometry = augment.centre_geometry(clip.height, clip.width, settings)
        frame_indices = view_indices(clip.frames, settings.frames, settings.rate, start)
        # Drawn even where unused, so that a clip is the same whatever modalities a model reads.
        rgb_seed = int(rng.integers(2**63))
        erased = augment.erased_box(settings, rng) if self.train else None
        late = self.train and settings.augment_on == "device"

        item: Batch = {}
        if late:
            item[DRAWS] = torch.tensor([rgb_seed, *_corners(erased)])
        if self._features:
            item[FEATURES] = torch.from_numpy(self._features[clip.clip_id])
        row, pictures = self._read(clip) if self._read_of else ({}, {})
        for modality in self._read_of:
            name, content = modality.key, modality.content
            if isinstance(content, Numbers):
                item[name] = self._numbers(clip, row, modality, content, geometry, frame_indices)
                continue
            box = geometry
            beside = bool(crops) and name == "rgb_diff" and len(self.modalities) > 1
            if beside:  # as in the early code, whatever it was meant to do
                box = crops[1]
            images = self._pictures(clip, pictures[name], name, content, box, frame_indices)
            if beside and view:
                images = torch.full_like(images, content.blank)
            if self.train and not late:
                images = augment_late(images, modality.key, rgb_seed, erased, settings)
            item[name] = images.transpose(0, 1)
        item["muscles"] = torch.from_numpy(self._targets[clip_index])
        item["clip"] = torch.tensor(clip_index)
        item["activity"] = torch.tensor(activity_number(clip.activity))
        return item

    def _read(self, clip: Clip) -> tuple[dict[str, pa.Scalar], dict[str, StoredPictures]]:
        """The wanted modalities: columns as Arrow scalars, and the pictures of a column."""
        if self._process != os.getpid():  # forked: this worker needs maps of its own
            self._shards, self._verified, self._process = {}, set(), os.getpid()
        # Checksums cover a whole clip, also the frames that are not sampled, and cost more than
        # decoding the others: once a clip is enough, the map does not change.
        place = (clip.shard, clip.row)
        verify = self.verify and place not in self._verified
        if (clip.shard, verify) not in self._shards:
            self._shards[clip.shard, verify] = Shard(clip.shard, verify=verify)
        shard = self._shards[clip.shard, verify]
        pictures: dict[str, StoredPictures] = {}
        if not verify:
            found = {name: shard.pictures(clip.row, name) for name in self._of_pictures}
            pictures = {name: each for name, each in found.items() if each is not None}
        columns = [name for name in self._columns if name not in pictures]
        table = shard.row_table(clip.row, columns) if columns else None
        self._verified.add(place)
        row = {name: table.column(name)[0] for name in columns} if table else {}
        for modality in self._read_of:
            if modality.key in row and not row[modality.key].is_valid:
                raise UserError(
                    f"{clip.address} has no {modality.name}. Extract it: `musclemap "
                    f"extract-modalities --modalities {modality.name}`."
                )
        for name in self._of_pictures:
            if name in row:
                pictures[name] = StoredPictures.of_list(row[name])
        return row, pictures

    def _pictures(
        self,
        clip: Clip,
        jpegs: StoredPictures,
        column: str,
        content: Pictures,
        geometry: augment.Geometry,
        frame_indices: npt.NDArray[np.int64],
    ) -> Tensor:
        """``uint8 [T, C, S, S]``, in memory of its own.

        Pictures of pairs lead from each sampled frame to the stored one after it. The last frame
        of a clip has none after it and takes the one that led to it; a clip of a single frame has
        none at all.
        """
        size = self.settings.crop_size
        count = content.count(clip.frames)
        if not count:
            shape = (len(frame_indices), content.channels, size, size)
            return torch.full(shape, content.blank, dtype=torch.uint8)
        wanted = np.minimum(frame_indices, count - 1)
        if content.channels == 2:
            decoded, _ = self._decode(clip, jpegs, column, content, wanted)
            flow = torch.from_numpy(decoded.reshape(-1, 2, clip.height, clip.width))
            return augment.crop_flow(flow, geometry, clip.height, clip.width, size)
        decoded, box = self._decode(clip, jpegs, column, content, wanted, geometry)
        frames = torch.from_numpy(decoded).permute(0, 3, 1, 2)
        return augment.cut_frames(frames, box, geometry.flip, size)

    def _numbers(
        self,
        clip: Clip,
        row: Mapping[str, pa.Scalar],
        modality: Modality,
        content: Numbers,
        geometry: augment.Geometry,
        frame_indices: npt.NDArray[np.int64],
    ) -> Tensor:
        """``float32 [T, ...]``; the skeleton ``[M, T, 17, 3]``, see :func:`normalise_skeleton`."""
        facts = {column.name: row[column.name].as_py() for column in modality.columns[1:]}
        facts |= {"frames": clip.frames, "height": clip.height, "width": clip.width}
        flat = row[modality.key].values.to_numpy(zero_copy_only=False)
        try:
            numbers = content.decode(modality.key, facts, flat)
        except ValueError as error:
            raise UserError(
                f"{clip.address}: {error}. Rebuild it with `musclemap extract-modalities "
                f"--modalities {modality.name}`."
            ) from error
        if modality.key != "skeleton":
            return torch.from_numpy(np.ascontiguousarray(numbers[frame_indices]))
        skeleton = numbers[:, : self.settings.people]
        skeleton = augment.crop_skeleton(skeleton, geometry, self.settings.crop_size)
        skeleton = normalise_skeleton(skeleton, self.settings.min_joint_score)
        missing = self.settings.people - skeleton.shape[1]
        skeleton = np.pad(skeleton, ((0, 0), (0, missing), (0, 0), (0, 0)))
        sampled = np.ascontiguousarray(skeleton[frame_indices].transpose(1, 0, 2, 3))
        return torch.from_numpy(sampled)

    def _decode(
        self,
        clip: Clip,
        jpegs: StoredPictures,
        column: str,
        content: Pictures,
        wanted: npt.NDArray[np.int64],
        geometry: augment.Geometry | None = None,
    ) -> tuple[npt.NDArray[np.uint8], Box]:
        """The wanted JPEGs of a clip, ``uint8 [T, h, w, C]``, each decoded once.

        Of a training view only the part that it shows is decoded where the JPEGs allow that, or
        the whole at a reduced size.

        The result lies in a buffer that the next call overwrites: fresh memory for every clip
        would cost as much as the decoding.

        Args:
            geometry: the view; without it, pictures are decoded whole.

        Returns:
            The pictures, and where in them the view lies.
        """
        count = content.count(clip.frames)
        if len(jpegs) != count:
            raise UserError(
                f"{clip.address}: {column} has {len(jpegs)} images, not {count}. Rebuild it with "
                "`musclemap extract-modalities`."
            )
        numbers, places = np.unique(wanted, return_inverse=True)
        found: Sequence[npt.NDArray[np.uint8]] = [jpegs[number] for number in numbers.tolist()]
        stored = content.size(clip.height, clip.width)
        reduced = self._least_size(clip, geometry) if geometry else {}
        index = int(numbers[0])
        try:
            _check_size(simplejpeg.decode_jpeg_header(found[0])[:2], stored)
            size = simplejpeg.decode_jpeg_header(found[0], **reduced)[:2]
            box = augment.box_in(geometry, stored, size) if geometry else Box(0, 0, *size)
            if geometry and size == stored:
                reduced = {}
                found, top, left = cut_out(found, box)
                size = simplejpeg.decode_jpeg_header(found[0])[:2]
                box = Box(box.top - top, box.left - left, box.height, box.width)
            depth = 3 if content.channels == 3 else 1
            frames = self._frame_buffer(len(found), *size, depth)
            for place, data in enumerate(found):
                index = int(numbers[place])
                decoded = simplejpeg.decode_jpeg(
                    data, colorspace=content.colorspace, buffer=frames[place], **reduced
                )
                _check_size(decoded.shape[:2], size)
        except ValueError as error:
            raise UserError(
                f"{clip.address}: image {index} of {column} cannot be decoded: {error}. "
                "Rebuild the shard with `musclemap extract-modalities`."
            ) from error
        return (frames if len(found) == len(wanted) else frames[places]), box

    def _least_size(self, clip: Clip, geometry: augment.Geometry) -> dict[str, float]:
        """How small a picture may be decoded without a loss to the view, as simplejpeg takes it."""
        size = self.settings.crop_size
        return {
            "min_height": math.ceil(clip.height * size / geometry.height_px),
            "min_width": math.ceil(clip.width * size / geometry.width_px),
            "min_factor": 2.0,
        }

    def _frame_buffer(self, *shape: int) -> npt.NDArray[np.uint8]:
        size = math.prod(shape)
        if self._buffer.size < size:
            self._buffer = np.empty(size, np.uint8)
        return self._buffer[:size].reshape(shape)


def _check_size(found: tuple[int, int], wanted: tuple[int, ...]) -> None:
    if tuple(found) != tuple(wanted):
        raise ValueError(f"it is {found[0]} x {found[1]}, not {wanted[0]} x {wanted[1]} px")


def _noise(like: Tensor, rng: np.random.Generator) -> Tensor:
    """Normal noise of the data set's mean and spread, as bytes, on the device of ``like``."""
    if like.is_cuda:  # the host would take longer than the rest of the batch
        drawn = torch.Generator(like.device).manual_seed(int(rng.integers(2**63)))
        noise = torch.randn(like.shape, generator=drawn, device=like.device) * STD + MEAN
        return (noise * 255.0).clamp(0, 255).byte()
    values = rng.standard_normal(like.shape, dtype=np.float32) * STD + MEAN
    return torch.from_numpy(np.clip(values * 255.0, 0, 255).astype(np.uint8))


def _corners(box: tuple[slice, slice] | None) -> tuple[int, ...]:
    """Top, bottom, left and right of a box; four zeros for none."""
    return (0, 0, 0, 0) if box is None else tuple(k for s in box for k in (s.start, s.stop))


def augment_late(
    images: Tensor,
    key: str,
    rgb_seed: int,
    erased: tuple[slice, slice] | None,
    settings: Settings,
) -> Tensor:
    """What is done to the cut-out pictures of a clip in training: RandAugment, then erasing.

    Args:
        images: ``uint8 [T, C, S, S]`` of one modality, on any device.
        key: of the modality.
        rgb_seed: of what is random in RGB.
        erased: rows and columns to blank.
    """
    rng = np.random.default_rng(rgb_seed)
    if key == "rgb":
        images = augment.randaugment(images, settings, rng)
    if erased is not None:
        region = images[:, :, erased[0], erased[1]]
        if key == "rgb":
            region.copy_(_noise(region, rng))
        else:
            region.fill_(pictures()[key].blank)
    return images


def augment_batch(batch: Batch, settings: Settings) -> Batch:
    """The augmentation that a loader left to the device (``augment_on``); without it, the batch.

    On the CPU it gives the very bytes that the workers would have. On a GPU pictures may differ by
    rounding, and the noise of erased boxes is another.
    """
    if DRAWS not in batch:
        return batch
    draws = batch[DRAWS].tolist()
    result = {name: values for name, values in batch.items() if name != DRAWS}
    for key, values in result.items():
        if values.dtype != torch.uint8:
            continue
        clips = []
        for clip, (seed, top, bottom, left, right) in zip(values, draws, strict=True):
            box = (slice(top, bottom), slice(left, right)) if bottom else None
            images = augment_late(clip.transpose(0, 1), key, seed, box, settings)
            clips.append(images.transpose(0, 1))
        result[key] = torch.stack(clips)
    return result


def normalise_batch(batch: Batch, normalise: bool = True) -> Batch:
    """What a model gets: pictures ``[B, C, T, S, S]`` as ``float32``, everything else as it was.

    Each modality's ``Pictures`` says what a stored byte means to a model.

    Args:
        normalise: False leaves colours between 0 and 1.
    """
    content = pictures()
    result = {}
    for key, values in batch.items():
        result[key] = values
        if values.dtype == torch.uint8:
            scale, shift = content[key].scale, content[key].shift
            if not normalise and content[key].channels == 3:
                scale, shift = 1 / 255, 0.0
            result[key] = values.float().mul_(scale).add_(shift)
    return result


def normalise_skeleton(
    skeleton: npt.NDArray[np.float32], min_score: float
) -> npt.NDArray[np.float32]:
    """Joints relative to the body, so that neither place nor size in the frame matters.

    For each person one centre and one scale serve the whole clip: movement over the ground (a
    jump, a step) stays in the data, and a badly seen frame cannot shake the rest. The centre is
    the median middle of the hips, or of the visible joints where the hips are never seen. The
    scale is the median length from hips to shoulders, but at least a quarter of the median
    diagonal of the box around the joints (a torso seen end-on is short).

    Args:
        skeleton: ``float32 [T, M, 17, 3]``: x, y in pixels, score. NaN means not found.
        min_score: a joint scored lower is masked.

    Returns:
        ``float32 [T, M, 17, 3]``; a masked joint has x = y = score = 0. All values are finite.
    """
    skeleton = np.asarray(skeleton, dtype=np.float32)
    visible = np.isfinite(skeleton).all(axis=-1) & (skeleton[..., 2] >= min_score)
    visible &= skeleton[..., 2] > 0
    result = np.zeros_like(skeleton)
    for person in range(skeleton.shape[1]):
        seen = visible[:, person]
        frames = np.flatnonzero(seen.any(axis=1))
        if frames.size == 0:
            continue
        points = np.where(seen[..., None], skeleton[:, person, :, :2], np.nan)
        hips = _middle(points, _LEFT_HIP, _RIGHT_HIP)
        shoulders = _middle(points, _LEFT_SHOULDER, _RIGHT_SHOULDER)
        if np.isfinite(hips).any():
            centre = np.nanmedian(hips, axis=0)
        else:
            centre = np.median(np.nanmean(points[frames], axis=1), axis=0)
        extent = np.nanmax(points[frames], axis=1) - np.nanmin(points[frames], axis=1)
        scale = 0.25 * float(np.median(np.hypot(extent[:, 0], extent[:, 1])))
        torso = np.hypot(*(shoulders - hips).T)
        if np.isfinite(torso).any():
            scale = max(scale, float(np.nanmedian(torso)))
        scale = max(scale, 1.0)  # one visible joint has no extent
        moved = (skeleton[:, person, :, :2] - centre) / scale
        result[:, person, :, :2] = np.where(seen[..., None], moved, 0.0)
        result[:, person, :, 2] = np.where(seen, skeleton[:, person, :, 2], 0.0)
    return result


def _middle(points: npt.NDArray[np.float32], first: int, second: int) -> npt.NDArray[np.float32]:
    """Middle of two joints, ``[T, 2]``; NaN where either is hidden."""
    return np.asarray((points[:, first] + points[:, second]) / 2, np.float32)
