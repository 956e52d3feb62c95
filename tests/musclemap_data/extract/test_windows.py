"""A video of any kind becomes windows, and a window is what a clip of the same times would be."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from musclemap_data.catalog import load_activities
from musclemap_data.download.videos import download_videos
from musclemap_data.errors import UserError
from musclemap_data.extract.build import extract_modalities
from musclemap_data.extract.person import follow
from musclemap_data.extract.windows import SPLIT, extract_windows, plan_windows, read_video
from musclemap_data.ffmpeg import ffmpeg_binary
from musclemap_data.files import working_folder
from musclemap_data.manifest import Clip, read_manifest, write_manifest
from musclemap_data.shards import iterate_rows
from musclemap_data.skeleton import person_share
from tests.conftest import write_video
from tests.person_video import render_person


def ffmpeg(*words: str | Path) -> None:
    subprocess.run([ffmpeg_binary(), "-y", "-loglevel", "error", *map(str, words)], check=True)


@pytest.fixture(scope="module")
def person(tmp_path_factory) -> Path:
    return render_person(tmp_path_factory.mktemp("person"))


# -- planning -----------------------------------------------------------------------------------


@given(
    seconds=st.floats(0.05, 500), window_s=st.floats(0.2, 20), share=st.floats(0.1, 1)
)  # fmt: skip
def test_windows_cover_the_whole_video_without_gaps(seconds, window_s, share):
    step_s = window_s * share
    windows = plan_windows(seconds, window_s, step_s)
    assert windows[0][0] == 0
    assert windows[-1][1] is None
    ends = [seconds if end is None else end for _, end in windows]
    for (start, _), (after, _), end in zip(windows, windows[1:], ends, strict=False):
        assert start < after <= end + 1e-5
    if len(windows) > 1:
        lengths = [end - start for (start, _), end in zip(windows, ends, strict=True)]
        assert all(abs(length - window_s) < 1e-5 for length in lengths[:-1])
        assert window_s - 1e-5 <= lengths[-1] <= window_s + step_s / 2 + 1e-5


def test_windows_of_round_numbers():
    assert plan_windows(6.0, 3.0, 1.5) == [(0.0, 3.0), (1.5, 4.5), (3.0, None)]
    assert plan_windows(7.0, 3.0, 1.5) == [(0.0, 3.0), (1.5, 4.5), (3.0, 6.0), (4.0, None)]
    assert plan_windows(2.0, 3.0, 1.5) == [(0.0, None)]


@pytest.mark.parametrize("window_s, step_s", [(0.0, 1.0), (3.0, -1.0), (3.0, 4.0), (3.0, 0.0)])
def test_lengths_that_make_no_sense_are_refused(window_s, step_s):
    with pytest.raises(UserError, match=r"step|window"):
        plan_windows(10.0, window_s, step_s)


# -- reading ------------------------------------------------------------------------------------


def test_what_is_no_video_is_refused_with_what_it_is(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("my squats\n")
    (tmp_path / "folder.mp4").mkdir()
    whole = write_video(tmp_path / "whole.mp4")
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[:500])
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.5", tmp_path / "sound.m4a")
    ffmpeg("-i", whole, "-frames:v", "1", tmp_path / "picture.jpg")
    (tmp_path / "picture.mp4").write_bytes((tmp_path / "picture.jpg").read_bytes())
    ffmpeg("-i", whole, "-frames:v", "1", tmp_path / "one.mp4")
    sound, picture = tmp_path / "sound.m4a", tmp_path / "picture.jpg"
    cover = ("-map", "0", "-map", "1", "-c", "copy", "-disposition:v", "attached_pic")
    ffmpeg("-i", sound, "-i", picture, *cover, tmp_path / "song.m4a")
    for name, words in {
        "missing.mp4": "there is no file",
        "folder.mp4": "not a file",
        "empty.mp4": "the file is empty",
        "text.mp4": "a text file, not a video",
        "cut.mp4": "damaged or not a video",
        "sound.m4a": "no video stream",
        "picture.jpg": "a still picture",
        "picture.mp4": "a still picture",
        "one.mp4": "a single picture",
        "song.m4a": "a single picture|no video stream",
    }.items():
        with pytest.raises(UserError, match=words) as caught:
            read_video(tmp_path / name)
        assert name in str(caught.value)


def test_length_and_rate_come_from_the_frames_and_not_from_the_header(tmp_path):
    whole = write_video(tmp_path / "whole.mp4", seconds=2.0, fps=20)
    streamed = tmp_path / "streamed.mkv"  # as a browser records: no duration in the header
    with streamed.open("wb") as file:
        subprocess.run(
            [ffmpeg_binary(), "-loglevel", "error", "-i", str(whole), "-c", "copy"]
            + ["-f", "matroska", "-live", "1", "pipe:1"],
            stdout=file,
            check=True,
        )
    sound = tmp_path / "long_sound.mp4"
    ffmpeg("-i", whole, "-f", "lavfi", "-i", "sine=d=6", "-c:v", "copy", sound)
    for path in (whole, streamed, sound):
        video = read_video(path)
        assert video.seconds == pytest.approx(2.0, abs=0.06), path.name
        assert video.fps == pytest.approx(20, abs=0.6), path.name
    variable = tmp_path / "variable.mp4"
    ffmpeg("-i", whole, "-vf", "select='lt(n,10)+not(mod(n,4))'", "-fps_mode", "vfr", variable)
    video = read_video(variable)
    assert video.seconds == pytest.approx(1.85, abs=0.06)
    assert video.fps < 14


# -- extraction ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_window_holds_what_a_clip_of_the_same_times_holds(person, tmp_path):
    found = extract_windows(
        read_video(person), tmp_path / "windows", ("rgb",), window_s=2.0, step_s=1.5, workers=2
    )
    assert [round(start, 3) for start, _ in found.windows] == [0.0, 1.5, 2.4]
    assert (found.height, found.width, found.fps) == (120, 160, 15.0)
    assert found.person_share > 0.9
    assert not found.failed

    times = [(0.0, 2.0), (1.5, 3.5)]
    clips = [
        Clip(f"clip_{n}", "video", f"videos/{person.name}", *time, "squat", "test_known")
        for n, time in enumerate(times)
    ]
    manifest = person.parents[1] / "clips.csv"
    write_manifest(manifest, clips)
    data = tmp_path / "data"
    download_videos(read_manifest(manifest, load_activities()), manifest.parent, data)
    extract_modalities(data, modalities=("rgb", "skeleton"), workers=2)
    columns = ["rgb", "skeleton", "frames", "source_sha256", "provenance", "start_s", "end_s"]
    made = [row for _, _, row in iterate_rows(tmp_path / "windows", columns, (SPLIT,))]
    wanted = [row for _, _, row in iterate_rows(data, columns, (SPLIT,))]
    assert len(made) == 3
    assert made[:2] == wanted


@pytest.mark.slow
def test_many_windows_of_an_avi_are_cut_from_one_copy(person, tmp_path, monkeypatch):
    avi = tmp_path / "person.avi"
    ffmpeg("-i", person, "-c:v", "mpeg4", "-bf", "2", "-q:v", "2", avi)

    def frames(folder: str) -> list[tuple[float, npt.NDArray[np.uint8]]]:
        extract_windows(
            read_video(avi), tmp_path / folder, ("rgb",), window_s=0.6, step_s=0.6, workers=1
        )
        rows = iterate_rows(tmp_path / folder, ["rgb", "start_s"], (SPLIT,))
        return [
            (row["start_s"], np.stack([simplejpeg.decode_jpeg(each) for each in row["rgb"]]))
            for _, _, row in rows
        ]

    one_by_one = frames("direct")
    monkeypatch.setattr("musclemap_data.extract.windows.WINDOWS_WITHOUT_COPY", 2)
    copied = frames("copied")
    assert (tmp_path / "copied" / "clips" / "whole.mp4").is_file()
    assert not (tmp_path / "direct" / "clips" / "whole.mp4").exists()
    assert [start for start, _ in copied] == [start for start, _ in one_by_one]
    for (_, found), (_, wanted) in zip(copied, one_by_one, strict=True):
        assert found.shape == wanted.shape
        step = np.abs(wanted[1:].astype(int) - wanted[:-1])
        moves = step > 25
        assert moves.sum() > 100
        off = np.abs(found[1:].astype(int) - wanted[1:])
        assert off[moves].mean() < step[moves].mean() / 4  # else it would be a neighbour


@pytest.mark.slow
def test_windows_beyond_what_can_be_read_are_named_and_the_others_kept(person, tmp_path):
    video = read_video(person)
    half = video.seconds / 2
    longer = replace(video, seconds=4 * half)
    found = extract_windows(longer, tmp_path, (), window_s=half, step_s=half, workers=2)
    assert len(found.windows) == 2
    assert list(found.failed) == [f"{n * half:.2f}-{(n + 1) * half:.2f} s" for n in (2, 3)]


def test_a_video_without_a_person_is_refused(tmp_path):
    video = read_video(write_video(tmp_path / "clouds.mp4", seconds=1.0))
    with pytest.raises(UserError, match=r"a person was found in 0% of the frames of .*clouds.mp4"):
        extract_windows(video, tmp_path / "work", ("rgb",), window_s=3.0, step_s=1.5)


def test_the_folder_for_results_is_not_left_empty(tmp_path):
    with (
        pytest.raises(UserError, match="stop"),
        working_folder(tmp_path / "out") as work,
    ):
        (work / "large").touch()
        raise UserError("stop")
    assert list(tmp_path.iterdir()) == []
    with working_folder(tmp_path / "out"):
        (tmp_path / "out" / "result.json").touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result.json"]
    with (
        pytest.raises(UserError, match="a file is in its way"),
        working_folder(tmp_path / "out" / "result.json"),
    ):
        pass


@pytest.mark.slow
def test_of_a_long_video_fewer_frames_a_second_are_looked_at(person, tmp_path, monkeypatch):
    monkeypatch.setattr("musclemap_data.extract.person.LONG_S", 4.0)
    monkeypatch.setattr("musclemap_data.extract.person.LONG_FPS", 8)
    (tmp_path / "work").mkdir()
    video = read_video(person)
    followed = follow(video, tmp_path / "work", workers=1)
    assert followed.pieces.fps == pytest.approx(video.fps / 2)
    assert followed.times_s[-1] == pytest.approx(video.seconds, abs=0.2)
    assert person_share(followed.skeleton[:, None]) > 0.9
