"""A ledger that was lost, made anew from what is there.

A row of a shard says which clip it is, of which file it was made and how; a file in ``videos/`` is
named after its video. Only what happened on the way is lost: times, attempts, what sites say of a
video, and failures, which are tried again.
"""

from __future__ import annotations

from pathlib import Path

from musclemap_data.catalog import SPLITS
from musclemap_data.errors import StageError, UserError
from musclemap_data.extract.source import probe
from musclemap_data.files import file_sha256
from musclemap_data.ledger import Ledger
from musclemap_data.ledger.rows import VideoFacts, VideoRow
from musclemap_data.shards import Shard, list_shards


def recover(ledger: Ledger, data_dir: Path) -> None:
    """Give clips their places in the shards that are there, and videos their files.

    Args:
        ledger: one that has its plan, but no clip of which has a place.
        data_dir: of an earlier build. Where there was none, nothing happens.
    """
    places, made_of = _read_shards(data_dir)
    files = {path.stem: path for path in (data_dir / "videos").glob("[!.]*") if path.is_file()}
    for video in ledger.videos() if files else ():
        path = files.get(video.video_id) if video.state == "planned" else None
        facts = _facts(path, video, made_of.get(video.video_id)) if path else None
        if facts is not None:
            ledger.video_downloaded(video.video_id, facts, 0.0)
    ledger.place_clips(places)  # at once and last: a run that is killed before begins anew


def _read_shards(
    data_dir: Path,
) -> tuple[list[tuple[str, int, str]], dict[str, tuple[str, str]]]:
    """(split, number of the shard and clip id of each row, video id -> its url and SHA-256)."""
    places: list[tuple[str, int, str]] = []
    made_of: dict[str, tuple[str, str]] = {}
    for split in SPLITS:
        for path in list_shards(data_dir, split):
            number = int(path.stem.rpartition("-")[2])
            try:
                with Shard(path) as shard:
                    rows = shard.table(["clip_id", "video_id", "url", "source_sha256"]).to_pylist()
            except UserError:
                continue  # damaged: it is built again
            places += [(split, number, row["clip_id"]) for row in rows]
            made_of |= {row["video_id"]: (row["url"], row["source_sha256"]) for row in rows}
    return places, made_of


def _facts(path: Path, video: VideoRow, made_of: tuple[str, str] | None) -> VideoFacts | None:
    """What is known of a file; None if it may not be that video.

    A local file of which there is no row is better copied again: that costs little, and it may have
    changed.
    """
    if made_of is None and video.local_path is not None:
        return None
    sha256 = file_sha256(path)
    if made_of not in (None, (video.url, sha256)):
        return None
    try:
        duration_s = probe(path, stage="download").duration_s
    except StageError:
        return None
    size = path.stat().st_size
    return VideoFacts(f"videos/{path.name}", size, sha256, "found there", duration_s)
