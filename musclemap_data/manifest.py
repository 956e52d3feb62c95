"""The manifest: which clips to build, from which videos. Validated whole before anything runs."""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from musclemap_data.catalog import SPLITS, Activity, annotations_dir
from musclemap_data.errors import UserError

COLUMNS = ("clip_id", "video_id", "url", "start_s", "end_s", "activity", "split")
OPTIONAL_COLUMNS = (
    "source", "licence", "tier", "independent_lists", "trust", "attribution", "title", "duration_s",
    "uploader",
)  # fmt: skip
SEGMENT, DEMONSTRATION = "segment", "demonstration"
TIERS = (SEGMENT, DEMONSTRATION)
"""What a row is: a clip whose seconds are known, or a whole video in which they must be found."""

_SAFE_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")
_LONGEST_MANIFEST_BYTES = 512 * 2**20
_MOST_ROWS = 10_000_000
_MOST_COLUMNS = 100
_MOST_PROBLEMS_SHOWN = 200
_LONGEST_WORD = 100
"""Longer cells are cut in messages, and not compared with what might have been meant."""
LONGEST_TIME_S = 10.0**6
"""Eleven days: where a clip may end at the latest."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip to build: a labelled piece of one video.

    Attributes:
        clip_id: unique, safe as a file name.
        video_id: names the source video, safe as a file name.
        url: ``http(s)://...``, ``s3://...`` (``gs://``, ``az://``), or a path relative to the
            manifest.
        start_s: where the clip begins in the video, seconds.
        end_s: where it ends, seconds; None means at the end of the video.
        activity: slug from the activity table; of a demonstration it may be empty.
        split: one of ``catalog.SPLITS``.
        tier: one of ``TIERS``. A demonstration is no clip yet: it is downloaded, and ``segment``
            proposes the seconds of its clips; it is never a row of a shard.
    """

    clip_id: str
    video_id: str
    url: str
    start_s: float
    end_s: float | None
    activity: str
    split: str
    tier: str = SEGMENT

    @property
    def is_remote(self) -> bool:
        """Whether ``url`` is an address, not a file."""
        return is_remote(self.url)


class ManifestError(UserError):
    """What is wrong with a manifest: all of it, each with its line."""

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        listing = "\n".join(f"  {problem}" for problem in self.problems[:_MOST_PROBLEMS_SHOWN])
        if count > _MOST_PROBLEMS_SHOWN:
            listing += f"\n  and {count - _MOST_PROBLEMS_SHOWN} more"
        super().__init__(
            f"{path}: {count} mistake{'s' if count != 1 else ''}, nothing was changed.\n{listing}"
        )


def is_remote(url: str) -> bool:
    """Whether a url is fetched from a host (else it is a local path)."""
    return url.lower().startswith(("http://", "https://", "s3://", "gs://", "az://"))


def partition(split: str) -> str:
    """``train``, ``val`` or ``test``: what a source video belongs to as a whole."""
    return split.partition("_")[0]


def read_manifest(path: Path, activities: Mapping[str, Activity]) -> list[Clip]:
    """Read and check a manifest (CSV, or Parquet by its ending).

    A video belongs to one of train, val and test as a whole, whatever its clips are. Within a
    manifest an activity is either known (train, val_known, test_known) or new (val_new,
    test_new); an activity held out by the activity table can only be new.

    Args:
        path: the file; local urls in it are relative to its folder.
        activities: the activity table, by slug.

    Returns:
        The clips in the order of the file.

    Raises:
        ManifestError: with every mistake found, each with its line number.
    """
    path = Path(path)
    checker = _Checker(path.parent, activities)
    clips = [checker.check(line, values) for line, values in _read_rows(path)]
    if not clips:
        raise ManifestError(path, ["the manifest has no rows"])
    if checker.problems:
        raise ManifestError(path, [text for _, text in sorted(checker.problems)])
    return [clip for clip in clips if clip is not None]


