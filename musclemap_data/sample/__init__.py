"""The embedded sample: synthetic workout videos with exact ground truth, rendered on the spot.

``render_sample`` writes the videos and their manifest; ``SyntheticVideo`` gives single frames and
the truth about them without a file. Everything here is synthetic: nobody was filmed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from musclemap_data.sample.plan import SAMPLE_SIZES, ClipPlan, SampleSize, VideoPlan, plan_sample

if TYPE_CHECKING:
    from musclemap_data.sample.video import SyntheticVideo
    from musclemap_data.sample.write import render_sample

__all__ = [
    "SAMPLE_SIZES",
    "ClipPlan",
    "SampleSize",
    "SyntheticVideo",
    "VideoPlan",
    "plan_sample",
    "render_sample",
]


def __getattr__(name: str) -> Any:
    # The renderer needs numba, OpenCV and PyAV; load them only for who renders.
    if name == "render_sample":
        from musclemap_data.sample.write import render_sample

        return render_sample
    if name == "SyntheticVideo":
        from musclemap_data.sample.video import SyntheticVideo

        return SyntheticVideo
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
