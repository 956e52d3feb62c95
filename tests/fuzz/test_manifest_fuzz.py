"""Thousands of hostile manifests: each is read or refused with reasons, and nothing is touched."""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from musclemap_data.catalog import SPLITS, load_activities
from musclemap_data.errors import UserError
from musclemap_data.manifest import (
    COLUMNS,
    LONGEST_TIME_S,
    OPTIONAL_COLUMNS,
    ManifestError,
    is_remote,
    read_manifest,
    select_clips,
    write_manifest,
)

ACTIVITIES = load_activities()
GOOD = ("a", "v", "https://example.org/v.mp4", "0", "2.5", "squat", "train")
SLOWEST_S = 5.0
"""Of a processor, for one manifest; most take milliseconds."""


def many(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


# What Python does to files and processes is reported to its audit hooks. A hook cannot be taken
# away again: it looks into this list only while a test wants to know.
_watchers: list[Callable[[str, tuple[Any, ...]], None]] = []
_LOOKS = ("open", "os.", "shutil.", "subprocess.", "socket.", "pathlib.", "glob.", "tempfile.")


def _report(event: str, arguments: tuple[Any, ...]) -> None:
    if _watchers and event.startswith(_LOOKS):
        for watcher in _watchers:
            watcher(event, arguments)


sys.addaudithook(_report)


@contextmanager
def only_opens(manifest: Path) -> Iterator[None]:
    """Fails if anything but this one file is opened, listed, changed, run or connected to."""
    touched: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        path, mode = (*arguments, None)[:2]
        if event == "open" and str(path) == str(manifest) and mode in ("r", "rb"):
            return
        touched.append(f"{event} {arguments[:2]}")

    _watchers.append(watch)
    try:
        yield
    finally:
        _watchers.remove(watch)
    assert touched == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A manifest's folder with everything in it that a local url could hit."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.mp4").write_bytes(b"secret")
    folder = outside / "manifests"
    (folder / "sub").mkdir(parents=True)
    (folder / "v.mp4").write_bytes(b"video")
    (folder / "empty.mp4").touch()
    (folder / "out.mp4").symlink_to(outside / "secret.mp4")
    (folder / "loop.mp4").symlink_to("loop.mp4")
    (folder / "up").symlink_to(outside)
    # Modules are loaded at the first use: that opens files too.
    for name, content in (("m.csv", good_csv()), ("m.parquet", good_parquet())):
        (folder / name).write_bytes(content)
        read_manifest(folder / name, ACTIVITIES)
    return folder


def check(folder: Path, name: str, content: bytes) -> int:
    """Read one manifest; gives how many clips it was found to have (0: refused)."""
    path = folder / name
    path.write_bytes(content)
    began = time.process_time()
    try:
        with only_opens(path):
            clips = read_manifest(path, ACTIVITIES)
    except ManifestError as error:
        assert error.problems
        assert str(path) in str(error)
        return 0
    finally:
        assert time.process_time() - began < SLOWEST_S
    assert len({clip.clip_id for clip in clips}) == len(clips) > 0
    for clip in clips:
        for identifier in (clip.clip_id, clip.video_id):
            assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}", identifier)
        assert 0 <= clip.start_s <= LONGEST_TIME_S
        assert clip.end_s is None or clip.start_s < clip.end_s <= LONGEST_TIME_S
        assert clip.activity in ACTIVITIES
        assert clip.split in SPLITS
        assert clip.url.isprintable() or not clip.url.isascii()
        if not is_remote(clip.url):
            assert (folder / clip.url).resolve().is_relative_to(folder.resolve())
            assert ":" not in clip.url.split("/")[0]
    again = folder / "again.csv"
    write_manifest(again, clips)
    assert read_manifest(again, ACTIVITIES) == clips
    return len(clips)


