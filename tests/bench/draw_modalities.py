"""Draws the README's picture of one clip's modalities, from the synthetic sample.

    python -m tests.bench.draw_modalities DATA_DIR OUT.png [--clip CLIP_ID]

``DATA_DIR`` is the data set that ``musclemap quickstart`` builds. Only synthetic videos are drawn.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg

from musclemap_data.draw.body_picture import body_map_png
from musclemap_data.draw.flow import flow_picture
from musclemap_data.draw.skeleton import draw_skeleton
from musclemap_data.shards import iterate_rows

HEIGHT = 240
TIMES = (0.15, 0.5, 0.85)
INK = (40, 40, 40)


def caption(image: np.ndarray, text: str) -> np.ndarray:
    """The picture with a line of text over it."""
    bar = np.full((26, image.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, text, (4, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
    return np.concatenate([bar, image])


def draw(row: dict[str, Any]) -> np.ndarray:
    """A sheet: RGB with skeleton, RGB difference and flow at three times, and the body map."""
    people = row["skeleton_people"]
    skeleton = np.array(row["skeleton"], np.float32).reshape(row["frames"], people, 17, 3)
    names = ("RGB with skeleton", "RGB difference (x 3)", "TV-L1 flow")
    columns = []
    for name in names:
        pictures = []
        for share in TIMES:
            t = round(share * (row["frames"] - 2))
            if name == names[0]:
                picture = draw_skeleton(simplejpeg.decode_jpeg(row["rgb"][t]), skeleton[t])
            elif name == names[1]:
                difference = simplejpeg.decode_jpeg(row["rgb_diff"][t])
                picture = np.clip(difference.astype(int) * 3, 0, 255).astype(np.uint8)
            else:
                image = simplejpeg.decode_jpeg(row["flow"][t], colorspace="GRAY")
                picture = flow_picture(image, row["flow_bound_px"])
            width = round(picture.shape[1] * HEIGHT / picture.shape[0])
            pictures.append(cv2.resize(picture, (width, HEIGHT), interpolation=cv2.INTER_AREA))
        columns.append(caption(np.concatenate(pictures), name))
    body = body_map_png([float(active) for active in row["muscles"]], height_px=3 * HEIGHT)
    title = f"regions of {row['activity'].replace('_', ' ')}"
    columns.append(caption(body, title))
    gap = np.full((columns[0].shape[0], 6, 3), 255, np.uint8)
    return np.concatenate([part for column in columns for part in (column, gap)][:-1], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clip", help="clip id; default: the first of a lunge or a squat")
    chosen = parser.parse_args()
    for _path, _index, row in iterate_rows(chosen.data, None):
        if chosen.clip in (None, row["clip_id"]) and (chosen.clip or row["activity"] == "lunge"):
            sheet = cv2.cvtColor(draw(row), cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(chosen.out), sheet)
            print(f"{chosen.out}: {row['clip_id']}, {row['activity']} (synthetic)")
            return
    raise SystemExit("no such clip in the data set")


if __name__ == "__main__":
    main()
