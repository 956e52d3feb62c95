"""Where the picture of a video changes from one shot to the next, found by ffmpeg's ``scdet``."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from musclemap_data.errors import UserError
from musclemap_data.ffmpeg import INPUT_OPTIONS, ffmpeg_command

LEAST_CHANGE = 8.0
"""``scdet``'s score, percent of the brightness: how much more two frames differ than the two before
them. ffmpeg advises 8 to 14."""
SHORT_SIDE = 180
LONGEST_RUN_S = 1800.0


def find_cuts(video: Path) -> list[float]:
    """When the picture changes at once, seconds from the start of the file.

    Slow dissolves are not found: what the skeleton does there decides.

    Raises:
        UserError: ffmpeg cannot read the video.
    """
    side = SHORT_SIDE
    command = ffmpeg_command(
        f"file:{video}",
        "-",
        reading={**INPUT_OPTIONS, "copyts": None},
        writing={"format": "null", "fps_mode": "passthrough"},
        filters=[
            ("scale", {"w": f"if(gt(iw,ih),-2,{side})", "h": f"if(gt(iw,ih),{side},-2)"}),
            ("scdet", {"threshold": LEAST_CHANGE}),
        ],
        log="info",
    )
    try:
        done = subprocess.run(command, capture_output=True, timeout=LONGEST_RUN_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{video}: ffmpeg did not end within {LONGEST_RUN_S:.0f} s") from error
    said = done.stderr.decode("utf-8", "replace")
    if done.returncode:
        last = (said.strip().splitlines() or ["no message"])[-1][:200]
        raise UserError(f"{video} cannot be read: {last}")
    return sorted(float(time) for time in re.findall(r"lavfi\.scd\.time: ([0-9.]+)", said))