HOSTILE = [
    "", " ", ".", "..", "../x", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "C:\\x", "~",
    "~root/x", "con", "NUL.mp4", "-o/tmp/x", "--exec=id", "-", "a\0b", "a\nb", "a\r\nb", "\t",
    "x" * 101, "x" * 5000, "\u202egnp.exe", "a\u200bb", "é", "e\u0301", "\ufeffa", "𝕒", "😀",
    "=1+1", "@SUM(A1)", "'; DROP TABLE clips;--", "${HOME}", "$(id)", "`id`", "%(id)s", "%s%n",
    "{0}", "<script>", "a,b", 'a"b', "None", "null",
]  # fmt: skip
URLS = [
    "v.mp4", "sub", "sub/v.mp4", "empty.mp4", "out.mp4", "loop.mp4", "loop.mp4/x", "up/secret.mp4",
    "./v.mp4", "sub/../v.mp4", "file:v.mp4", "file:///etc/passwd", "concat:v.mp4|v.mp4",
    "subfile,,start,0,end,9,,:v.mp4", "pipe:0", "data:video/mp4;base64,AA", "tcp://127.0.0.1:1",
    "http://", "http:// h/", "http://[::1", "http://[::1]/v.mp4", "http://h:99999/", "http://h:x/",
    "https://user:pass@h/v", "HTTP://H/V", "http:/h", "https://h/\u202e", "http://\uff0f.com/",
    "http://h/%00", "http://h/a b", "ytsearch:cats", "javascript:alert(1)", "http://h#@evil/",
    "m.m3u8", "-i", "v.mp4\0.txt", "v" * 300, "a/" * 3000,
]  # fmt: skip
NUMBERS = [
    "nan", "-nan", "inf", "-inf", "1e308", "1e309", "-0", "-1", "-1e-9", "0", "0.0", "1e-320",
    "1e-7", "0.1", "2.5", "3", "999999.9999999", "1e6", "1000001", "9" * 400, "1_0", "٣", "0x10",
    "1,5", "12:30", " 1 ", "1e", "+2", "2.5s",
]  # fmt: skip

cell = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=20))
CELLS: dict[str, st.SearchStrategy[str]] = {
    "clip_id": st.one_of(st.sampled_from(["a", "b", "c", "A", "a.b", "-a"]), cell),
    "video_id": st.one_of(st.sampled_from(["v", "w"]), cell),
    "url": st.one_of(st.sampled_from(URLS), cell),
    "start_s": st.one_of(
        st.sampled_from(NUMBERS), st.floats().map(str), st.integers().map(str), cell
    ),
    "end_s": st.one_of(st.sampled_from([*NUMBERS, ""]), st.floats().map(str), cell),
    "activity": st.one_of(st.sampled_from(["squat", "hollow_hold", "sqat", "x" * 5000]), cell),
    "split": st.one_of(st.sampled_from([*SPLITS, "dev", "Train"]), cell),
}


@st.composite
def rows(draw) -> list[list[str]]:
    """Rows that are right but for a few cells, so that every check is reached."""
    table = []
    for number in range(draw(st.integers(0, 4))):
        row = [f"{GOOD[0]}{number}", *GOOD[1:]]
        for index in draw(st.sets(st.integers(0, len(COLUMNS) - 1), max_size=2)):
            row[index] = draw(CELLS[COLUMNS[index]])
        table.append(row)
    return table


@st.composite
def csv_bytes(draw) -> bytes:
    """A CSV with hostile cells in one of many dialects and encodings."""
    header = list(COLUMNS)
    change = draw(st.sampled_from(["none"] * 6 + ["drop", "double", "add", "shuffle", "case"]))
    if change == "drop":
        header.remove(draw(st.sampled_from(COLUMNS)))
    elif change == "double":
        header.append(draw(st.sampled_from(COLUMNS)))
    elif change == "add":
        header.append(draw(st.one_of(st.sampled_from(OPTIONAL_COLUMNS), cell)))
    elif change == "shuffle":
        header = draw(st.permutations(header))
    elif change == "case":
        header = [name.upper() for name in header]
    delimiter = draw(st.sampled_from([","] * 8 + [";", "\t", "|"]))
    quote = draw(st.sampled_from(['"'] * 4 + ["'", ""]))
    lines = [header]
    for row in draw(rows()):
        lines.append([*row, "x"][: len(header)] if draw(st.integers(0, 9)) else row[:-1])
    text = draw(st.sampled_from(["\n"] * 4 + ["\r\n", "\r", "\n\n", "\x85"])).join(
        delimiter.join(quote + text.replace(quote or "\0", 2 * quote) + quote for text in line)
        for line in lines
    )
    encoding = draw(st.sampled_from(["utf-8"] * 6 + ["utf-8-sig", "utf-16", "latin-1", "cp1252"]))
    return text.encode(encoding, errors="replace")


