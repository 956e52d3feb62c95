"""The authors' own release of MuscleMap: pickled lists of paths and of label indices.

It is given by e-mail under an agreement and was not at hand here. That there is one list of video
paths and one of label lists (indices 0 to 19) for each of ``train``, ``val_seen``, ``val_unseen``,
``test_seen`` and ``test_unseen`` is read from the authors' public loader; how the files are named
is not known. So a file belongs to the split that its path names (in any case, with ``_``, ``-`` or
a space). It is the label list if its name holds ``label``, ``target``, ``gt`` or ``annot``, else
the path list if it holds ``path``, ``video``, ``clip``, ``list`` or ``file``. A pickle that would
run anything is refused.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from musclemap_data.catalog import (
    ACTIVITY_COLUMNS_AFTER,
    ACTIVITY_COLUMNS_BEFORE,
    load_activities,
    load_muscles,
    normalise_name,
)
from musclemap_data.errors import UserError
from musclemap_data.files import replacing, videos_in
from musclemap_data.importers.action_sets import safe_id
from musclemap_data.importers.plain_pickle import read_plain_pickle
from musclemap_data.importers.report import ImportReport, sorted_counts
from musclemap_data.manifest import Clip, read_manifest, write_manifest

ORIGINAL_CLIPS = 15_004
RECALLED_SIZES = {"train": 7069, "val": 2355, "test": 5580}
"""Recalled, not read in any text at hand; only their sum is printed in the paper."""

ORIGINAL_SPLITS = {
    "train": "train",
    "val_seen": "val_known",
    "val_unseen": "val_new",
    "test_seen": "test_known",
    "test_unseen": "test_new",
}
REGION_COUNT = 20
MOST_CLIPS = 1_000_000
LONGEST_PATH = 4096
PICKLE_ENDINGS = (".pkl", ".pickle", ".p", ".pk")

# Longer names first: "val_unseen" also holds "seen".
_SPLIT_PATTERNS = (
    ("val_unseen", re.compile(r"val(idation)?_*(unseen|new)|(unseen|new)_*val")),
    ("test_unseen", re.compile(r"test_*(unseen|new)|(unseen|new)_*test")),
    ("val_seen", re.compile(r"val(idation)?_*(seen|known)|(seen|known)_*val")),
    ("test_seen", re.compile(r"test_*(seen|known)|(seen|known)_*test")),
    ("train", re.compile(r"train")),
)
_LABELS = re.compile(r"label|target|annot|(^|_)gt(_|$)")
_PATHS = re.compile(r"path|video|clip|list|file")


@dataclass(frozen=True)
class OriginalClip:
    """One clip of the release: its path as written there, our split, and its active regions."""

    path: str
    split: str
    regions: tuple[int, ...]

    @property
    def activity(self) -> str:
        """The folder that the clip lies in, as a slug: the authors' name of the activity."""
        return normalise_name(PurePosixPath(self.path.replace("\\", "/")).parent.name)


def import_original(folder: Path, out_csv: Path) -> ImportReport:
    """Turn the authors' lists into a table of clips and, if the videos are there, a manifest.

    ``out_csv`` gets ``path,split,activity,regions``; ``regions`` are slugs joined by ``|``. If
    videos of the lists lie below ``folder``, ``out_csv`` lies in or above it, and every activity
    (folder) has one label set, ``*_manifest.csv`` and ``*_activities.csv`` are written beside it.

    Args:
        folder: the release: pickles, and videos if you have them.
        out_csv: table to write.

    Returns:
        Counts by split, compared with the published size.

    Raises:
        UserError: files are missing, damaged, refused, or do not fit to each other.
    """
    folder, out_csv = Path(folder), Path(out_csv)
    if out_csv.suffix.lower() != ".csv" or not out_csv.parent.is_dir():
        raise UserError(f"{out_csv}: give the name of a .csv file in a folder that exists")
    lists = find_lists(folder)
    clips = [clip for split, files in lists.items() for clip in _read_split(split, files)]
    written = [out_csv]
    regions = [muscle.slug for muscle in load_muscles()]
    _write_csv(
        out_csv,
        ("path", "split", "activity", "regions"),
        [(c.path, c.split, c.activity, "|".join(regions[i] for i in c.regions)) for c in clips],
    )
    notes = _size_notes(clips)
    left_out = _write_manifest_if_possible(folder, out_csv, clips, written, notes)
    return ImportReport(
        source="musclemap (authors' release)",
        written=tuple(written),
        splits=Counter(clip.split for clip in clips),
        activities=sorted_counts(Counter(clip.activity for clip in clips)),
        left_out=left_out,
        notes=tuple(notes),
    )


