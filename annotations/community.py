"""The community's list: clips that people reviewed and offer by pull request.

    python -m annotations.community                          # check the list; needs no video
    python -m annotations.community --add reviewed.csv --by ab   # take over reviewed clips

A line is a fact, never a video: an address, seconds, an activity, who looked, and the licence that
the site states. ``musclemap review manifest`` writes what ``--add`` takes over.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from musclemap_data.catalog import annotations_dir, load_activities, read_table
from musclemap_data.errors import UserError
from musclemap_data.files import write_text
from musclemap_data.manifest import COLUMNS, SEGMENT, Clip, bundled_manifests, read_manifest
from musclemap_data.splits import Side, held_out, split_among

COMMUNITY_COLUMNS = (*COLUMNS, "source", "licence")
COMMUNITY_LIST = annotations_dir() / "videos" / "community.csv"
SHORTEST_S, LONGEST_S = 0.5, 60.0
_YOUTUBE = re.compile(r"https://www\.youtube\.com/watch\?v=([A-Za-z0-9_-]{11})")


def find_problems(path: Path, bundled: Sequence[Path]) -> list[str]:
    """What is wrong with a list, one line each; nothing of an empty one.

    Args:
        path: the list.
        bundled: the other lists of the project, with which it must agree.

    Raises:
        UserError: it is no table like ours, or no manifest: with all mistakes and their lines.
    """
    rows = list(read_table(path, COMMUNITY_COLUMNS))
    if not rows:
        return []
    activities = load_activities()
    clips = read_manifest(path, activities)
    others = [clip for each in bundled for clip in read_manifest(each, activities)]
    known = {clip.clip_id for clip in others}
    new = held_out(videos=True)
    problems = []
    for (line, row), clip in zip(rows, clips, strict=True):
        found = [*_of_line(row, clip, new), *_against(clip, others, clips)]
        if clip.clip_id in known:
            found.append(f"clip_id {clip.clip_id!r} is in another list already")
        problems += [f"{path.name}: line {line}: {text}" for text in found]
    if [clip.clip_id for clip in clips] != sorted(clip.clip_id for clip in clips):
        problems.append(f"{path.name}: sort the lines by clip_id, so that changes are easy to read")
    return problems


def _of_line(row: Mapping[str, str], clip: Clip, new: Mapping[str, Side | None]) -> list[str]:
    """What is wrong with a line, whatever else the lists say."""
    found = []
    if not row["source"].strip() or not row["licence"].strip():
        found.append("source (who looked at it) and licence must be given; write unknown, if so")
    match = _YOUTUBE.fullmatch(clip.url)
    if not clip.url.startswith("https://"):
        found.append("the url must begin with https://: a list names no local file")
    elif "youtu" in clip.url and not (match and match[1] == clip.video_id):
        found.append("write https://www.youtube.com/watch?v=ID, with the ID as video_id")
    if clip.end_s is None or not SHORTEST_S <= clip.end_s - clip.start_s <= LONGEST_S:
        found.append(f"a clip has {SHORTEST_S:g} to {LONGEST_S:g} s, with its end")
    wanted = split_among(clip.video_id, clip.activity, new)
    if clip.split != wanted:
        found.append(f"the split of this video is {wanted or 'none: leave it out'}")
    return found


def _against(clip: Clip, others: Iterable[Clip], own: Iterable[Clip]) -> list[str]:
    """How a clip disagrees with other clips of its video, or with the split of its activity."""
    found = []
    for other in others:
        same_video = other.video_id == clip.video_id
        if same_video and other.split.partition("_")[0] != clip.split.partition("_")[0]:
            found.append(f"its video is in {other.split} in another list ({other.clip_id})")
        if same_video and other.tier == SEGMENT and _overlap(clip, other):
            found.append(f"these seconds are in another list already ({other.clip_id})")
    found += [
        f"these seconds are also those of {other.clip_id}"
        for other in own
        if other.video_id == clip.video_id and other.clip_id < clip.clip_id
        and _overlap(clip, other)
    ]  # fmt: skip
    return found


def _overlap(a: Clip, b: Clip) -> bool:
    ends = [float("inf") if clip.end_s is None else clip.end_s for clip in (a, b)]
    return max(a.start_s, b.start_s) < min(ends)


def add_clips(path: Path, reviewed: Path, by: str, licence: str, bundled: Sequence[Path]) -> int:
    """Take over the clips of a manifest of reviewed clips that no list has; sorts the list.

    Args:
        path: the community's list.
        reviewed: a manifest of ``musclemap review manifest``.
        by: who looked at them.
        licence: as the site states it.
        bundled: the other lists of the project.

    Returns:
        Clips that are new in the list.

    Raises:
        UserError: a clip is a local file; or as ``find_problems``. The list is left as it was.
    """
    activities = load_activities()
    rows = {row["clip_id"]: row for _, row in read_table(path, COMMUNITY_COLUMNS)}
    known = {clip.clip_id for each in bundled for clip in read_manifest(each, activities)}
    added = [
        clip
        for clip in read_manifest(reviewed, activities)
        if clip.tier == SEGMENT and clip.clip_id not in known and clip.clip_id not in rows
    ]
    new = held_out(videos=True)
    for clip in added:
        split = split_among(clip.video_id, clip.activity, new)
        if split is None:
            continue  # a new activity in a video of the train side has no place
        placed = replace(clip, split=split)
        end = "" if placed.end_s is None else f"{placed.end_s:.2f}"
        cells = [
            placed.clip_id, placed.video_id, placed.url, f"{placed.start_s:.2f}", end,
            placed.activity, placed.split, f"community:{by}", licence,
        ]  # fmt: skip
        rows[clip.clip_id] = dict(zip(COMMUNITY_COLUMNS, cells, strict=True))
    before = path.read_text(encoding="utf-8")
    text = io.StringIO()
    writer = csv.DictWriter(text, COMMUNITY_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows[name] for name in sorted(rows))
    write_text(path, text.getvalue())
    try:
        problems = find_problems(path, bundled)
        if problems:
            raise UserError("\n".join(problems))
    except UserError:
        write_text(path, before)
        raise
    return text.getvalue().count("\n") - before.count("\n")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line described at the top of this file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m annotations.community")
    parser.add_argument("--add", type=Path, metavar="MANIFEST", help="reviewed clips to take over")
    parser.add_argument("--by", default="", help="who looked at them: initials or a user name")
    parser.add_argument("--licence", default="unknown", help="as the site states it")
    parser.add_argument("--list", type=Path, default=COMMUNITY_LIST, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    bundled = [path for path in bundled_manifests() if path != options.list]
    try:
        if options.add:
            if not re.fullmatch(r"[\w.-]{1,40}", options.by):
                parser.error("--add needs --by: letters and digits")
            count = add_clips(options.list, options.add, options.by, options.licence, bundled)
            print(f"{count} clips added to {options.list}")
            return 0
        problems = find_problems(options.list, bundled)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{options.list.name}: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