ID = (
    {"-", "-i", "NUL.mp4", "None", "out.mp4", "nan"},
    {"", "..", "../x", "a/b", "a\\b", "x" * 101, "a\nb", "a\0b", "\u202egnp.exe", "é", "%(id)s"},
)
SECONDS_REFUSED = {"nan", "inf", "1e308", "1e309", "-1", "-1e-9", "1000001", "12:30", "9" * 400}
ENDS = {  # column -> (some that are taken, some that are refused)
    "clip_id": ID,
    "video_id": ID,
    "url": (
        {"v.mp4", "sub/v.mp4", "-i", "--exec=id", "~", "http://[::1]/v.mp4", "HTTP://H/V"},
        {"", "../x", "/etc/passwd", "sub", "empty.mp4", "out.mp4", "loop.mp4", "up/secret.mp4"}
        | {"sub/../v.mp4", "file:v.mp4", "concat:v.mp4|v.mp4", "pipe:0", "http://", "http:/h"}
        | {
            "subfile,,start,0,end,9,,:v.mp4",
            "https://user:pass@h/v",
            "http://h/a b",
            "http://[::1",
            "v.mp4\0.txt",
        },
    ),
    "start_s": ({"0", "-0", "0.1", "1e-7", "1e-320", "+2"}, SECONDS_REFUSED | {""}),
    "end_s": ({"", "3", "0.1", "1e6"}, SECONDS_REFUSED | {"0"}),
    "activity": (set(), {"", "None", "<script>"}),
    "split": (set(), {"", "None", "'; DROP TABLE clips;--"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("column", COLUMNS)
def test_every_hostile_cell_once(folder, column):
    accepted, refused = set(), set()
    for text in {*HOSTILE, *URLS, *NUMBERS}:
        row = dict(zip(COLUMNS, GOOD, strict=True)) | {column: text}
        table = {name: pa.array([value]) for name, value in row.items()}
        (accepted if check(folder, "m.parquet", parquet_bytes(table)) else refused).add(text)
    must_pass, must_fail = ENDS[column]
    assert must_pass <= accepted
    assert must_fail <= refused


@pytest.mark.slow
@many(2600)
@given(content=csv_bytes())
def test_hostile_cells(folder, content):
    check(folder, "m.csv", content)


@st.composite
def mutated(draw, original: bytes) -> bytes:
    content = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content) - 1))
        what = draw(st.sampled_from(["set", "cut", "insert", "double", "truncate"]))
        if what == "set":
            content[at] = draw(st.integers(0, 255))
        elif what == "cut":
            del content[at : at + draw(st.integers(1, 30))]
        elif what == "insert":
            content[at:at] = draw(st.binary(min_size=1, max_size=10))
        elif what == "double":
            content[at:at] = content[at : at + 40]
        else:
            del content[at + 1 :]
        if not content:
            return b""
    return bytes(content)


def good_csv() -> bytes:
    lines = [COLUMNS, GOOD, ("b", "w", "v.mp4", "1", "", "squat", "val_known"), ("c", *GOOD[1:])]
    return "\n".join(",".join(line) for line in lines).encode()


def parquet_bytes(columns: dict[str, pa.Array]) -> bytes:
    sink = io.BytesIO()
    try:
        pq.write_table(pa.table(columns), sink)
    except pa.ArrowInvalid:  # pyarrow itself writes no such file: times beyond its range
        reject()
    return sink.getvalue()


def good_parquet() -> bytes:
    return parquet_bytes({name: pa.array([value]) for name, value in zip(COLUMNS, GOOD)})  # noqa: B905


def test_the_originals_of_the_mutations_are_good(folder):
    assert check(folder, "m.csv", good_csv()) == 3
    assert check(folder, "m.parquet", good_parquet()) == 1


@pytest.mark.slow
@many(1300)
@given(content=mutated(good_csv()))
def test_a_csv_with_changed_bytes(folder, content):
    check(folder, "m.csv", content)


@pytest.mark.slow
@many(500)
@given(content=mutated(good_parquet()))
def test_a_parquet_with_changed_bytes(folder, content):
    check(folder, "m.parquet", content)


@many(200)
@given(content=st.binary(max_size=300), suffix=st.sampled_from(["csv", "parquet", "PARQUET", "x"]))
def test_random_bytes(folder, content, suffix):
    check(folder, f"m.{suffix}", content)


