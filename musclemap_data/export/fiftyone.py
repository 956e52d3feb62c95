"""A folder that FiftyOne opens: videos, with activity, regions and skeletons on them.

The form is FiftyOne's own ``FiftyOneVideoLabelsDataset``, plain JSON without a database.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from musclemap_data.catalog import load_muscles
from musclemap_data.export.contents import Contents
from musclemap_data.ffmpeg import video_writer
from musclemap_data.files import link_or_copy, write_text
from musclemap_data.modalities.skeleton import stored_skeleton
from musclemap_data.shards import Shard
from musclemap_data.skeleton import JOINT_COUNT, JOINTS

COLUMNS = (
    "clip_id", "activity", "split", "muscles", "frames", "height", "width", "fps", "rgb",
    "skeleton", "skeleton_people",
)  # fmt: skip


def write_fiftyone(contents: Contents, out: Path, on_shard: Callable[[], None]) -> str:
    """Write ``data/CLIP.mp4``, ``labels/CLIP.json`` and ``manifest.json``.

    A sample gets the fields ``activity``, ``split`` and ``region_SLUG`` of each active region; a
    frame gets ``joints``, COCO-17 keypoints from 0 to 1. The video is the clip that the build cut
    (a hard link where possible), else it is made from the shard's pictures.

    Returns:
        One line to report. Clips that have neither are left out and counted.
    """
    (out / "data").mkdir()
    (out / "labels").mkdir()
    index = []
    for path in contents.shard_paths:
        with Shard(path) as shard:
            for number in range(len(shard)):
                row = shard.row(number, COLUMNS)
                names = {"data": f"data/{row['clip_id']}.mp4"}
                names["labels"] = f"labels/{row['clip_id']}.json"
                if not _place_video(contents.data_dir / "clips", row, out / names["data"]):
                    continue
                write_text(out / names["labels"], json.dumps(_labels(row)))
                index.append(names)
        on_shard()
    manifest = {
        "type": "eta.core.datasets.LabeledVideoDataset",
        "description": f"{contents.info.get('name', 'MuscleMap')}, exported by MuscleMap",
        "index": index,
    }
    write_text(out / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    kind = "fiftyone.types.FiftyOneVideoLabelsDataset"
    left_out = contents.clip_count - len(index)
    note = f"; {left_out} clips have neither pictures nor a cut and are left out" * bool(left_out)
    return f'{len(index)} videos{note}: fiftyone.Dataset.from_dir("{out}", dataset_type={kind})'


def _place_video(clips: Path, row: Mapping[str, Any], target: Path) -> bool:
    """Whether there is a video now."""
    cut = clips / target.name
    if cut.is_file():
        link_or_copy(cut, target)
        return True
    if row["rgb"] is None:
        return False
    # What yuv420p cannot have, an odd line or column, is left out.
    height, width = row["height"] // 2 * 2, row["width"] // 2 * 2
    with video_writer(target, height, width, row["fps"]) as video:
        for picture in row["rgb"]:
            video.write(simplejpeg.decode_jpeg(picture)[:height, :width].tobytes())
    return True


def _labels(row: Mapping[str, Any]) -> dict[str, object]:
    """ETA's ``VideoLabels`` of a clip; frames count from 1."""
    fields = {"activity": row["activity"], "split": row["split"]}
    for muscle, active in zip(load_muscles(), row["muscles"], strict=True):
        if active:
            fields[f"region_{muscle.slug}"] = "active"
    labels: dict[str, object] = {
        "attrs": {
            "attrs": [
                {"type": "eta.core.data.CategoricalAttribute", "name": name, "value": value}
                for name, value in fields.items()
            ]
        }
    }
    if row["skeleton"] is not None:
        skeleton = stored_skeleton(row)
        place = skeleton[..., :2] / (row["width"], row["height"])
        labels["frames"] = {
            str(t + 1): {
                "frame_number": t + 1,
                "keypoints": {
                    "keypoints": [
                        {
                            "name": "joints",
                            "label": JOINTS[joint],
                            "points": [place[t, person, joint].tolist()],
                            "confidence": [float(skeleton[t, person, joint, 2])],
                        }
                        for person in range(skeleton.shape[1])
                        for joint in range(JOINT_COUNT)
                        if np.isfinite(place[t, person, joint]).all()
                    ]
                },
            }
            for t in range(row["frames"])
        }
    return labels
