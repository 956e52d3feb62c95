"""A folder in LeRobot's format v3.0: an episode is a clip, its task is the activity."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg

from musclemap_data.catalog import load_muscles
from musclemap_data.export.contents import Contents
from musclemap_data.files import write_text
from musclemap_data.modalities.skeleton import stored_skeleton
from musclemap_data.shards import Shard
from musclemap_data.skeleton import JOINT_COUNT, JOINTS

FILES_A_FOLDER = 1000
PICTURE, STATE, REGIONS = "observation.images.rgb", "observation.state", "regions"
_COUNTERS = ("frame_index", "episode_index", "index", "task_index")
_PICTURE_TYPE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
_PLACE = "chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"


def write_lerobot(contents: Contents, out: Path, on_shard: Callable[[], None]) -> str:
    """Write ``data/``, a file a shard, and ``meta/``; gives one line to report.

    A frame has the picture (absent where the data set has none), ``observation.state`` (the
    first person's 17 joints: x, y in pixels and score; 0 where not found), ``regions`` (20
    values, 0 or 1) and LeRobot's own counters. There is no ``action``. LeRobot wants one frame
    rate and one size: both are those that most clips have; of other clips the nearest frames are
    taken, and pictures and joints are scaled into the middle of a black picture.
    """
    clips = _clips(contents)
    fps = Counter(clip.fps for clip in clips).most_common(1)[0][0]
    height, width = Counter(clip.size for clip in clips).most_common(1)[0][0]
    task_of = {name: i for i, name in enumerate(sorted({clip.activity for clip in clips}))}
    shows = "rgb" in contents.modalities
    episodes: list[dict[str, object]] = []
    splits: dict[str, str] = {}
    total, file_number, spread = 0, 0, _Spread()
    for split, found in contents.shards.items():
        first = len(episodes)
        for path in found:
            where = {"chunk_index": file_number // FILES_A_FOLDER}
            where["file_index"] = file_number % FILES_A_FOLDER
            target = out / "data" / _PLACE.format(**where)
            target.parent.mkdir(parents=True, exist_ok=True)
            with Shard(path) as shard, pq.ParquetWriter(target, _schema(shows)) as writer:
                for number in range(len(shard)):
                    row = shard.row(number)
                    frames = _frames(row, fps, (height, width), shows)
                    count = len(frames.state)
                    spread.add(frames.state)
                    counters = {
                        "frame_index": np.arange(count),
                        "episode_index": np.full(count, len(episodes)),
                        "index": total + np.arange(count),
                        "task_index": np.full(count, task_of[row["activity"]]),
                    }
                    writer.write_table(_table(frames, fps, counters, shows))
                    episodes.append(
                        {
                            "episode_index": len(episodes),
                            "tasks": [row["activity"]],
                            "length": count,
                            "dataset_from_index": total,
                            "dataset_to_index": total + count,
                            **{f"data/{name}": value for name, value in where.items()},
                            "meta/episodes/chunk_index": 0,
                            "meta/episodes/file_index": 0,
                            "clip_id": row["clip_id"],
                            "split": split,
                        }
                    )
                    total += count
            file_number += 1
            on_shard()
        splits[split] = f"{first}:{len(episodes)}"
    meta = out / "meta"
    listed = meta / "episodes" / _PLACE.format(chunk_index=0, file_index=0)
    listed.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(episodes), listed)
    pd.DataFrame({"task_index": list(task_of.values())}, index=list(task_of)).to_parquet(
        meta / "tasks.parquet"
    )
    info = {
        "codebase_version": "v3.0",
        "robot_type": None,
        "total_episodes": len(episodes),
        "total_frames": total,
        "total_tasks": len(task_of),
        "chunks_size": FILES_A_FOLDER,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": fps,
        "splits": splits,
        "data_path": f"data/{_PLACE}",
        "video_path": None,
        "features": _features(shows, height, width),
    }
    write_text(meta / "info.json", json.dumps(info, indent=2) + "\n")
    write_text(meta / "stats.json", json.dumps({STATE: spread.numbers()}, indent=2) + "\n")
    return (
        f"{len(episodes)} episodes, {total} frames of {width}x{height} at {fps} a second: "
        f'LeRobotDataset("musclemap", root="{out}")'
    )


@dataclass(frozen=True)
class _Clip:
    activity: str
    fps: int
    size: tuple[int, int]


def _clips(contents: Contents) -> list[_Clip]:
    clips = []
    for path in contents.shard_paths:
        with Shard(path) as shard:
            for row in shard.table(["activity", "fps", "height", "width"]).to_pylist():
                size = (row["height"], row["width"])
                clips.append(_Clip(row["activity"], round(row["fps"]), size))
    return clips


@dataclass(frozen=True)
class _Frames:
    """``state`` [T, 51], ``regions`` [T, 20], ``pictures`` T JPEGs or none."""

    state: npt.NDArray[np.float32]
    regions: npt.NDArray[np.float32]
    pictures: list[bytes]


def _frames(row: Mapping[str, Any], fps: int, size: tuple[int, int], shows: bool) -> _Frames:
    """The frames of a clip at the common rate and size."""
    if round(row["fps"]) == fps:
        chosen = np.arange(row["frames"])
    else:
        count = max(1, round(row["frames"] * fps / row["fps"]))
        chosen = np.rint(np.arange(count) * row["fps"] / fps).astype(int)
        chosen = np.minimum(chosen, row["frames"] - 1)
    scale = min(size[0] / row["height"], size[1] / row["width"])
    inner = (round(row["height"] * scale), round(row["width"] * scale))
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    state = np.zeros((len(chosen), JOINT_COUNT, 3), np.float32)
    if row["skeleton"] is not None:
        joints = stored_skeleton(row)[chosen, 0]
        moved = joints * np.array((scale, scale, 1), np.float32) + np.array(
            (left, top, 0), np.float32
        )
        state = np.where(np.isfinite(joints).all(axis=-1, keepdims=True), moved, np.float32(0))
    pictures: list[bytes] = []
    if shows:
        same = (row["height"], row["width"]) == size
        pictures = [
            row["rgb"][t] if same else _into(row["rgb"][t], size, inner, top, left) for t in chosen
        ]
    regions = np.tile(np.array(row["muscles"], np.float32), (len(chosen), 1))
    return _Frames(state.reshape(len(chosen), -1), regions, pictures)


def _into(
    picture: bytes, size: tuple[int, int], inner: tuple[int, int], top: int, left: int
) -> bytes:
    canvas = np.zeros((*size, 3), np.uint8)
    small = cv2.resize(simplejpeg.decode_jpeg(picture), inner[::-1], interpolation=cv2.INTER_AREA)
    canvas[top : top + inner[0], left : left + inner[1]] = small
    return bytes(simplejpeg.encode_jpeg(canvas, 95))


def _schema(shows: bool) -> pa.Schema:
    return pa.schema(
        [(PICTURE, _PICTURE_TYPE)] * shows
        + [
            (STATE, pa.list_(pa.float32(), JOINT_COUNT * 3)),
            (REGIONS, pa.list_(pa.float32(), len(load_muscles()))),
            ("timestamp", pa.float32()),
        ]
        + [(name, pa.int64()) for name in _COUNTERS]
    )


def _table(
    frames: _Frames, fps: int, counters: Mapping[str, npt.NDArray[np.int64]], shows: bool
) -> pa.Table:
    seconds = np.arange(len(frames.state), dtype=np.float32) / np.float32(fps)
    arrays = [
        pa.FixedSizeListArray.from_arrays(frames.state.ravel(), frames.state.shape[1]),
        pa.FixedSizeListArray.from_arrays(frames.regions.ravel(), frames.regions.shape[1]),
        pa.array(seconds, pa.float32()),
        *(pa.array(counters[name], pa.int64()) for name in _COUNTERS),
    ]
    if shows:
        pictures = [{"bytes": picture, "path": None} for picture in frames.pictures]
        arrays.insert(0, pa.array(pictures, _PICTURE_TYPE))
    return pa.Table.from_arrays(arrays, schema=_schema(shows))


def _features(shows: bool, height: int, width: int) -> dict[str, dict[str, object]]:
    joints = [f"{joint}_{part}" for joint in JOINTS for part in ("x", "y", "score")]
    regions = [muscle.slug for muscle in load_muscles()]
    features: dict[str, dict[str, object]] = {}
    if shows:
        axes = ["height", "width", "channels"]
        features[PICTURE] = {"dtype": "image", "shape": [height, width, 3], "names": axes}
    features[STATE] = {"dtype": "float32", "shape": [len(joints)], "names": joints}
    features[REGIONS] = {"dtype": "float32", "shape": [len(regions)], "names": regions}
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    for name in _COUNTERS:
        features[name] = {"dtype": "int64", "shape": [1], "names": None}
    return features


class _Spread:
    """Least, greatest, mean and standard deviation of each column, a clip at a time."""

    def __init__(self) -> None:
        self.parts: list[tuple[int, npt.NDArray[np.float64]]] = []

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Take in ``[T, columns]``, T at least 1."""
        wide = values.astype(np.float64)
        sums = (wide.min(0), wide.max(0), wide.sum(0), (wide**2).sum(0))
        self.parts.append((len(wide), np.stack(sums)))

    def numbers(self) -> dict[str, list[float]]:
        """As in LeRobot's ``stats.json``."""
        count = sum(part[0] for part in self.parts)
        every = np.stack([part[1] for part in self.parts])
        mean = every[:, 2].sum(0) / count
        variance = np.maximum(every[:, 3].sum(0) / count - mean**2, 0)
        return {
            "min": every[:, 0].min(0).tolist(),
            "max": every[:, 1].max(0).tolist(),
            "mean": mean.tolist(),
            "std": np.sqrt(variance).tolist(),
            "count": [count],
        }