@st.composite
def typed_columns(draw) -> dict[str, pa.Array]:
    """A Parquet table of one row whose columns have any type."""
    columns = {name: pa.array([value]) for name, value in zip(COLUMNS, GOOD, strict=True)}
    others = st.sampled_from(
        [
            pa.array([None]), pa.array([1]), pa.array([-(2**63)]), pa.array([1.5], pa.float16()),
            pa.array([float("nan")]), pa.array([True]), pa.array([b"\xff\xfe"]), pa.array([["a"]]),
            pa.array([{"a": 1}]), pa.array([2**62], pa.timestamp("s")), pa.array([9], pa.date32()),
            pa.array(["a"]).dictionary_encode(), pa.array([1], pa.duration("s")),
            pa.array([1], pa.decimal128(38, 2)), pa.array(["squat"], pa.large_string()),
            pa.Array.from_buffers(
                pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
            ),
        ]
    )  # fmt: skip
    for name in draw(st.sets(st.sampled_from(COLUMNS), min_size=1, max_size=2)):
        if draw(st.booleans()):
            columns[name] = draw(others)
        else:
            columns[name] = pa.array([draw(CELLS[name].filter(_encodes))])
    return columns


def _encodes(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


@pytest.mark.slow
@many(500)
@given(columns=typed_columns())
def test_a_parquet_of_any_types(folder, columns):
    check(folder, "m.parquet", parquet_bytes(columns))


@given(
    activities=st.lists(cell, max_size=2),
    splits=st.lists(st.one_of(st.sampled_from(SPLITS), cell), max_size=2),
    sample=st.none() | st.integers(1, 2**70),
    limit=st.none() | st.integers(1, 2**31),
)
@many(300)
def test_any_selection_is_a_part_or_an_error(folder, activities, splits, sample, limit):
    path = folder / "good.csv"
    path.write_bytes(good_csv())
    clips = read_manifest(path, ACTIVITIES)
    try:
        chosen = select_clips(
            clips, activities=activities, splits=splits, sample=sample, limit=limit
        )
    except UserError as error:
        assert "no clip of the manifest has" in str(error)
    else:
        assert [clip for clip in clips if clip in chosen] == chosen


HEADER = ",".join(COLUMNS) + "\n"
LARGE = {
    "columns": ",".join(f"column{n}" for n in range(100_000)),
    "double columns": ",".join(["clip_id"] * 100_000),
    "cells in a row": HEADER + "x," * 1_000_000,
    "mistakes": HEADER + "".join(f"{n},,,,,,\n" for n in range(20_000)),
    "long words": HEADER + (",".join(["squat" * 4000] * 7) + "\n") * 50,
    "one cell": HEADER + "x" * 3_000_000,
    "open quote": HEADER + '"' + "a,b\n" * 500_000,
    "empty lines": HEADER + "\n" * 1_000_000,
    "quotes": HEADER + '"' * 2_000_001,
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_one_takes_seconds_and_has_a_short_message(folder, name):
    path = folder / "m.csv"
    path.write_text(LARGE[name])
    began = time.process_time()
    with pytest.raises(ManifestError) as caught, only_opens(path):
        read_manifest(path, ACTIVITIES)
    assert time.process_time() - began < SLOWEST_S
    assert len(str(caught.value)) < 300_000


def test_a_password_in_a_url_is_refused_and_not_shown(folder):
    path = folder / "m.csv"
    path.write_text(HEADER + ",".join(GOOD).replace("https://", "https://me:hunter2@"))
    with pytest.raises(ManifestError, match="holds a user name") as caught:
        read_manifest(path, ACTIVITIES)
    assert "hunter2" not in str(caught.value)


def test_the_folders_above_a_parquet_manifest_are_no_columns(folder):
    """Arrow reads ``split=test_known`` in a path as a column, unless it is kept from it."""
    (folder / "split=test_known").mkdir(exist_ok=True)
    path = folder / "split=test_known" / "m.parquet"
    path.write_bytes(good_parquet())
    assert [clip.split for clip in read_manifest(path, ACTIVITIES)] == ["train"]


@pytest.mark.parametrize("name", ["folder.csv", "folder.parquet", "/dev/zero", "/dev/null"])
def test_what_is_no_file(folder, name, monkeypatch):
    monkeypatch.setattr("musclemap_data.manifest._LONGEST_MANIFEST_BYTES", 2**20)
    (folder / "folder.csv").mkdir(exist_ok=True)
    (folder / "folder.parquet").mkdir(exist_ok=True)
    with pytest.raises(ManifestError):
        read_manifest(folder / name, ACTIVITIES)
