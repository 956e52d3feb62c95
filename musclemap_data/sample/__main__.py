"""``python -m musclemap_data.sample OUT_DIR``: renders the synthetic sample."""

from __future__ import annotations

import argparse
from pathlib import Path

from musclemap_data.sample.motions import EXERCISES
from musclemap_data.sample.plan import SAMPLE_SIZES
from musclemap_data.sample.write import render_exercise, render_sample


def main() -> None:
    """Reads the arguments and renders."""
    parser = argparse.ArgumentParser(description="Render the synthetic sample videos.")
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--size", choices=sorted(SAMPLE_SIZES), default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--truth", action="store_true", help="also write joints, flow and phase")
    parser.add_argument(
        "--activity",
        choices=sorted(EXERCISES),
        metavar="NAME",
        help="one video of this activity instead, with its tool (barbell_squat, pull_up, ...)",
    )
    chosen = parser.parse_args()
    if chosen.activity:
        print(render_exercise(chosen.activity, chosen.out_dir, seed=chosen.seed))
        return
    manifest = render_sample(
        chosen.out_dir,
        size=chosen.size,
        seed=chosen.seed,
        workers=chosen.workers,
        truth=chosen.truth,
        progress=lambda done, total: print(f"synthetic video {done} of {total}", flush=True),
    )
    print(manifest)


if __name__ == "__main__":
    main()
