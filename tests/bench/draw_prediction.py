"""Takes the README's picture of ``musclemap predict``: a moment of the quickstart's overlay video.

python -m tests.bench.draw_prediction data/quickstart docs/images/prediction.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import simplejpeg

from musclemap_data.extract.decode import iterate_frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("quickstart", type=Path, help="what `musclemap quickstart` has written")
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=0.85, help="the moment, as a share")
    chosen = parser.parse_args()
    frames = list(iterate_frames(chosen.quickstart / "prediction" / "overlay.mp4"))
    frame = frames[int(chosen.share * len(frames))]
    chosen.out.write_bytes(simplejpeg.encode_jpeg(frame.copy(), quality=88, colorspace="RGB"))
    print(f"{chosen.out}: one moment of the overlay video (synthetic)")


if __name__ == "__main__":
    main()
