"""The plan of a data set on its way into the next manifest: nothing of it is lost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from musclemap_data.catalog import NEW_SPLITS, Activity
from musclemap_data.errors import UserError
from musclemap_data.ledger import Ledger
from musclemap_data.ledger.rows import ClipRow
from musclemap_data.manifest import DEMONSTRATION, SEGMENT, Clip, is_remote, partition
from musclemap_data.splits import held_out, partition_of, split_on


@dataclass(frozen=True)
class Plan:
    """The plan of a data set: its clips, and the whole videos in which clips are looked for."""

    clips: list[ClipRow]
    whole: list[ClipRow]


def planned(data_dir: Path) -> Plan:
    """The plan of a data set; an empty one where nothing was downloaded."""
    if not (data_dir / "ledger.sqlite").exists():
        return Plan([], [])
    with Ledger(data_dir, read_only=True) as ledger:
        return Plan(ledger.clips(), ledger.demonstrations())


def planned_clip(row: ClipRow, folder: Path) -> Clip:
    """A row of the plan as a line of a manifest in a folder.

    Raises:
        UserError: see ``url_within``.
    """
    url = row.video.url if is_remote(row.video.url) else row.video.local_path or row.video.url
    return Clip(
        row.clip_id, row.video.video_id, url_within(url, folder), row.start_s, row.end_s,
        row.activity, row.split, DEMONSTRATION if row.state == "whole" else SEGMENT,
    )  # fmt: skip


def url_within(url: str, folder: Path) -> str:
    """An address, or the path of a local video, as a manifest in a folder names it.

    Raises:
        UserError: the video is not in the folder or below it.
    """
    if is_remote(url):
        return url
    source, here = Path(url).resolve(), folder.resolve()
    if source.is_relative_to(here):
        return source.relative_to(here).as_posix()
    common = os.path.commonpath([source.parent, here])
    raise UserError(
        f"{url} is not inside {folder}, and a manifest names local videos relative to itself. "
        f"Write it to a folder above them, such as {common}/"
    )


class Sides:
    """On which side a video lies, and which split a clip of it has."""

    def __init__(self, activities: Mapping[str, Activity], plan: Plan) -> None:
        rows = [*plan.whole, *plan.clips]
        self._video = {row.video.video_id: partition(row.split) for row in rows}
        for row in rows:  # its known clips say it, whatever new activities it shows
            if row.split not in NEW_SPLITS:
                self._video[row.video.video_id] = partition(row.split)
        self._scored = held_out(videos=True)
        self._new = {slug: each.new or slug in self._scored for slug, each in activities.items()}
        self._new |= {row.activity: row.split in NEW_SPLITS for row in rows if row.activity}

    def split(self, video_id: str, activity: str) -> str | None:
        """The split; None for a new activity in a video of the train side."""
        side = self._video.get(video_id) or partition_of(video_id)
        new = self._new.get(activity, False)
        return split_on(side, new=new, side=self._scored.get(activity))
