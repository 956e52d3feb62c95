"""Annotation files for MMAction2 and PYSKL.

Their skeleton format is a Python pickle. We write it, of plain values and NumPy arrays, and never
read one.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from musclemap_data.catalog import load_muscles
from musclemap_data.export.card import fill_template
from musclemap_data.export.contents import Contents
from musclemap_data.files import write_text
from musclemap_data.modalities.skeleton import stored_skeleton
from musclemap_data.shards import Shard

SKELETON_FILE = "musclemap_skeleton.pkl"


def active_indices(muscles: Sequence[bool]) -> list[int]:
    """Indices of the active regions: how both tools write several labels."""
    return [index for index, active in enumerate(muscles) if active]


def skeleton_annotation(row: Mapping[str, Any]) -> dict[str, object]:
    """One entry of ``annotations``, as in PYSKL's ``tools/data/README.md``.

    A joint that was not found (NaN in our rows) becomes 0, 0 with score 0: their way to say so.

    Args:
        row: a clip with a skeleton, as ``Shard.row`` gives it.

    Returns:
        frame_dir (the clip id), label (list of region indices), img_shape and original_shape
        (height, width), total_frames T, keypoint float32 ``[M, T, 17, 2]`` in pixels and
        keypoint_score float32 ``[M, T, 17]``.
    """
    skeleton = stored_skeleton(row).transpose(1, 0, 2, 3)
    found = np.asarray(np.isfinite(skeleton).all(axis=-1))
    size = (row["height"], row["width"])
    return {
        "frame_dir": row["clip_id"],
        "label": active_indices(row["muscles"]),
        "img_shape": size,
        "original_shape": size,
        "total_frames": row["frames"],
        "keypoint": np.where(found[..., None], skeleton[..., :2], np.float32(0)),
        "keypoint_score": np.where(found, skeleton[..., 2], np.float32(0)),
    }


def write_skeletons(
    contents: Contents, folders: Sequence[Path], on_shard: Callable[[], None]
) -> str:
    """Write ``musclemap_skeleton.pkl`` into each folder; gives one line to report.

    Its ``split`` has our five splits; clips without a skeleton are left out.
    """
    columns = ("clip_id", "muscles", "frames", "height", "width", "skeleton", "skeleton_people")
    splits: dict[str, list[str]] = {}
    annotations = []
    for split, found in contents.shards.items():
        splits[split] = []
        for path in found:
            with Shard(path) as shard:
                for index in range(len(shard)):
                    row = shard.row(index, columns)
                    if row["skeleton"] is not None:
                        annotations.append(skeleton_annotation(row))
                        splits[split].append(row["clip_id"])
            on_shard()
    content = pickle.dumps({"split": splits, "annotations": annotations}, protocol=4)
    for folder in folders:
        (folder / SKELETON_FILE).write_bytes(content)
    left_out = contents.clip_count - len(annotations)
    note = f"; {left_out} clips have no skeleton and are left out" if left_out else ""
    return f"{SKELETON_FILE}: {len(annotations)} clips{note}"


def write_mmaction2(contents: Contents, out: Path) -> str:
    """Write the multi-label lists of each split, ``label_map.txt`` and ``README.txt``.

    ``SPLIT_video.txt`` is for ``VideoDataset`` (path, labels), ``SPLIT_rawframes.txt`` for
    ``RawframeDataset`` (folder, frames, labels). Gives one line to report.
    """
    missing = 0
    for split, found in contents.shards.items():
        videos, frames = [], []
        for path in found:
            with Shard(path) as shard:
                rows = shard.table(["clip_id", "frames", "muscles"]).to_pylist()
            for row in rows:
                labels = " ".join(map(str, active_indices(row["muscles"])))
                name = f"{row['clip_id']}.mp4"
                missing += not (contents.data_dir / "clips" / name).is_file()
                videos.append(f"{name} {labels}")
                frames.append(f"{row['clip_id']} {row['frames']} {labels}")
        write_text(out / f"{split}_video.txt", "\n".join(videos) + "\n")
        write_text(out / f"{split}_rawframes.txt", "\n".join(frames) + "\n")
    names = "".join(f"{muscle.slug}\n" for muscle in load_muscles())
    write_text(out / "label_map.txt", names)
    clips = (contents.data_dir / "clips").resolve()
    readme = fill_template("openmmlab.txt.jinja", clips=clips, skeletons=SKELETON_FILE)
    write_text(out / "README.txt", readme)
    note = (
        f"; {missing} of {contents.clip_count} mp4 files are no longer in {clips}: build anew for "
        "them (not with --blur-faces, which deletes them), or use the shards"
        if missing
        else ""
    )
    return f"lists of {len(contents.shards)} splits, {contents.clip_count} clips{note}"