def find_lists(folder: Path) -> dict[str, dict[str, Path]]:
    """The pickles of a release: split -> ``{"paths": file, "labels": file}``.

    Raises:
        UserError: a file is missing, or two could be the same list.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder} is not a folder; give the folder with the authors' pickled lists"
        )
    found: dict[str, dict[str, Path]] = {split: {} for split in ORIGINAL_SPLITS}
    problems, unknown = [], []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICKLE_ENDINGS):
        inside = normalise_name(str(path.relative_to(folder).with_suffix("")))
        name = normalise_name(path.stem)
        split = next((s for s, pattern in _SPLIT_PATTERNS if pattern.search(inside)), None)
        kind = "labels" if _LABELS.search(name) else "paths" if _PATHS.search(name) else None
        if split is None or kind is None:
            unknown.append(path.name)
        elif kind in found[split]:
            problems.append(f"{split} {kind}: both {found[split][kind].name} and {path.name}")
        else:
            found[split][kind] = path
    problems += [
        f"{split} {kind}: no file"
        for split, kinds in found.items()
        for kind in ("paths", "labels")
        if kind not in kinds
    ]
    if problems:
        raise UserError(
            f"{folder} is not the authors' release as we know it:\n  "
            + "\n  ".join(problems)
            + (f"\nNot recognised: {', '.join(unknown[:10])}." if unknown else "")
            + "\nName the ten files like train_paths.pkl, train_labels.pkl, val_seen_paths.pkl, ..."
        )
    return found


def _read_split(split: str, files: Mapping[str, Path]) -> list[OriginalClip]:
    paths = _read_paths(files["paths"])
    labels = _read_labels(files["labels"])
    # Their loader appends a row with all 20 indices to the labels before it encodes them; a list
    # saved after that has one row more.
    if len(labels) == len(paths) + 1 and labels[-1] == tuple(range(REGION_COUNT)):
        labels.pop()
    if len(paths) != len(labels):
        raise UserError(
            f"{split}: {len(paths)} paths in {files['paths'].name} but {len(labels)} label lists "
            f"in {files['labels'].name}; they must be equally many"
        )
    return [
        OriginalClip(path, ORIGINAL_SPLITS[split], regions)
        for path, regions in zip(paths, labels, strict=True)
    ]


def _read_paths(file: Path) -> list[str]:
    paths = []
    for number, value in enumerate(_read_rows(file)):
        if not isinstance(value, str) or not 0 < len(value) <= LONGEST_PATH:
            raise UserError(f"{file}: item {number} is {_shown(value)}, not the path of a video")
        if any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in value):
            raise UserError(f"{file}: item {number} is a path with control or broken characters")
        paths.append(value)
    return paths


def _read_labels(file: Path) -> list[tuple[int, ...]]:
    rows = []
    for number, value in enumerate(_read_rows(file)):
        if not isinstance(value, list | tuple) or len(value) > REGION_COUNT:
            raise UserError(
                f"{file}: item {number} is {_shown(value)}, not a list of label indices"
            )
        for index in value:
            if type(index) is not int or not 0 <= index < REGION_COUNT:
                raise UserError(
                    f"{file}: item {number} holds {_shown(index)}; label indices are whole numbers "
                    f"from 0 to {REGION_COUNT - 1}"
                )
        rows.append(tuple(sorted(set(value))))
    return rows


def _read_rows(file: Path) -> list[object]:
    value = read_plain_pickle(file)
    if not isinstance(value, list | tuple):
        raise UserError(f"{file}: holds {_shown(value)}, not a list")
    if len(value) > MOST_CLIPS:
        raise UserError(f"{file}: {len(value)} items; at most {MOST_CLIPS} are read")
    return list(value)


def _shown(value: object) -> str:
    """A short name of a value; never its repr, which may be huge or not end."""
    if isinstance(value, list | tuple | str):
        return f"a {type(value).__name__} of length {len(value)}"
    if isinstance(value, int) and abs(value) < 10**9:
        return str(int(value))
    return f"a {type(value).__name__}"


def _size_notes(clips: list[OriginalClip]) -> list[str]:
    notes = []
    if len(clips) != ORIGINAL_CLIPS:
        notes.append(f"{len(clips)} clips; the paper states {ORIGINAL_CLIPS}")
    for part, size in RECALLED_SIZES.items():
        count = sum(clip.split.partition("_")[0] == part for clip in clips)
        if count != size:
            notes.append(f"{part}: {count} clips; {size} as we recall it (not checked)")
    empty = sum(not clip.regions for clip in clips)
    if empty:
        notes.append(f"{empty} clips have no active region")
    splits_of = defaultdict(set)
    for clip in clips:
        splits_of[clip.path].add(clip.split)
    torn = sum(len(splits) > 1 for splits in splits_of.values())
    if torn:
        notes.append(f"{torn} paths are in more than one split: the lists leak between splits")
    return notes


def _write_manifest_if_possible(
    folder: Path, out_csv: Path, clips: list[OriginalClip], written: list[Path], notes: list[str]
) -> dict[str, int]:
    """Write manifest and activity table when the videos and the labels allow it; else say why."""
    videos = _videos_by_name(folder)
    if not videos:
        notes.append(f"no videos below {folder}: no manifest was written")
        return {}
    if not folder.resolve().is_relative_to(out_csv.parent.resolve()):
        notes.append(f"no manifest was written: {out_csv} must lie in {folder} or above it")
        return {}
    table, problem = _activity_labels(clips)
    if table is None:
        notes.append(f"no manifest was written: {problem}")
        return {}
    left_out: Counter[str] = Counter()
    rows: list[Clip] = []
    used: set[Path] = set()
    for clip in clips:
        parts = PurePosixPath(clip.path.replace("\\", "/")).parts
        candidates = videos.get((clip.activity, parts[-1]), [])
        if len(candidates) != 1:
            reason = "video not found" if not candidates else "several videos of that name"
            left_out[f"not in the manifest: {reason}"] += 1
        elif candidates[0] in used:
            left_out["not in the manifest: listed more than once"] += 1
        else:
            video = candidates[0]
            used.add(video)
            url = video.relative_to(out_csv.parent.resolve()).as_posix()
            clip_id = safe_id(f"{clip.activity}-{video.stem}", unique=url)
            rows.append(Clip(clip_id, clip_id, url, 0.0, None, clip.activity, clip.split))
    if rows:
        activities_csv = out_csv.with_name(f"{out_csv.stem}_activities.csv")
        _write_activities(activities_csv, table)
        manifest_csv = out_csv.with_name(f"{out_csv.stem}_manifest.csv")
        write_manifest(manifest_csv, rows)
        read_manifest(manifest_csv, load_activities(activities_csv))
        written += [activities_csv, manifest_csv]
    return dict(left_out)


def _videos_by_name(folder: Path) -> dict[tuple[str, str], list[Path]]:
    """(activity folder as a slug, file name) -> videos. Paths of the lists are never opened."""
    root = folder.resolve()
    videos = defaultdict(list)
    for path in videos_in(root):
        if path.stat().st_size and path.resolve().is_relative_to(root):
            videos[normalise_name(path.parent.name), path.name].append(path)
    return videos


def _activity_labels(
    clips: list[OriginalClip],
) -> tuple[dict[str, tuple[bool, tuple[int, ...]]] | None, str]:
    """Activity -> (new, regions), if every activity has one label set and one kind of split."""
    table: dict[str, tuple[bool, tuple[int, ...]]] = {}
    for clip in clips:
        entry = (clip.split.endswith("_new"), clip.regions)
        if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", clip.activity) or not clip.regions:
            return None, f"{clip.path[:80]!r} has no activity folder or no regions"
        if table.setdefault(clip.activity, entry) != entry:
            return None, (
                f"activity folder {clip.activity!r} has several label sets or is seen and unseen"
            )
    return table, ""


def _write_activities(path: Path, table: Mapping[str, tuple[bool, tuple[int, ...]]]) -> None:
    regions = tuple(muscle.slug for muscle in load_muscles())
    rows = []
    for slug, (new, active) in sorted(table.items()):
        name = slug.replace("_", " ")
        flags = [str(int(index in active)) for index in range(REGION_COUNT)]
        before = [slug, name, "", "As in the authors' release.", "original", str(int(new))]
        rows.append((*before, *flags, "decision:original_release", "medium"))
    _write_csv(path, (*ACTIVITY_COLUMNS_BEFORE, *regions, *ACTIVITY_COLUMNS_AFTER), rows)


def _write_csv(path: Path, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    try:
        with (
            replacing(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
