"""Penn Action: hand-annotated 2D skeletons of 2,326 sequences, as shards without video.

Source: Zhang, Zhu, Derpanis, "From Actemes to Action", ICCV 2013. ``labels/0001.mat`` and so on
hold 13 joints a frame. What is stored, and what is not known:

- **Left and right.** The published order is head, then pairs "left, right". In the files the first
  of each pair is the person's *right*: of the squats marked as seen from the front, all 31 have the
  first shoulder on the image's left, of those seen from the back all 10 on its right; and the first
  wrist is the faster one in 94% of guitar players and 71-88% of tennis serves, as with right-handed
  people. So the first of a pair becomes COCO's right joint.
- **Head** becomes the nose, the nearest joint of COCO-17. Eyes and ears are NaN with score 0.
- **Visibility** becomes the score, 1 or 0. A hidden joint keeps its annotated place, with score 0.
  Joints without a place (a mark in the corner, ``x = y <= 1``) are NaN with score 0.
- **Frame rate** is not in the files: 30 fps is assumed, and said so in the provenance. Frame counts
  and order are exact.
- **Splits.** By sequence; which sequences show one person or come from one video is not known.
  Classes with the ``new`` flag of ``annotations/other/penn_action.csv`` are new as a whole; their
  sequences of the training side go to ``test_new``, so that every sequence is in.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from musclemap_data.catalog import SPLITS, Activity, annotations_dir, load_activities
from musclemap_data.errors import UserError
from musclemap_data.files import LEFTOVERS, file_sha256, lock_data_dir
from musclemap_data.importers.action_sets import split_of_lone_source
from musclemap_data.importers.report import ImportReport, sorted_counts
from musclemap_data.shards import (
    list_shards,
    read_dataset_info,
    shard_path,
    write_dataset_info,
    write_shard,
)
from musclemap_data.skeleton import JOINTS

Row = dict[str, object]
"""Columns of a shard, of one sequence."""

PENN_TO_COCO: tuple[str, ...] = (
    "nose",
    *("right_shoulder", "left_shoulder", "right_elbow", "left_elbow", "right_wrist", "left_wrist"),
    *("right_hip", "left_hip", "right_knee", "left_knee", "right_ankle", "left_ankle"),
)
"""COCO-17 joint of each of the 13 columns; see above for left and right."""

ASSUMED_FPS = 30.0
CLIPS_PER_SHARD = 256
IMPORTER_VERSION = 1
LARGEST_FILE_BYTES = 16 * 2**20
LARGEST_SIDE_PX = 16384

PROVENANCE = {
    "extractor": "penn_action_hand_annotation",
    "version": IMPORTER_VERSION,
    "settings": {
        "source": "Penn Action labels/*.mat (Zhang et al., ICCV 2013)",
        "joints": list(PENN_TO_COCO),
        "left_right": "the first of each published pair is taken as the person's right",
        "score": "visibility, 0 or 1; joints without a place and eyes and ears are NaN, score 0",
        "fps": f"{ASSUMED_FPS:g} is assumed; the files state none",
    },
}


class SequenceError(Exception):
    """A label file that cannot be read as a Penn Action sequence."""


@dataclass(frozen=True)
class Sequence:
    """One label file: ``skeleton`` is ``float32 [T, 1, 17, 3]``, pixels and score, COCO-17."""

    action: str
    skeleton: npt.NDArray[np.float32]
    height: int
    width: int


def read_sequence(path: Path) -> Sequence:
    """Read one ``labels/*.mat``.

    Raises:
        SequenceError: with the reason, if it is not a label file of Penn Action.
    """
    from scipy.io import loadmat

    names = ("action", "x", "y", "visibility", "dimensions", "nframes")
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise SequenceError(f"larger than {LARGEST_FILE_BYTES >> 20} MiB")
        content = loadmat(path, variable_names=names)
    except (SequenceError, MemoryError):
        raise
    except Exception as error:  # scipy raises whatever the damage leads to
        raise SequenceError(f"not a MATLAB file: {type(error).__name__}: {error}") from error
    missing = [name for name in names if name not in content]
    if missing:
        raise SequenceError(f"lacks {', '.join(missing)}")
    try:
        action = str(np.asarray(content["action"]).item())
        x, y, visible = (np.asarray(content[n], np.float64) for n in ("x", "y", "visibility"))
        height, width, frames = (int(v) for v in np.asarray(content["dimensions"]).ravel())
        stated_frames = int(np.asarray(content["nframes"]).item())
    except (TypeError, ValueError, OverflowError) as error:
        raise SequenceError(f"unexpected content: {error}") from error
    if not (0 < height <= LARGEST_SIDE_PX and 0 < width <= LARGEST_SIDE_PX and frames > 0):
        raise SequenceError(f"dimensions are {height} x {width} x {frames}")
    shape = (frames, len(PENN_TO_COCO))
    if not x.shape == y.shape == visible.shape == shape or stated_frames != frames:
        raise SequenceError(
            f"x {x.shape}, y {y.shape}, visibility {visible.shape} and nframes {stated_frames} do "
            f"not fit to {shape}"
        )
    return Sequence(action, _to_coco(x, y, visible), height, width)


def _to_coco(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], visible: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """``[T, 13]`` each to ``float32 [T, 1, 17, 3]``."""
    placed = np.isfinite(x) & np.isfinite(y) & ~((x <= 1) & (y <= 1))
    skeleton = np.full((len(x), 1, len(JOINTS), 3), np.nan, np.float32)
    skeleton[..., 2] = 0
    columns = [JOINTS.index(name) for name in PENN_TO_COCO]
    skeleton[:, 0, columns, 0] = np.where(placed, x, np.nan)
    skeleton[:, 0, columns, 1] = np.where(placed, y, np.nan)
    skeleton[:, 0, columns, 2] = placed & (visible == 1)
    return skeleton


def import_penn_action(folder: Path, data_dir: Path) -> ImportReport:
    """Write the skeletons of Penn Action as a data set without video.

    Args:
        folder: the copy, with ``labels/*.mat`` (frames are not read).
        data_dir: the data set to write: a new or empty folder, or an earlier import.

    Returns:
        Counts by split; sequences that could not be read are in ``failed``.

    Raises:
        UserError: the folder is not a copy of Penn Action, or ``data_dir`` holds something else.
    """
    folder, data_dir = Path(folder), Path(data_dir)
    files = sorted((folder / "labels").glob("*.mat"))
    if not files:
        raise UserError(
            f"{folder} is not a copy of Penn Action: there are no files labels/*.mat in it. Give "
            "the folder that holds 'labels'."
        )
    activities = load_activities(annotations_dir() / "other" / "penn_action.csv")
    by_class = {activity.name: activity for activity in activities.values()}
    _check_free(data_dir)
    rows: dict[str, list[Row]] = defaultdict(list)
    failed: dict[str, str] = {}
    for path in files:
        try:
            row = _row(path, by_class)
        except SequenceError as error:
            failed[path.name] = str(error)
        else:
            rows[str(row["split"])].append(row)
    if not rows:
        raise UserError(
            f"none of the {len(files)} files in {folder / 'labels'} is a sequence of Penn Action; "
            f"{files[0].name}: {failed[files[0].name]}"
        )
    with lock_data_dir(data_dir):
        _write_dataset(data_dir, rows, failed)
    everything = [row for split in rows.values() for row in split]
    return ImportReport(
        source="penn-action",
        written=(data_dir,),
        splits={split: len(rows[split]) for split in SPLITS},
        activities=sorted_counts(Counter(str(row["activity"]) for row in everything)),
        left_out={"sequences that cannot be read": len(failed)} if failed else {},
        failed=failed,
        notes=(
            f"{ASSUMED_FPS:g} frames per second are assumed; the files state none",
            "Penn Action's own terms apply to these skeletons",
        ),
    )


def _check_free(data_dir: Path) -> None:
    if (data_dir / "ledger.sqlite").exists():
        raise UserError(f"{data_dir} holds a data set built from videos; choose another folder")
    if (data_dir / "dataset.json").exists():
        activities = read_dataset_info(data_dir).get("activities")
        if activities != "penn_action":
            raise UserError(f"{data_dir} holds another data set; choose another folder")


def _row(path: Path, by_class: Mapping[str, Activity]) -> Row:
    sequence = read_sequence(path)
    activity = by_class.get(sequence.action)
    if activity is None:
        raise SequenceError(f"action {sequence.action[:40]!r} is not one of {', '.join(by_class)}")
    frames = len(sequence.skeleton)
    clip_id = f"penn_action_{path.stem}"
    return {
        "clip_id": clip_id,
        "video_id": clip_id,
        "url": f"labels/{path.name}",
        "activity": activity.slug,
        "split": split_of_lone_source(f"penn_action/{path.stem}", new=activity.new),
        "start_s": 0.0,
        "end_s": round(frames / ASSUMED_FPS, 6),
        "frames": frames,
        "height": sequence.height,
        "width": sequence.width,
        "fps": ASSUMED_FPS,
        "muscles": list(activity.muscles),
        "skeleton": sequence.skeleton.ravel(),
        "skeleton_people": 1,
        "source_sha256": file_sha256(path),
        "provenance": json.dumps({"skeleton": PROVENANCE}, sort_keys=True),
    }


def _write_dataset(
    data_dir: Path, rows: Mapping[str, list[Row]], failed: Mapping[str, str]
) -> None:
    """Shards first, ``dataset.json`` last: until then there is no data set to read."""
    (data_dir / "dataset.json").unlink(missing_ok=True)
    (data_dir / "shards").mkdir(parents=True, exist_ok=True)
    for leftover in (data_dir / "shards").glob(LEFTOVERS):
        leftover.unlink()
    written: dict[str, dict[str, object]] = {}
    for split in SPLITS:
        clips = rows.get(split, [])
        for number, first in enumerate(range(0, len(clips), CLIPS_PER_SHARD)):
            path = shard_path(data_dir, split, number)
            part = clips[first : first + CLIPS_PER_SHARD]
            written[path.name] = {"rows": len(part), "sha256": write_shard(path, part)}
        for path in list_shards(data_dir, split):
            if path.name not in written:
                path.unlink()
    counts = {split: len(rows.get(split, [])) for split in SPLITS}
    write_dataset_info(
        data_dir,
        {
            "name": "penn_action",
            "activities": "penn_action",
            "splits": {split: {"planned": n, "built": n} for split, n in counts.items()},
            "modalities": {"skeleton": PROVENANCE},
            "left_out": dict(sorted(failed.items())),
            "tools": {name: version(name) for name in ("numpy", "pyarrow", "scipy")},
            "shards": written,
        },
    )
