"""What is looked at: the proposals of ``musclemap segment``, or the clips of a built data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from musclemap_data.errors import UserError
from musclemap_data.ledger import Ledger
from musclemap_data.manifest import is_remote
from musclemap_data.review.opinions import Stretch
from musclemap_data.segment.proposals import PROPOSALS_FILE, read_proposals

DECISIONS = Path("review") / "decisions.csv"
"""Where decisions on proposals lie in a data directory."""
FLAGS = Path("review") / "built.csv"
"""Where the decisions on built clips lie: their ids are other ones than those of proposals."""


@dataclass(frozen=True)
class Video:
    """A video on this machine.

    Attributes:
        path: the file; it may be gone.
        url: where it came from: an address, or the absolute path of a file of the user's.
        title, uploader, licence: as its site states them; empty where it does not.
    """

    path: Path
    url: str
    title: str = ""
    uploader: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Material:
    """Stretches to look at, and their videos by id."""

    stretches: list[Stretch]
    videos: dict[str, Video]


def proposed(data_dir: Path) -> Material:
    """The proposals in a data directory.

    Raises:
        UserError: there are none, or their file is malformed.
    """
    path = data_dir / PROPOSALS_FILE
    if not path.is_file():
        raise UserError(
            f"There are no proposals in {data_dir}. Make some first: `musclemap segment`."
        )
    videos = _ledger_videos(data_dir)
    stretches = []
    for each in read_proposals(path):
        stretches.append(
            Stretch(
                each.proposal, each.video_id, each.start, each.end, each.activity, each.suggested,
                each.repetitions or None, each.hold, each.confidence, "; ".join(each.reasons),
                each.left_out, each.borders,
            )
        )  # fmt: skip
        if each.video_id not in videos:
            file = data_dir / each.video
            videos[each.video_id] = Video(file, str(file.resolve()))
    if len({stretch.clip for stretch in stretches}) < len(stretches):
        raise UserError(f"{path}: a proposal's id is used twice. Make them anew.")
    return Material(stretches, videos)


def built(data_dir: Path) -> Material:
    """The clips of a data set that are in its shards.

    Raises:
        UserError: there is no ledger.
    """
    with Ledger(data_dir, read_only=True) as ledger:
        clips = ledger.clips()
    return Material(
        [
            Stretch(clip.clip_id, clip.video.video_id, clip.start_s, clip.end_s, clip.activity)
            for clip in clips
            if clip.shard_row is not None
        ],
        _ledger_videos(data_dir),
    )


def _ledger_videos(data_dir: Path) -> dict[str, Video]:
    if not (data_dir / "ledger.sqlite").exists():
        return {}
    with Ledger(data_dir, read_only=True) as ledger:
        return {
            video.video_id: Video(
                data_dir / (video.file or f"videos/{video.video_id}"),
                video.url if is_remote(video.url) else video.local_path or video.url,
                video.title or "",
                video.uploader or "",
                video.licence or "",
            )
            for video in ledger.videos()
        }
