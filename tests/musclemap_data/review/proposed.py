"""A data directory with tiny videos and proposals, as `musclemap segment` leaves them."""

from __future__ import annotations

import shutil
from pathlib import Path

from musclemap_data.segment.proposals import Proposal, write_proposals
from tests.conftest import write_video

LABELS = ("squat", "push_up", "lunge", "plank", "crunch")
SECONDS, FPS = 9.0, 10


def write_proposed(
    data: Path, videos: int, each: int = 4, *, files: bool = True, label: str = ""
) -> list[str]:
    """Videos and ``each`` proposals of two seconds in every one; gives the proposals' ids.

    Args:
        files: write the videos; without, they are only named.
        label: of all proposals; else they change.
    """
    rows = []
    first = data / "videos" / "v0000.mp4"
    for number in range(videos):
        name = f"v{number:04}"
        if files and number == 0:
            write_video(first, seconds=SECONDS, fps=FPS)
        elif files:
            shutil.copy(first, data / "videos" / f"{name}.mp4")
        rows += [
            Proposal(
                video=f"videos/{name}.mp4",
                video_id=name,
                proposal=f"{name}_{place}",
                start=2.0 * place + 0.5,
                end=2.0 * place + 2.0,
                activity=label or LABELS[(number + place) % 5],
                repetitions=2.0,
                confidence=0.5 + 0.1 * place,
                reasons=("a period of 0.9 s", "one person"),
                borders=tuple(2.0 * place + at for at in (0.5, 1.2, 2.0)),
            )
            for place in range(each)
        ]
    write_proposals(data / "segment" / "proposals.csv", rows)
    return [row.proposal for row in rows]