def bundled_manifests() -> tuple[Path, ...]:
    """The lists of the project, together one list.

    Segments of videos, whole demonstrations, and what the community added, once that is anything.
    """
    folder = annotations_dir() / "videos"
    community = folder / "community.csv"
    offered = community.read_text(encoding="utf-8").count("\n") > 1
    lists = folder / "default.csv", folder / "demonstrations.csv"
    return (*lists, community) if offered else lists


def select_clips(
    clips: Sequence[Clip],
    *,
    activities: Collection[str] = (),
    splits: Collection[str] = (),
    sample: int | None = None,
    limit: int | None = None,
) -> list[Clip]:
    """A part of a manifest, in its order.

    Args:
        clips: the manifest.
        activities: keep only these slugs; empty means all.
        splits: keep only these splits; empty means all.
        sample: keep this many clips, chosen by a hash of their ids: the same ones each time, and
            most of them again in a longer or changed manifest.
        limit: keep the first so many clips of what is left.

    Raises:
        UserError: an activity or split that the manifest does not have.
    """
    for what, wanted, have in (
        ("activity", activities, {clip.activity for clip in clips}),
        ("split", splits, {clip.split for clip in clips}),
    ):
        for name in wanted:
            if name not in have:
                raise UserError(
                    f"no clip of the manifest has {what} {name!r}{_nearest(name, have)}"
                )
    chosen = [
        clip
        for clip in clips
        if (not activities or clip.activity in activities) and (not splits or clip.split in splits)
    ]
    if sample is not None:
        digest = {clip: hashlib.blake2b(clip.clip_id.encode()).digest() for clip in chosen}
        keep = set(sorted(chosen, key=digest.__getitem__)[:sample])
        chosen = [clip for clip in chosen if clip in keep]
    return chosen[:limit]


def write_manifest(path: Path, clips: Iterable[Clip]) -> None:
    """Write clips as a CSV manifest; a column for their tier only where one is no segment."""
    clips = list(clips)
    tiers = any(clip.tier != SEGMENT for clip in clips)
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, *(["tier"] if tiers else [])])
        for clip in clips:
            end = "" if clip.end_s is None else _number(clip.end_s)
            writer.writerow(
                [clip.clip_id, clip.video_id, clip.url, _number(clip.start_s), end]
                + [clip.activity, clip.split, *([clip.tier] if tiers else [])]
            )


def _number(seconds: float) -> str:
    text = f"{seconds:.6f}".rstrip("0").rstrip(".")
    return text if float(text) == seconds else repr(seconds)


def _read_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, column -> text) for each row; ManifestError if it is not a table like ours."""
    try:
        # A device or a pipe does not tell its size before it is read.
        with path.open("rb") as file:
            content = file.read(_LONGEST_MANIFEST_BYTES + 1)
        if len(content) > _LONGEST_MANIFEST_BYTES:
            raise ManifestError(path, ["the manifest is larger than 512 MiB"])
        if path.suffix.lower() == ".parquet":
            yield from _read_parquet(path, content)
            return
        text = content.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ManifestError(path, ["there is no such file"]) from error
    except UnicodeDecodeError as error:
        raise ManifestError(path, [f"not UTF-8 text (byte {error.start})"]) from error
    except OSError as error:
        raise ManifestError(path, [f"cannot be read: {error.strerror or error}"]) from error
    if "\0" in text:
        raise ManifestError(path, ["not a text file: it holds NUL bytes"])
    reader = csv.reader(io.StringIO(text, newline=""))
    problems: list[str] = []
    header: list[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                _check_header(path, header)
                continue
            if len(cells) != len(header):
                problems.append(
                    f"line {reader.line_num}: {len(cells)} cells where the header has {len(header)}"
                )
                continue
            values = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
            yield reader.line_num, values
    except csv.Error as error:
        problems.append(f"line {reader.line_num}: not CSV: {error}")
    if problems:
        raise ManifestError(path, problems)


def _read_parquet(path: Path, content: bytes) -> Iterator[tuple[int, dict[str, str]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # From memory: given a path, Arrow would take folders named ``split=train`` for columns.
        file = pq.ParquetFile(pa.BufferReader(content))
        _check_header(path, file.schema_arrow.names)
        wrong_types = [
            f"column {field.name!r} is {field.type}: it must be text or numbers"
            for field in file.schema_arrow
            if not _is_plain(field.type)
        ]
        if wrong_types:
            raise ManifestError(path, wrong_types)
        if file.metadata.num_rows > _MOST_ROWS:
            raise ManifestError(path, [f"the manifest has more than {_MOST_ROWS:,} rows"])
        number = 0  # row numbers stand in for line numbers; the first row is 1
        for batch in file.iter_batches(10_000):
            for row in batch.to_pylist():
                number += 1
                cells = {
                    name: "" if value is None else str(value).strip() for name, value in row.items()
                }
                yield number, cells
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:_LONGEST_WORD]
        raise ManifestError(path, [f"not a Parquet file: {reason}"]) from error


def _is_plain(kind: Any) -> bool:
    """Whether an Arrow type is one that a cell of a CSV could hold: text or a number."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = ("is_string", "is_large_string", "is_integer", "is_floating", "is_decimal", "is_null")
    return any(getattr(pa.types, test)(kind) for test in tests)


