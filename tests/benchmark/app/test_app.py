"""The page of ``musclemap app``: its guards, its jobs, and what a person sees in a real browser."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
from playwright.sync_api import expect

from benchmark.app.jobs import MOST_JOBS, Jobs, Judge
from benchmark.app.judge import make_judge
from benchmark.app.pages import create_app
from benchmark.embedded.model import EmbeddedModel
from musclemap_data.errors import UserError
from musclemap_data.ffmpeg import ffmpeg_command
from tests.browser import open_chromium
from tests.conftest import REPOSITORY, read_frames, write_video
from tests.person_video import render_person
from tests.serving import serving

MOST_BYTES = 2_000_000


def echo(video: Path, folder: Path, tell) -> dict[str, object]:
    """A judge that is done at once: what it saw of the video goes into a file."""
    tell("Looking", 1, 2)
    if video.read_bytes() == b"bad":
        raise UserError(f"{video} is not a video")
    if video.read_bytes() == b"crash":
        raise ZeroDivisionError("oh")
    (folder / "joints.csv").write_bytes(video.read_bytes())
    (folder / "secret.txt").write_text("not to be given out")
    return {"files": ["joints.csv"]}


@contextmanager
def served(judge: Judge, work: Path, keep: Path | None = None) -> Iterator[str]:
    work.mkdir(exist_ok=True)
    jobs = Jobs(judge, work, keep)
    with closing(jobs), serving(create_app(jobs, MOST_BYTES)) as address:
        yield address


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., str]]:
    with ExitStack() as stack:
        yield lambda judge=echo, keep=None: stack.enter_context(
            served(judge, tmp_path / "work", keep)
        )


def ask(address: str, method: str, path: str, body: bytes | None = None, **headers: str):
    connection = http.client.HTTPConnection(address, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, named)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, dict(response.getheaders()), content


def send(address: str, body: bytes, name: str = "my%20squat.mp4", **headers: str):
    status, _, content = ask(address, "POST", "/api/videos", body, x_name=name, **headers)
    return status, json.loads(content)


def wait(address: str, job_id: str) -> dict:
    for _ in range(200):
        job = json.loads(ask(address, "GET", f"/api/videos/{job_id}")[2])
        if job["state"] in ("done", "failed"):
            return job
        time.sleep(0.02)
    raise AssertionError("it does not end")


def test_a_video_is_judged_and_its_results_are_given_out(serve, tmp_path):
    address = serve()
    status, job = send(address, b"frames")
    assert status == 202 and job["name"] == "my squat.mp4"
    assert wait(address, job["job_id"])["result"] == {"files": ["joints.csv"]}
    status, headers, content = ask(address, "GET", f"/api/videos/{job['job_id']}/joints.csv")
    assert (status, content) == (200, b"frames")
    assert headers["content-type"].startswith("text/csv")
    assert headers["x-content-type-options"] == "nosniff"
    assert not list(tmp_path.rglob("*squat.mp4"))  # the video itself is gone


def test_only_results_are_given_out(serve):
    address = serve()
    job_id = send(address, b"frames")[1]["job_id"]
    wait(address, job_id)
    for name in ("secret.txt", "..%2Fvideo", "overlay.mp4", "%2e%2e%2f%2e%2e%2fetc%2fpasswd"):
        assert ask(address, "GET", f"/api/videos/{job_id}/{name}")[0] == 404
    assert ask(address, "GET", "/api/videos/another")[0] == 404


NAMES = {
    "..%2F..%2Fevil.mp4": "_.._evil.mp4", "%00%0a": "__", "": "video", "a" * 400: "a" * 120,
    "%D1%81" * 300: "\u0441" * 60, "-i": "-i", ".hidden": "hidden",
}  # fmt: skip


@pytest.mark.parametrize(("name", "kept"), NAMES.items())
def test_a_name_stays_a_name(serve, tmp_path, name, kept):
    job = send(serve(), b"frames", name)[1]
    assert job["name"] == kept
    assert {path.name for path in tmp_path.iterdir()} == {"work"}


def test_another_site_and_another_name_are_refused(serve):
    address = serve()
    assert send(address, b"frames", origin="http://evil.example")[0] == 403
    assert send(address, b"frames", origin=f"http://{address}")[0] == 202
    assert ask(address, "GET", "/", host="evil.example")[0] == 421


def test_too_large_and_empty_videos_are_refused_and_leave_nothing(serve, tmp_path):
    address = serve()
    status, answer = send(address, b"x" * (MOST_BYTES + 1))
    assert status == 413 and "--max-mib" in answer["error"]
    assert send(address, b"")[0] == 400
    # Without its length: counted while it comes.
    connection = http.client.HTTPConnection(address, timeout=20)
    pieces = (b"x" * 500_000 for _ in range(6))
    connection.request("POST", "/api/videos", pieces, {"x-name": "long"}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()
    assert not list((tmp_path / "work").iterdir())


WRONG = {
    b"bad": "my squat.mp4 is not a video",
    b"crash": "the program failed: ZeroDivisionError",
}


@pytest.mark.parametrize(("body", "said"), WRONG.items())
def test_what_went_wrong_is_said_and_the_next_video_is_judged(serve, body, said):
    address = serve()
    first, second = send(address, body)[1], send(address, b"frames")[1]
    failed = wait(address, first["job_id"])
    assert failed["state"] == "failed"
    assert failed["error"].startswith(said)
    assert wait(address, second["job_id"])["state"] == "done"


def test_results_are_kept_only_when_asked(serve, tmp_path):
    keep = tmp_path / "kept"
    keep.mkdir()
    address = serve(echo, keep)
    places = [
        wait(address, send(address, content)[1]["job_id"])["result"]["kept_in"]
        for content in (b"one", b"two")
    ]
    assert [Path(place).name for place in places] == ["my squat", "my squat-2"]
    assert (keep / "my squat-2" / "joints.csv").read_bytes() == b"two"


def test_a_removed_video_is_gone_and_old_ones_make_room(serve, tmp_path):
    address = serve()
    job_id = send(address, b"frames")[1]["job_id"]
    wait(address, job_id)
    assert ask(address, "POST", f"/api/videos/{job_id}/remove", b"")[0] == 200
    assert ask(address, "GET", f"/api/videos/{job_id}")[0] == 404
    first = send(address, b"frames")[1]["job_id"]
    wait(address, first)
    for _ in range(MOST_JOBS):
        wait(address, send(address, b"frames")[1]["job_id"])
    assert ask(address, "GET", f"/api/videos/{first}")[0] == 404
    assert len(list((tmp_path / "work").iterdir())) == MOST_JOBS


def test_a_video_that_nobody_wants_any_more_is_stopped_and_leaves_nothing(serve, tmp_path):
    begun, steps = threading.Event(), iter(range(10_000))

    def judge(video: Path, folder: Path, tell) -> dict[str, object]:
        if video.read_bytes() != b"long":
            return {}
        for step in steps:
            tell("Looking", step, 10_000)
            begun.set()
            time.sleep(0.01)
        return {}

    address = serve(judge)
    first = send(address, b"long")[1]["job_id"]
    assert begun.wait(10)
    assert ask(address, "POST", f"/api/videos/{first}/remove", b"")[0] == 200
    assert wait(address, send(address, b"next")[1]["job_id"])["state"] == "done"
    assert ask(address, "GET", f"/api/videos/{first}")[0] == 404
    assert next(steps) < 5_000
    assert len(list((tmp_path / "work").iterdir())) == 1


@pytest.mark.slow
def test_a_sound_a_picture_and_an_empty_room_get_their_sentence(serve, chromium_page, tmp_path):
    page, log = chromium_page
    address = serve(make_judge(EmbeddedModel.load(), workers=1))
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16_000))
    picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8)).to_image()
    picture.save(tmp_path / "picture.png")
    write_video(tmp_path / "empty room.mp4", seconds=1)
    page.goto(f"http://{address}/")
    for name, sentence in (
        ("sound.wav", "Give the path of a video"),
        ("picture.png", "Give the path of a video"),
        ("empty room.mp4", "a person was found in 0% of the frames"),
    ):
        page.set_input_files("#file", tmp_path / name)
        problem = page.locator("#problem", has_text=name)
        expect(problem).to_contain_text(sentence, timeout=60_000)
    assert not log


@pytest.mark.slow
def test_a_video_from_drop_to_result(serve, chromium_page, tmp_path):
    """A real clip where there is one, else a picture of nobody: its sentence."""
    page, log = chromium_page
    real = REPOSITORY.parent / "shared" / "real_clips_more" / "kettlebell_swing_m01.mp4"
    video = real
    if not real.exists():
        video = tmp_path / "empty room.mp4"
        write_video(video, seconds=3)
    address = serve(make_judge(EmbeddedModel.load(), workers=2))
    page.goto(f"http://{address}/")
    page.set_input_files("#file", video)
    if not real.exists():
        expect(page.locator("#problem")).to_contain_text("person", timeout=120_000)
        return
    expect(page.locator("#progress")).to_be_visible()
    expect(page.locator("#result h1")).not_to_be_empty(timeout=180_000)
    expect(page.locator("#result")).to_contain_text("3.0 repetitions")
    expect(page.locator("svg.course line")).to_have_count(5)
    playing = "() => document.querySelector('#result video').readyState >= 2"
    page.wait_for_function(playing, timeout=20_000)
    pictures = (
        "() => [...document.querySelectorAll('#result img')].every((i) => i.naturalWidth > 0)"
    )
    page.wait_for_function(pictures, timeout=20_000)
    page.set_viewport_size({"width": 390, "height": 844})
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390
    with page.expect_download() as download:
        page.get_by_role("link", name="movement.pdf").click()
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF")
    assert not log


def two_people(folder: Path) -> Path:
    """The synthetic person, and beside them their mirror image."""
    frames = read_frames(render_person(folder / "one"))
    near, path = frames[:, :, 30:130], folder / "two people.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=15)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], 200, "yuv420p"
        for frame in np.concatenate([near, near[:, :, ::-1]], axis=2):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame))
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


@pytest.mark.slow
def test_two_people_and_the_camera_get_their_sentence(serve, tmp_path):
    """The camera is a film that Chromium plays as one: the same two people."""
    video, film = two_people(tmp_path), tmp_path / "camera.mjpeg"
    writing = {"c:v": "mjpeg", "q:v": 3}
    command = ffmpeg_command(f"file:{video}", f"file:{film}", reading={}, writing=writing)
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    flags = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
    )
    address = serve(make_judge(EmbeddedModel.load(), workers=1))
    with open_chromium(tmp_path / "browser", *flags) as (page, log):
        page.goto(f"http://localhost:{address.rpartition(':')[2]}/")
        page.set_input_files("#file", video)
        expect(page.locator("#result")).to_contain_text("two people.mp4", timeout=180_000)
        expect(page.locator("#result")).to_contain_text("More than one person is in view.")
        page.get_by_role("button", name="Use the camera").click()
        page.wait_for_function("() => document.querySelector('#preview').videoWidth > 0")
        page.get_by_role("button", name="Record").click()
        page.wait_for_timeout(3_000)
        page.get_by_role("button", name="Stop and look at it").click()
        expect(page.locator("#result")).to_contain_text("camera.", timeout=180_000)
        expect(page.locator("#result h1")).not_to_be_empty()
        assert not log
