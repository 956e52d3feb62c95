"""Rebuild the manifests of real videos in ``annotations/videos/``.

    python -m annotations.derive_videos SEGMENTS_CSV [--check]

``SEGMENTS_CSV`` lists segments of public sets, one a row, with the columns
``source,youtube_id,start_s,end_s,activity,split,licence,tier``. Sources without a clear licence
(Countix) are not used. The split is our own, by the hash of the video id; the split of the source
set is dropped. The second tier, whole demonstrations, is made by ``demonstrations.py``.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from musclemap_data.catalog import annotations_dir, read_table
from musclemap_data.errors import UserError
from musclemap_data.manifest import DEMONSTRATION, SEGMENT
from musclemap_data.splits import Side, held_out, split_among

SEGMENT_COLUMNS = (
    "source",
    "youtube_id",
    "start_s",
    "end_s",
    "activity",
    "split",
    "licence",
    "tier",
)
MANIFEST_COLUMNS = (
    "clip_id",
    "video_id",
    "url",
    "start_s",
    "end_s",
    "activity",
    "split",
    "source",
    "licence",
)


@dataclass(frozen=True)
class PublicSet:
    """A public set whose segments may be shipped."""

    name: str
    classes: str
    licence: str


# In order of preference when two sets hold the same seconds of one video.
PUBLIC_SETS = {
    "kinetics600": PublicSet("kinetics600", "kinetics", "CC-BY-4.0"),
    "kinetics400": PublicSet("kinetics400", "kinetics", "CC-BY-4.0"),
    "activitynet1.3": PublicSet("activitynet", "activitynet", "MIT"),
}
MAX_CLIP_S = 10.0
"""Longer segments are cut to the 10 s in their middle: one length for all sets."""
MIN_CLIP_S = 2.0
"""Shorter segments hold less than one repetition and are left out."""
YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")


@dataclass(frozen=True)
class Segment:
    """A labelled stretch of one YouTube video, already cut to clip length.

    A demonstration is a whole video, or all of it between two times; its end may be unknown.
    """

    source: str
    video_id: str
    start_s: float
    end_s: float | None
    activity: str
    tier: str = SEGMENT

    @property
    def clip_id(self) -> str:
        """Video id and bounds in milliseconds: stable, unique and safe as a file name.

        YouTube ids may begin with a hyphen, which a command line takes for an option: hence
        the leading ``yt_``.
        """
        if self.tier == DEMONSTRATION:
            return f"yt_{self.video_id}_{self.activity}"
        return f"yt_{self.video_id}_{self.start_s * 1000:07.0f}_{self._end_s * 1000:07.0f}"

    def overlaps(self, other: Segment) -> bool:
        """True if both share more than an instant of the same video."""
        same = self.video_id == other.video_id
        return same and self.start_s < other._end_s and other.start_s < self._end_s

    @property
    def _end_s(self) -> float:
        return math.inf if self.end_s is None else self.end_s


def load_class_map(directory: Path) -> dict[tuple[str, str], str | None]:
    """Map (data set, class) to one of our activities, or to None for a listed non-match."""
    columns = ("dataset", "class", "activity", "reason")
    return {
        (row["dataset"], row["class"]): row["activity"] or None
        for _, row in read_table(directory / "class_map.csv", columns)
    }


def select_segments(
    rows: Iterable[Mapping[str, str]], classes: Mapping[tuple[str, str], str | None]
) -> tuple[list[Segment], Counter[str]]:
    """Map, cut and de-duplicate segments.

    Of overlapping segments of one video with the same activity the one of the preferred set is
    kept; if their activities differ, all are left out, as nobody can say which is right.

    Args:
        rows: Rows with ``SEGMENT_COLUMNS``.
        classes: From :func:`load_class_map`.

    Returns:
        The segments, sorted by video and start, and a count of rows by what became of them.

    Raises:
        UserError: If a class is not in the class map or an id is not a YouTube id.
    """
    fate: Counter[str] = Counter()
    by_video: dict[str, list[Segment]] = defaultdict(list)
    for row in rows:
        public_set = PUBLIC_SETS.get(row["source"])
        if public_set is None:
            fate["licence unclear"] += 1
            continue
        key = (public_set.classes, row["activity"])
        if key not in classes:
            raise UserError(f"class {key} is not in class_map.csv; add it, with or without match")
        if not YOUTUBE_ID.fullmatch(row["youtube_id"]):
            raise UserError(f"{row['youtube_id']!r} is not a YouTube id")
        activity = classes[key]
        start_s, end_s = float(row["start_s"]), float(row["end_s"])
        if activity is None:
            fate["no activity of ours"] += 1
        elif end_s - start_s < MIN_CLIP_S:
            fate[f"shorter than {MIN_CLIP_S:g} s"] += 1
        else:
            if end_s - start_s > MAX_CLIP_S:
                start_s = (start_s + end_s - MAX_CLIP_S) / 2
                end_s = start_s + MAX_CLIP_S
            video = row["youtube_id"]
            segment = Segment(row["source"], video, round(start_s, 2), round(end_s, 2), activity)
            by_video[video].append(segment)
    kept: list[Segment] = []
    for segments in by_video.values():
        kept.extend(_without_overlap(segments, fate))
    fate["kept"] = len(kept)
    return sorted(kept, key=lambda s: (s.video_id, s.start_s)), fate


def _without_overlap(segments: list[Segment], fate: Counter[str]) -> list[Segment]:
    rank = {name: i for i, name in enumerate(PUBLIC_SETS)}
    segments = sorted(segments, key=lambda s: (rank[s.source], s.start_s, s.end_s, s.activity))
    disputed = {s for s in segments for t in segments if s.overlaps(t) and s.activity != t.activity}
    kept: list[Segment] = []
    for segment in segments:
        if segment in disputed:
            fate["two activities for the same seconds"] += 1
        elif any(segment.overlaps(other) for other in kept):
            fate["same seconds already kept"] += 1
        else:
            kept.append(segment)
    return kept


def place(
    segments: Iterable[Segment], new: Mapping[str, Side | None]
) -> tuple[list[tuple[Segment, str]], Counter[str]]:
    """Segments with their split, and how many have none, by reason.

    A new activity is scored on one side only, whatever the side of the video. Where the video has
    other clips on another side the clip of the new activity is left out: no video is on two sides.

    Args:
        segments: From :func:`select_segments`.
        new: The held-out activities and their sides, from :func:`musclemap_data.splits.held_out`.
    """
    left_out: Counter[str] = Counter()
    placed: list[tuple[Segment, str]] = []
    for s in segments:
        split = split_among(s.video_id, s.activity, new)
        if split is None:
            left_out["new activity in a video of the train side"] += 1
        else:
            placed.append((s, split))
    sides: dict[str, set[str]] = defaultdict(set)
    for s, split in placed:
        sides[s.video_id].add(split.split("_")[0])
    kept = [(s, split) for s, split in placed
            if len(sides[s.video_id]) == 1 or s.activity not in new]  # fmt: skip
    if gone := len(placed) - len(kept):
        left_out["new activity in a video with clips of another side"] = gone
    return kept, left_out


def manifest_row(segment: Segment, split: str) -> list[str]:
    """The cells of ``manifest.COLUMNS``."""
    s = segment
    url = f"https://www.youtube.com/watch?v={s.video_id}"
    bounds = [f"{s.start_s:.2f}", "" if s.end_s is None else f"{s.end_s:.2f}"]
    return [s.clip_id, s.video_id, url, *bounds, s.activity, split]


def manifest_rows(
    segments: Iterable[Segment], new: Mapping[str, Side | None]
) -> tuple[list[list[str]], Counter[str]]:
    """Rows of ``MANIFEST_COLUMNS``, and what was left out, as :func:`place` says."""
    placed, left_out = place(segments, new)
    rows = []
    for segment, split in placed:
        public_set = PUBLIC_SETS[segment.source]
        rows.append([*manifest_row(segment, split), public_set.name, public_set.licence])
    return rows, left_out


def derive_manifests(directory: Path, segments_path: Path) -> tuple[dict[Path, str], Counter[str]]:
    """Path and text of every manifest, and what became of the segments.

    ``default.csv`` holds all rows; the other files hold the rows of one public set.
    """
    table = read_table(segments_path, SEGMENT_COLUMNS)
    segments, fate = select_segments((row for _, row in table), load_class_map(directory))
    rows, left_out = manifest_rows(segments, held_out(videos=True))
    fate["kept"] -= left_out.total()
    fate += left_out
    files = {directory / "default.csv": csv_text(MANIFEST_COLUMNS, rows)}
    for name in (public_set.name for public_set in PUBLIC_SETS.values()):
        column = MANIFEST_COLUMNS.index("source")
        chosen = [r for r in rows if r[column] == name]
        files[directory / f"{name}.csv"] = csv_text(MANIFEST_COLUMNS, chosen)
    return files, fate


def csv_text(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table as the text of a CSV file."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line described at the top of this file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m annotations.derive_videos")
    parser.add_argument("segments", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    options = parser.parse_args(arguments)
    directory = annotations_dir() / "videos"
    files, fate = derive_manifests(directory, options.segments)
    return write_files(files, fate, check=options.check)


def write_files(files: Mapping[Path, str], fate: Counter[str], *, check: bool) -> int:
    """Write the files that have changed, print what became of the rows, return an exit code.

    Args:
        files: path -> text.
        fate: what became of the rows.
        check: write nothing; the exit code is 1 if a file would change.
    """
    stale = 0
    for path, text in files.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale += 1
            print(f"{path.name}: {'differs' if check else 'written'}")
            if not check:
                path.write_text(text, encoding="utf-8")
    for reason, count in fate.most_common():
        print(f"{count:6d}  {reason}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
