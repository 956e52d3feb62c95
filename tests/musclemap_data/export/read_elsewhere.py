"""Reads an export with the other tool's own loader, and prints what it found as JSON.

    .venv-exports/lerobot/bin/python tests/musclemap_data/export/read_elsewhere.py lerobot FOLDER

Runs in that tool's environment (``make test-exports``), so it imports nothing of ours.
"""

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["FIFTYONE_DO_NOT_TRACK"] = "true"


def lerobot(folder: Path) -> dict[str, object]:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    every = LeRobotDataset("musclemap", root=folder)
    frame = every[13]
    later = LeRobotDataset(
        "musclemap",
        root=folder,
        episodes=[1],
        delta_timestamps={"observation.images.rgb": [0, 1 / every.fps]},
    )
    return {
        "fps": every.fps,
        "frames": len(every),
        "tasks": [every[int(each["dataset_from_index"])]["task"] for each in every.meta.episodes],
        "frame": {
            name: value.tolist()
            for name, value in frame.items()
            if name not in ("task", "observation.images.rgb")
        },
        "picture": (frame["observation.images.rgb"] * 255).round().int().tolist(),
        "window": list(later[0]["observation.images.rgb"].shape),
        "mean": every.meta.stats["observation.state"]["mean"].tolist(),
    }


def fiftyone(folder: Path) -> dict[str, object]:
    from fiftyone.utils.data.importers import FiftyOneVideoLabelsDatasetImporter

    found = {}
    with FiftyOneVideoLabelsDatasetImporter(dataset_dir=str(folder)) as samples:
        for path, _, fields, frames in samples:
            found[Path(path).stem] = {
                "there": Path(path).is_file(),
                "fields": {name: field.label for name, field in fields.items()},
                "joints": {
                    number: {
                        each.label: [*each.points[0], *each.confidence]
                        for each in frame["joints"].keypoints
                    }
                    for number, frame in frames.items()
                },
            }
    return found


def mmaction2(folder: Path) -> dict[str, object]:
    from mmaction.datasets import PoseDataset, VideoDataset

    def plain(data: dict) -> dict[str, object]:
        return {
            name: value.tolist() if hasattr(value, "tolist") else value
            for name, value in data.items()
        }

    poses = PoseDataset(
        ann_file=str(folder / "musclemap_skeleton.pkl"),
        pipeline=[],
        split="train",
        multi_class=True,
        num_classes=20,
    )
    videos = VideoDataset(
        ann_file=str(folder / "train_video.txt"),
        pipeline=[],
        data_prefix={"video": "clips"},
        multi_class=True,
        num_classes=20,
    )
    return {
        "poses": [plain(poses.get_data_info(i)) for i in range(len(poses))],
        "videos": [plain(videos.get_data_info(i)) for i in range(len(videos))],
    }


if __name__ == "__main__":
    tools = {each.__name__: each for each in (lerobot, fiftyone, mmaction2)}
    print(json.dumps(tools[sys.argv[1]](Path(sys.argv[2]))))