def _check_header(path: Path, header: Sequence[str]) -> None:
    if len(header) > _MOST_COLUMNS:
        raise ManifestError(path, [f"line 1: {len(header)} columns; a manifest has {len(COLUMNS)}"])
    problems = []
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        problems.append(f"line 1: missing columns: {', '.join(missing)}")
    for name in header:
        if name not in COLUMNS + OPTIONAL_COLUMNS:
            problems.append(f"line 1: unknown column {_shown(name)}{_nearest(name, COLUMNS)}")
    if len(set(header)) != len(header):
        problems.append("line 1: a column appears twice")
    if problems:
        raise ManifestError(path, problems)


def _shown(text: str) -> str:
    """A cell for a message: quoted, without control characters, not too long."""
    return repr(text if len(text) <= _LONGEST_WORD else f"{text[:_LONGEST_WORD]}...")


def _nearest(word: str, choices: Iterable[str]) -> str:
    if len(word) > _LONGEST_WORD:
        return ""
    found = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else ""


class _Checker:
    """Checks rows one by one and remembers what rows must agree on."""

    def __init__(self, folder: Path, activities: Mapping[str, Activity]) -> None:
        self.folder = folder
        self.activities = activities
        self.problems: list[tuple[int, str]] = []
        self._clip_line: dict[str, int] = {}
        self._video_url: dict[str, tuple[str, int]] = {}
        self._url_video: dict[str, tuple[str, int]] = {}
        self._video_partition: dict[str, tuple[str, int]] = {}
        self._activity_newness: dict[str, tuple[bool, int]] = {}
        self._same: dict[str, str] = {}

    def check(self, line: int, row: Mapping[str, str]) -> Clip | None:
        before = len(self.problems)

        def wrong(text: str) -> None:
            self.problems.append((line, f"line {line}: {text}"))

        for column in ("clip_id", "video_id"):
            if not _SAFE_ID.fullmatch(row[column]):
                wrong(
                    f"{column} {_shown(row[column])} must be 1 to 100 letters, digits, '_', '-' "
                    "or '.' and not begin with '.'"
                )
        clip_id, video_id, url = row["clip_id"], row["video_id"], row["url"]
        first = self._clip_line.setdefault(clip_id, line)
        if first != line:
            wrong(f"clip_id {_shown(clip_id)} is already on line {first}")
        problem = self._url_problem(url)
        if problem:
            wrong(problem)
        for key, value, seen, text in (
            (video_id, url, self._video_url, "video_id {key} has url {value} here but {other}"),
            (url, video_id, self._url_video, "url {key} is video {value} here but {other}"),
        ):
            other, first = seen.setdefault(key, (value, line))
            if other != value:
                names = {"key": _shown(key), "value": _shown(value), "other": _shown(other)}
                wrong(f"{text.format(**names)} on line {first}")
        start_s, end_s = self._times(row, wrong)
        self._check_labels(line, row, wrong)
        tier = row.get("tier") or SEGMENT
        if tier not in TIERS:
            wrong(f"tier {_shown(tier)} must be one of {', '.join(TIERS)}, or empty")
        if len(self.problems) > before or start_s is None:
            return None
        # Of a million clips, most share these texts with others: each is kept once.
        texts = (video_id, url, row["activity"], row["split"], tier)
        video_id, url, activity, split, tier = (self._same.setdefault(each, each) for each in texts)
        return Clip(clip_id, video_id, url, start_s, end_s, activity, split, tier)

    def _url_problem(self, url: str) -> str | None:
        if not url:
            return "url is empty"
        if any(ord(character) < 32 or character == "\x7f" for character in url):
            return f"url {_shown(url)} holds control characters"
        if is_remote(url):
            try:
                parts = urlsplit(url)
                host, _port = parts.hostname, parts.port
            except ValueError as error:
                return f"url {_shown(url)} is not valid: {error}"
            if parts.username is not None:
                where = f"url of host {_shown(host or '')}"
                return f"{where} holds a user name, which every shard would show: use --cookies"
            return None if host and " " not in url else f"url {_shown(url)} has no valid host"
        if ":" in url.partition("/")[0]:  # whatever ffmpeg would take for a protocol
            return (
                f"url {_shown(url)}: only http://, https://, s3://, gs://, az:// or a relative "
                "path can be used"
            )
        relative = PurePosixPath(url)
        if relative.is_absolute() or ".." in relative.parts or "\\" in url:
            return f"url {_shown(url)} must be a path inside the manifest's folder"
        target = self.folder / relative
        try:
            if not target.resolve().is_relative_to(self.folder.resolve()):
                return f"url {_shown(url)} leads out of the manifest's folder"
            if target.is_dir():
                return f"url {_shown(url)} is a folder, not a video file"
            if target.is_file() and target.stat().st_size == 0:
                return f"url {_shown(url)} is an empty file"
        except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError
            reason = getattr(error, "strerror", None) or error
            return f"url {_shown(url)} cannot be looked at: {reason}"
        return None

    @staticmethod
    def _times(row: Mapping[str, str], wrong) -> tuple[float | None, float | None]:  # type: ignore[no-untyped-def]
        values: list[float | None] = []
        for column in ("start_s", "end_s"):
            text = row[column]
            if column == "end_s" and not text:
                values.append(None)
                continue
            try:
                seconds = float(text)
            except ValueError:
                seconds = math.nan
            if not 0 <= seconds <= LONGEST_TIME_S:  # false for what is not a number, too
                wrong(f"{column} {_shown(text)} must be seconds, 0 or more, at most 1,000,000")
                return None, None
            values.append(seconds)
        start_s, end_s = values
        if start_s is not None and end_s is not None and end_s <= start_s:
            wrong(f"end_s {row['end_s']} must be after start_s {row['start_s']}")
        return start_s, end_s

    def _check_labels(self, line: int, row: Mapping[str, str], wrong) -> None:  # type: ignore[no-untyped-def]
        split, slug, video_id = row["split"], row["activity"], row["video_id"]
        activity = self.activities.get(slug)
        unsaid = not slug and row.get("tier") == DEMONSTRATION
        if activity is None and not unsaid:
            shown = len(self.problems) < _MOST_PROBLEMS_SHOWN  # the search takes a millisecond
            nearest = _nearest(slug, self.activities) if shown else ""
            wrong(f"activity {_shown(slug)} is not in the activity table{nearest}")
        if split not in SPLITS:
            wrong(f"split {_shown(split)} must be one of {', '.join(SPLITS)}")
            return
        part, first = self._video_partition.setdefault(video_id, (partition(split), line))
        if part != partition(split):
            wrong(
                f"video {_shown(video_id)} is in {partition(split)} here but in {part} on line "
                f"{first}: all clips of a video belong to one of train, val and test"
            )
        if activity is None:
            return
        new = split.endswith("_new")
        if activity.new and not new:
            wrong(f"activity {slug!r} is held out as new: use val_new or test_new, not {split}")
            return
        was_new, first = self._activity_newness.setdefault(slug, (new, line))
        if was_new != new:
            wrong(
                f"activity {slug!r} is {'new' if new else 'known'} here ({split}) but "
                f"{'new' if was_new else 'known'} on line {first}"
            )
