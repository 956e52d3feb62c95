"""The page of a data set: its routes, its guards, and what a reader sees in a real browser."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import expect

from musclemap_data.browse import rows
from musclemap_data.browse.app import create_app
from musclemap_data.browse.clip_index import Filters, LiveIndex
from musclemap_data.catalog import load_activities
from musclemap_data.check.stats import dataset_stats
from musclemap_data.draw.colours import ACTIVE_EDGE
from musclemap_data.errors import UserError
from musclemap_data.local_web import listen
from musclemap_data.shards import Shard, shard_path, write_shard
from tests.conftest import REPOSITORY
from tests.musclemap_data.tiny_dataset import FRAMES, PLAN, clip_row, write_dataset, write_ledger
from tests.serving import serving


@pytest.fixture
def serve_data() -> Iterator[Callable[[Path], str]]:
    with ExitStack() as stack:
        yield lambda folder: stack.enter_context(serving(create_app(folder)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "tiny")
    write_ledger(tmp_path / "tiny")
    return tmp_path / "tiny"


def ask(address: str, path: str, *, method: str = "GET", host: str | None = None):
    """(status, headers, body) of a request."""
    connection = http.client.HTTPConnection(address, timeout=20)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", address if host is None else host)
    connection.endheaders()
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, dict(response.getheaders()), body


def get(address: str, path: str):
    status, _, body = ask(address, path)
    assert status == 200, body
    return json.loads(body)


def listed(address: str, query: str) -> list[str]:
    return [clip["clip_id"] for clip in get(address, f"/api/clips?{query}")["clips"]]


def test_filters_choose_clips_and_count_what_the_others_leave(data, serve_data):
    address = serve_data(data)
    assert listed(address, "") == [
        "plank_gone", "plank_late", "push_01", "push_02", "squat_01",  # train
        "squat_02", "lunge_01", "hollow_01",
    ]  # fmt: skip
    assert listed(address, "split=train&activity=squat") == ["squat_01"]
    assert listed(address, "region=chest&state=built") == ["push_01", "push_02"]
    assert listed(address, "text=PUSH%2002") == ["push_02"]
    assert listed(address, "text=unavailable") == ["plank_gone"]
    assert listed(address, "failure=gone") == ["plank_gone"]
    assert listed(address, "state=waiting") == ["plank_late"]
    options = get(address, "/api/clips?activity=squat&limit=0")["options"]
    assert options["split"] == {"train": 1, "val_known": 1}
    assert options["activity"]["push_up"] == 2  # its own filter does not count
    assert options["state"] == {"built": 2}


def test_skeletons_are_filtered_by_their_class_and_said_in_words(tmp_path, serve_data):
    data = tmp_path / "judged"
    (data / "shards").mkdir(parents=True)
    qualities = {"fine": 0.95, "older": None, "so_so": 0.5, "wrong": 0.1}
    rows = [
        {
            **clip_row(name, name, "squat", "train", 0),
            "skeleton_quality": quality,
            "skeleton_notes": ["jumps"] if name == "wrong" else [],
        }
        for name, quality in qualities.items()
    ]
    write_shard(shard_path(data, "train", 0), rows)
    address = serve_data(data)
    assert get(address, "/api/clips")["options"]["skeleton"] == {"good": 1, "doubtful": 1, "bad": 1}
    assert listed(address, "skeleton=bad") == ["wrong"]
    assert listed(address, "skeleton=good") == ["fine"]
    sentence = get(address, "/api/clips/wrong")["skeleton_sentence"]
    assert sentence == "The skeleton is bad (quality 0.10): the hips jump."
    assert "skeleton_sentence" not in get(address, "/api/clips/older")
    assert ask(address, "/api/clips?skeleton=lovely")[0] == 400


def test_pages_hold_every_clip_once(data, serve_data):
    address = serve_data(data)
    pages = [listed(address, f"offset={offset}&limit=3") for offset in (0, 3, 6, 9)]
    assert [clip for page in pages for clip in page] == listed(address, "limit=200")
    assert [len(page) for page in pages] == [3, 3, 2, 0]


def test_a_failed_clip_has_its_reason_and_next_step(data, serve_data):
    clip = get(serve_data(data), "/api/clips/plank_gone")
    assert clip["failure"]["class"] == "gone"
    assert "Video unavailable" in clip["failure"]["reason"]
    assert "coverage" in clip["failure"]["next_step"]


def test_frames_are_the_jpegs_of_the_row(data, serve_data):
    address = serve_data(data)
    with Shard(shard_path(data, "train", 0)) as shard:
        row = next(r for r in map(shard.row, range(len(shard))) if r["clip_id"] == "push_02")
    for column in ("rgb", "rgb_diff", "flow"):
        for number in (0, FRAMES - 2):
            status, headers, body = ask(address, f"/api/clips/push_02/{column}/{number}")
            assert (status, headers["content-type"]) == (200, "image/jpeg")
            assert body == row[column][number]
    body = ask(address, "/api/clips/push_02/skeleton")[2]
    np.testing.assert_array_equal(np.frombuffer(body, "<f4"), np.float32(row["skeleton"]))
    details = get(address, "/api/clips/push_02")
    assert details["pictures"] == {"rgb": FRAMES, "rgb_diff": FRAMES, "flow": FRAMES - 1}
    assert details["provenance"]["flow"]["extractor"] == "drawn"


def test_a_row_is_read_once_for_all_its_frames(data, serve_data, monkeypatch):
    reads = []
    original = Shard.row_table

    def counted(self, index, columns=None):
        reads.append(tuple(columns or ()))
        return original(self, index, columns)

    address = serve_data(data)
    monkeypatch.setattr(rows.Shard, "row_table", counted)
    threads = [
        threading.Thread(target=ask, args=(address, f"/api/clips/push_01/rgb/{number}"))
        for number in range(FRAMES)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reads == [("clip_id", "rgb")]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/clips/none", 404),
        ("/api/clips/..%2f..%2fetc%2fpasswd", 404),
        ("/api/clips/push_01/rgb/12", 404),
        ("/api/clips/push_01/provenance/0", 404),
        ("/api/clips/push_01/rgb/-1", 404),
        ("/api/clips/plank_gone/rgb/0", 409),
        ("/static/../app.py", 404),
        ("/static/%2e%2e/app.py", 404),
        ("/api/clips?split=dev", 400),
        ("/api/clips?region=tail", 400),
        ("/api/clips?failure=x", 400),
        ("/api/clips?limit=many", 400),
        ("/api/clips?text=" + "a" * 201, 400),
        ("/api/body-map?name=a&values=1,2", 400),
        ("/api/body-map?name=a&values=" + ",".join(["1.5"] * 20), 400),
        ("/api/body-map?name=%22x&values=" + ",".join(["1"] * 20), 400),
    ],
)
def test_what_is_not_there_is_refused(data, serve_data, path, status):
    found, headers, body = ask(serve_data(data), path)
    assert found == status
    assert "default-src 'none'" in headers["content-security-policy"]
    assert b"Traceback" not in body


def test_only_reading_is_possible(data, serve_data):
    def state() -> dict[str, str]:
        return {
            str(path.relative_to(data)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(data.rglob("*"))
            if path.is_file()
        }

    before = state()
    address = serve_data(data)
    for method in ("POST", "PUT", "DELETE"):
        assert ask(address, "/api/clips/push_01", method=method)[0] == 405
    get(address, "/api/statistics")
    ask(address, "/api/clips/push_01/rgb/0")
    assert state() == before


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200), ("127.0.0.1", 200), ("[::1]:8000", 200), ("10.0.0.7:80", 200),
        ("evil.example", 421), ("localhost.evil.example", 421), ("127.0.0.1.evil.example:80", 421),
        ("", 421), ("a@127.0.0.1", 421),
    ],
)  # fmt: skip
def test_a_foreign_host_name_is_refused(data, serve_data, host, status):
    assert ask(serve_data(data), "/api/dataset", host=host)[0] == status


def test_statistics_are_those_of_the_stats_verb(data):
    index = LiveIndex(data).get()
    found = index.statistics(Filters())
    expected = dataset_stats(data)
    for entry in found["splits"]:
        of_stats = expected["splits"][entry["split"]]
        assert (entry["built"], entry["videos"]) == (of_stats["clips"], of_stats["videos"])
        assert entry["seconds"] == pytest.approx(of_stats["seconds"])
    assert {e["region"]: sum(e["splits"].values()) for e in found["regions"]} == {
        slug: entry["clips"] for slug, entry in expected["regions"].items()
    }
    assert {e["activity"]: e["splits"] for e in found["activities"] if e["splits"]} == {
        slug: entry["splits"] for slug, entry in expected["activities"].items()
    }
    assert [(e["failure"], e["clips"]) for e in found["failures"]] == [("gone", 1)]
    assert found["splits"][0]["planned"] == 5


def test_a_build_shows_up_while_it_runs(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    with pytest.raises(UserError, match="There is no data set"):
        LiveIndex(data)
    write_ledger(data)  # before the first shard: all that is not failed waits
    live = LiveIndex(data, reread_after_s=0)
    states = [clip.state for clip in live.get().clips]
    assert states.count("waiting") == len(PLAN) + 1
    (data / "shards").mkdir()
    write_shard(shard_path(data, "train", 0), [clip_row(*PLAN[0], seed=0)])
    first = live.get()
    assert first.find("push_01").state == "built"
    assert first.find("push_02").state == "waiting"
    assert live.get() is first  # nothing changed: nothing read
    write_shard(shard_path(data, "val_known", 0), [clip_row(*PLAN[3], seed=3)])
    assert live.get().find("squat_02").state == "built"


def test_a_row_that_moved_is_never_shown_as_another_clip(data):
    clip = LiveIndex(data).get().find("push_02")
    others = [clip_row(*PLAN[n], seed=n) for n in (1, 0, 2)]
    write_shard(shard_path(data, "train", 0), others)
    with pytest.raises(rows.MovedRow):
        rows.PictureCache().pictures(clip, "rgb")


def test_a_damaged_shard_is_named_and_hides_nothing_else(data, serve_data):
    shard_path(data, "train", 0).write_bytes(b"no parquet")
    address = serve_data(data)
    assert "train-00000.parquet" in get(address, "/api/dataset")["problems"][0]
    assert "squat_02" in listed(address, "state=built")


def test_a_taken_port_matters_only_to_who_asked_for_it():
    with listen("127.0.0.1", None) as first, listen("127.0.0.1", None) as second:
        assert first.getsockname()[1] != second.getsockname()[1]
        with pytest.raises(UserError, match="Choose another --port"):
            listen("127.0.0.1", first.getsockname()[1])
        # Else asyncio leaves Nagle's algorithm on: 40 ms a frame.
        assert first.proto == socket.IPPROTO_TCP


def musclemap_browse(*words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(REPOSITORY / "cli.py"), "browse", "--no-open", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
    )


def test_the_verb_serves_until_it_is_interrupted(data):
    process = musclemap_browse("--data", data, "--port", "0")
    assert process.stdout is not None
    line = process.stdout.readline()
    address = urlsplit(line.split(" at ")[1].split()[0])
    assert address.hostname == "127.0.0.1"
    for _ in range(100):
        try:
            assert ask(address.netloc, "/")[0] == 200
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.slow
def test_a_users_mistake_ends_the_verb_with_2(tmp_path, data):
    process = musclemap_browse("--data", tmp_path / "none")
    assert "There is no data set" in process.communicate(timeout=60)[1]
    assert process.returncode == 2
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = musclemap_browse("--data", data, "--port", str(port))
        assert f"cannot listen on 127.0.0.1 port {port}" in process.communicate(timeout=60)[1]
        assert process.returncode == 2


PIXEL = """([column, x, y]) => {
  const canvas = document.querySelectorAll(".screens canvas")[column];
  const data = canvas.getContext("2d").getImageData(
    Math.round(x * canvas.width), Math.round(y * canvas.height), 1, 1).data;
  return [...data.slice(0, 3)];
}"""
FITS = "document.documentElement.scrollWidth <= window.innerWidth"


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition; Playwright's own way needs eval, which the page forbids."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def drawn(page) -> int:
    return int(page.locator(".player").get_attribute("data-drawn"))


@pytest.mark.slow
def test_a_reader_filters_opens_and_plays_a_clip(data, serve_data, chromium_page, tmp_path):
    page, log = chromium_page
    address = f"http://{serve_data(data)}/"
    page.goto(address)
    page.wait_for_selector(".card")
    assert page.locator(".card").count() == 8
    until(lambda: page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)"))

    # A region by a click on the left half of the body, which is a mirror image.
    page.wait_for_selector("#heat-map [data-region=chest]")
    box = page.locator("#heat-map [data-region=chest]").bounding_box()
    middle = page.evaluate("document.querySelector('#filter-front').getScreenCTM().e")
    page.mouse.click(2 * middle - box["x"] - box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator(".card")).to_have_count(2)  # the push-ups
    assert page.locator("select[name=region]").input_value() == "chest"
    page.locator("select[name=split]").select_option("train")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("push_02")
    expect(page.locator(".card")).to_have_count(1)
    page.locator("#clear").click()
    expect(page.locator(".card")).to_have_count(8)
    page.screenshot(path=str(tmp_path / "list.png"))

    # What failed is there, with its reason as text and not as HTML.
    failed = page.locator(".card.failed")
    assert "Video unavailable <b>removed</b>" in failed.inner_text()
    assert "Next: deleted or private" in failed.inner_text()

    page.locator(".card", has_text="push_01").click()
    page.wait_for_selector(".player[data-drawn]")
    assert page.locator(".screens canvas").count() == 4
    chest = page.locator(".clip .body-map [data-region=chest]").first
    assert chest.is_visible()
    assert chest.get_attribute("fill") not in (None, "#dcd9d5")
    assert "provenance" not in page.locator(".made").inner_text()
    assert "drawn" in page.locator(".made").inner_text()

    # Six steps on, the square is where it was drawn, and so is its difference and its flow.
    page.keyboard.press("ArrowRight")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_selector(".player[data-drawn='6']")
    page.locator(".screens input[type=checkbox]").uncheck()
    page.wait_for_timeout(100)
    inside, behind = (30 / 64, 20 / 48), (14 / 64, 20 / 48)
    assert page.evaluate(PIXEL, [0, *inside]) == pytest.approx([230, 200, 40], abs=14)
    assert sum(page.evaluate(PIXEL, [0, *behind])) < 400
    front_edge = ((8 + 12 + 15) / 64, 24 / 48)
    assert page.evaluate(PIXEL, [1, *front_edge])[0] > 200
    assert sum(page.evaluate(PIXEL, [1, *inside])) < 60
    red, green, blue = page.evaluate(PIXEL, [2, *inside])  # 2 px to the right, full at 4
    assert red > 240
    assert (green, blue) == pytest.approx((128, 128), abs=24)
    assert min(page.evaluate(PIXEL, [2, *behind])) > 235
    page.locator(".screens input[type=checkbox]").check()

    page.keyboard.press("Space")
    until(lambda: drawn(page) > 6)
    until(lambda: drawn(page) < 6)  # it begins again
    page.keyboard.press("Space")
    page.wait_for_timeout(150)
    stopped = drawn(page)
    page.wait_for_timeout(250)
    assert drawn(page) == stopped
    page.screenshot(path=str(tmp_path / "clip.png"))

    page.keyboard.press("j")
    expect(page.locator(".origin")).to_contain_text("push_02")
    page.keyboard.press("k")
    expect(page.locator(".origin")).to_contain_text("push_01")
    page.keyboard.press("Escape")
    page.wait_for_selector(".card")
    page.locator(".card.failed").click()
    page.wait_for_selector(".failure")
    assert "Next step" in page.locator(".failure").inner_text()

    page.locator("nav a", has_text="Statistics").click()
    page.wait_for_selector(".bars")
    text = page.locator("#content").inner_text()
    assert "75.0%" in text  # coverage: 6 of 8
    assert "1 gone" in text
    page.screenshot(path=str(tmp_path / "statistics.png"))
    assert log == []


@pytest.mark.slow
def test_it_fits_a_phone_and_the_dark(data, serve_data, chromium_page, tmp_path):
    page, log = chromium_page
    address = f"http://{serve_data(data)}/"
    page.set_viewport_size({"width": 390, "height": 844})
    colours = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for name, place, ready in (
            ("list", "#/", ".card"),
            ("clip", "#/clip/push_01", ".player[data-drawn]"),
            ("statistics", "#/statistics", ".bars"),
        ):
            page.goto("about:blank")
            page.goto(address + place)
            page.wait_for_selector(ready)
            assert page.evaluate(FITS), (scheme, name)
            page.screenshot(path=str(tmp_path / f"{scheme}-{name}.png"), full_page=True)
        colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2
    assert log == []


@pytest.mark.slow
def test_new_clips_appear_in_an_open_page(tmp_path, serve_data, chromium_page):
    page, log = chromium_page
    data = write_dataset(tmp_path / "data", plan=PLAN[:2])
    page.goto(f"http://{serve_data(data)}/")
    expect(page.locator(".card")).to_have_count(2)
    write_dataset(data, plan=PLAN)
    expect(page.locator(".card")).to_have_count(6, timeout=20_000)
    assert log == []


def test_a_clip_has_grades_where_its_labels_are_those_of_the_table(data, serve_data):
    address = serve_data(data)
    clip = get(address, "/api/clips/squat_01")
    squat = load_activities()["squat"]
    assert clip["grades"] == list(squat.grades)
    assert [grade > 0 for grade in clip["grades"]] == clip["muscles"]
    names = get(address, "/api/dataset")["grade_names"]
    assert names == {"0": "none", "0.34": "stabiliser", "0.67": "synergist", "1": "prime mover"}
    values = ",".join(f"{grade:g}" for grade in clip["grades"])
    svg = ask(address, f"/api/body-map?name=clip&values={values}")[2].decode()
    assert svg.count(f'stroke="{ACTIVE_EDGE}"') >= sum(squat.muscles)


def test_a_clip_with_other_labels_has_no_grades(tmp_path, serve_data):
    write_dataset(tmp_path / "tiny")
    path = shard_path(tmp_path / "tiny", "train", 0)
    with Shard(path) as shard:
        changed = [{**shard.row(n), "muscles": [True] * 20} for n in range(len(shard))]
    write_shard(path, changed)
    clip = get(serve_data(tmp_path / "tiny"), "/api/clips/squat_01")
    assert "grades" not in clip and clip["muscles"] == [True] * 20
