"""The second tier of the list of videos: whole demonstrations, named by public lists of exercises.

    python -m annotations.demonstrations PAIRS_CSV [--check]

``PAIRS_CSV`` has the columns ``PAIR_COLUMNS``: one activity and one YouTube id a row, and what is
known of the lists that name them. Only facts are taken: id, activity, times, counts. No video was
opened for it, so a pair is a hint; ``musclemap segment`` looks for the seconds, and a person
decides.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from annotations.derive_videos import (
    MANIFEST_COLUMNS,
    YOUTUBE_ID,
    Segment,
    csv_text,
    manifest_row,
    place,
    write_files,
)
from musclemap_data.catalog import annotations_dir, load_activities, read_table
from musclemap_data.errors import UserError
from musclemap_data.manifest import COLUMNS, DEMONSTRATION
from musclemap_data.splits import Side, held_out

PAIR_COLUMNS = (
    "activity",
    "video_id",
    "start_s",
    "end_s",
    "name_as_written",
    "lists",
    "independent_lists",
    "confirmed",
    "trust",
    "licences",
    "note",
)
DEMONSTRATION_COLUMNS = (*COLUMNS, "tier", "independent_lists", "trust", "attribution")
NOT_STATED = "none stated"
RESERVED = "reserved"
LIST_LICENCES = (
    (r"(?i)all rights reserved|personal use|scraped from", RESERVED),
    (r"Copyright 2026 Simeon Rinkenberger", "MIT, Copyright 2026 Simeon Rinkenberger"),
    (r"Unlicense", "Unlicense"),
    (r"AGPL-3\.0", "AGPL-3.0, author not known"),
    (r"GPL-3\.0", "GPL-3.0, author not known"),
    (r"CPAL-1\.0", "CPAL-1.0, author not known"),
    (r"Attribution-ShareAlike 4\.0", "CC-BY-SA-4.0, author not known"),
    (r"ISC\b", "ISC, author not known"),
    (r"MIT\b", "MIT, author not known"),
)
"""What stands in the licences of a list, and the attribution that follows; the first that fits.
Anything else states no licence. These licences ask for the author's name; where the pairs came
without it, that is said."""


def load_decisions(directory: Path) -> dict[tuple[str, str], bool]:
    """(video id, activity) -> whether the pair is kept, for pairs that needed a decision.

    Raises:
        UserError: a decision other than ``keep`` or ``leave out``, or one without a reason.
    """
    path = directory / "demonstration_decisions.csv"
    found = {}
    for line, row in read_table(path, ("video_id", "activity", "decision", "reason")):
        if row["decision"] not in ("keep", "leave out") or not row["reason"]:
            raise UserError(f"{path}: line {line}: decide keep or leave out, with a reason")
        found[row["video_id"], row["activity"]] = row["decision"] == "keep"
    return found


def attribution(licences: str) -> str:
    """The licences of the lists that name a pair, as ``LIST_LICENCES`` writes them.

    ``reserved`` only if every list reserves its rights; of others it is left out.
    """
    found = set()
    for text in licences.split(" | "):
        fits = [name for pattern, name in LIST_LICENCES if re.search(pattern, text)]
        found.add(fits[0] if fits else NOT_STATED)
    if found != {RESERVED}:
        found.discard(RESERVED)
    if len(found) > 1:
        found.discard(NOT_STATED)
    return "; ".join(sorted(found))


def select_pairs(
    rows: Iterable[Mapping[str, str]],
    decisions: Mapping[tuple[str, str], bool],
    segmented: Collection[str],
) -> tuple[dict[Segment, Mapping[str, str]], Counter[str]]:
    """The pairs that are shipped, and a count of the others by reason.

    Args:
        rows: with ``PAIR_COLUMNS``.
        decisions: from :func:`load_decisions`.
        segmented: ids of videos whose seconds the first tier has.

    Raises:
        UserError: an id that is no YouTube id, or an unknown activity.
    """
    fate: Counter[str] = Counter()
    activities = load_activities()
    by_video: dict[str, dict[Segment, Mapping[str, str]]] = defaultdict(dict)
    for row in rows:
        video, activity = row["video_id"], row["activity"]
        if not YOUTUBE_ID.fullmatch(video):
            raise UserError(f"{video!r} is not a YouTube id")
        if activity not in activities:
            raise UserError(f"video {video}: {activity!r} is not an activity")
        decided = decisions.get((video, activity))
        if row["trust"] == "C" and row["confirmed"] != "1":
            fate["little trust and not confirmed"] += 1
        elif attribution(row["licences"]) == RESERVED:
            fate["every list of it reserves its rights"] += 1
        elif decided is False:
            fate["decided against (demonstration_decisions.csv)"] += 1
        elif video in segmented:
            fate["its seconds are in the first tier"] += 1
        else:
            start_s = float(row["start_s"] or 0)
            end_s = float(row["end_s"]) if row["end_s"] else None
            pair = Segment("lists", video, start_s, end_s, activity, DEMONSTRATION)
            by_video[video][pair] = row
    kept: dict[Segment, Mapping[str, str]] = {}
    for pairs in by_video.values():
        starts = [pair.start_s for pair in pairs]
        if len(set(starts)) < len(starts):
            fate["several activities for one video, and no times"] += len(pairs)
        else:
            kept.update(_without_overlap(pairs))
    fate["demonstrations kept"] = len(kept)
    return dict(sorted(kept.items(), key=lambda item: (item[0].video_id, item[0].start_s))), fate


def _without_overlap(
    pairs: Mapping[Segment, Mapping[str, str]],
) -> Iterable[tuple[Segment, Mapping[str, str]]]:
    """Of a video that shows several activities, each ends where the next begins."""
    in_order = sorted(pairs, key=lambda pair: pair.start_s)
    for pair, after in zip(in_order, [*in_order[1:], None], strict=True):
        end_s = pair.end_s
        if after is not None:
            end_s = min(after.start_s, end_s or after.start_s)
        cut = Segment(*(pair.source, pair.video_id, pair.start_s, end_s, pair.activity, pair.tier))
        yield cut, pairs[pair]


def demonstration_rows(
    pairs: Mapping[Segment, Mapping[str, str]], new: Mapping[str, Side | None]
) -> tuple[list[list[str]], Counter[str]]:
    """Rows of ``DEMONSTRATION_COLUMNS``, and how many pairs have no split, by reason.

    Args:
        pairs: from :func:`select_pairs`.
        new: see :func:`annotations.derive_videos.place`.
    """
    placed, left_out = place(pairs, new)
    rows = []
    for pair, split in placed:
        known = pairs[pair]
        facts = [pair.tier, known["independent_lists"], known["trust"]]
        rows.append([*manifest_row(pair, split), *facts, attribution(known["licences"])])
    return rows, left_out


def derive_demonstrations(directory: Path, pairs_path: Path) -> tuple[str, Counter[str]]:
    """The text of ``demonstrations.csv``, and what became of the pairs.

    Args:
        directory: of the lists; ``default.csv`` in it is up to date.
        pairs_path: the table of pairs.
    """
    segmented = {
        row["video_id"] for _, row in read_table(directory / "default.csv", MANIFEST_COLUMNS)
    }
    table = (row for _, row in read_table(pairs_path, PAIR_COLUMNS))
    pairs, fate = select_pairs(table, load_decisions(directory), segmented)
    rows, left_out = demonstration_rows(pairs, held_out(videos=True))
    fate["demonstrations kept"] -= left_out.total()
    return csv_text(DEMONSTRATION_COLUMNS, rows), fate + left_out


def main(arguments: list[str] | None = None) -> int:
    """Run the command line described at the top of this file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m annotations.demonstrations")
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    options = parser.parse_args(arguments)
    directory = annotations_dir() / "videos"
    text, fate = derive_demonstrations(directory, options.pairs)
    return write_files({directory / "demonstrations.csv": text}, fate, check=options.check)


if __name__ == "__main__":
    sys.exit(main())
