"""The page of a review: its routes and guards, and a reviewer at work in a real browser."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from musclemap_data.catalog import load_activities
from musclemap_data.review.app import create_app
from musclemap_data.review.decisions import DecisionFile, Kind, read_decisions
from musclemap_data.review.material import proposed
from musclemap_data.review.opinions import State, decided, opinions
from musclemap_data.review.queue import Queue
from tests.conftest import REPOSITORY
from tests.musclemap_data.review.proposed import FPS, write_proposed
from tests.serving import serving

Serve = Callable[..., str]


def queue_of(data: Path, by: str = "ab", *, blind: bool = False) -> Queue:
    file = DecisionFile(data / "review" / "decisions.csv")
    return Queue(proposed(data), file, by, load_activities(), blind=blind)


@pytest.fixture
def serve_queue() -> Iterator[Callable[[Queue], str]]:
    with ExitStack() as stack:
        yield lambda queue: stack.enter_context(serving(create_app(queue, "mine")))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_proposed(tmp_path, 2)
    return tmp_path


def ask(address: str, path: str, *, body: object = None, **headers: str):
    """(status, headers, body) of a request; a POST where there is a body."""
    connection = http.client.HTTPConnection(address, timeout=20)
    content = None if body is None else json.dumps(body)
    connection.request("GET" if body is None else "POST", path, body=content, headers=headers)
    response = connection.getresponse()
    found = response.status, dict(response.getheaders()), response.read()
    connection.close()
    return found


def said(data: Path) -> list[tuple[str, str]]:
    path = data / "review" / "decisions.csv"
    return [(str(each.kind), each.clip) for each in read_decisions(path)]


# -- routes --------------------------------------------------------------------------------------


def test_a_video_is_given_out_by_byte_ranges(data, serve_queue):
    address = serve_queue(queue_of(data))
    content = (data / "videos" / "v0001.mp4").read_bytes()
    path = "/api/clips/v0001_2/video"
    status, headers, body = ask(address, path, Range="bytes=100-199")
    assert (status, body) == (206, content[100:200])
    assert headers["content-range"] == f"bytes 100-199/{len(content)}"
    assert headers["content-type"] == "video/mp4"
    assert ask(address, path)[2] == content


@pytest.mark.parametrize(
    "path", ["/api/clips/..%2f..%2fx/video", "/api/clips/v0009_1/video", "/review/../app.py"]
)
def test_nothing_outside_the_list_is_given_out(data, serve_queue, path):
    assert ask(serve_queue(queue_of(data)), path)[0] == 404


def test_another_sites_page_decides_nothing(data, serve_queue):
    address = serve_queue(queue_of(data))
    body = {"kind": "accept", "clip": "v0000_0"}
    assert ask(address, "/api/decisions", body=body, Origin="https://evil.example")[0] == 403
    assert ask(address, "/api/undo", body={}, Origin="https://evil.example")[0] == 403
    assert ask(address, "/api/decisions", body=body, Host="evil.example")[0] == 421
    assert not (data / "review").exists()
    assert ask(address, "/api/decisions", body=body, Origin=f"http://{address}")[0] == 200


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"kind": "accept", "clip": "nobody"}, 409, "no such clip"),
        ({"kind": "approve", "clip": "v0000_0"}, 400, "no such kind"),
        ({"kind": "undo", "clip": "v0000_0"}, 400, "no such kind"),
        ({"kind": "move", "clip": "v0000_0", "start_s": 3, "end_s": 1}, 409, "end after"),
        ({"kind": "move", "clip": "v0000_0", "start_s": -1}, 400, "from 0"),
        ({"kind": "move", "clip": "v0000_0", "start_s": True}, 400, "a number"),
        ({"kind": "relabel", "clip": "v0000_0", "activity": "sleeping"}, 409, "known activities"),
        ({"kind": "reject", "clip": "v0000_0", "reason": " "}, 409, "needs a reason"),
        ({"kind": "split", "clip": "v0000_0", "split_at_s": 9}, 409, "inside the clip"),
        ({"kind": "accept", "clip": "x" * 5000}, 413, "too long"),
        ([1], 400, "not a JSON object"),
    ],
)
def test_an_impossible_decision_is_refused_with_its_reason(
    data, serve_queue, body, status, message
):
    found, _, content = ask(serve_queue(queue_of(data)), "/api/decisions", body=body)
    assert found == status
    assert message in json.loads(content)["error"]
    assert not (data / "review").exists()


def test_a_reviewer_skips_what_a_colleague_decided_unless_blind(data):
    queue_of(data, "ab").decide(Kind.ACCEPT, "v0000_0")
    queue_of(data, "ab").decide(Kind.SPLIT, "v0000_1", split_at_s=3.0)
    second = queue_of(data, "cd")
    assert second.counts()["accepted"] == 1
    assert second.find("v0000_0").reviewer == "ab"
    with pytest.raises(Exception, match="ab made this part"):
        second.decide(Kind.ACCEPT, "v0000_1.1")
    blind = queue_of(data, "cd", blind=True)
    assert blind.counts() == {"open": 8, "accepted": 0, "rejected": 0, "left-out": 0}
    blind.decide(Kind.REJECT, "v0000_0", reason="not an exercise")
    # From now on each sees the own answer.
    assert second.find("v0000_0").state == "rejected"
    assert queue_of(data, "ab").find("v0000_0").state == "accepted"


def test_undo_takes_back_only_the_own_decisions_one_after_the_other(data):
    mine, theirs = queue_of(data, "ab"), queue_of(data, "cd")
    mine.decide(Kind.ACCEPT, "v0000_0")
    mine.decide(Kind.SPLIT, "v0000_1", split_at_s=3.0)
    mine.decide(Kind.ACCEPT, "v0000_1.2")
    theirs.decide(Kind.ACCEPT, "v0001_0")
    assert [mine.undo() for _ in range(4)] == ["v0000_1.2", "v0000_1", "v0000_0", None]
    assert mine.counts() == {"open": 7, "accepted": 1, "rejected": 0, "left-out": 0}


# -- in a browser --------------------------------------------------------------------------------


@contextmanager
def running(data: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The verb in a process of its own, and the address of its page."""
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "cli.py"), "review", "--data", str(data), "--port", "0"]
        + ["--by", "ab", "--no-open", *options],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+/", process.stdout.readline())
        assert found
        yield process, found[0]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def processor_seconds() -> float:
    """What the server and all processes of the browser have used, of all cores together."""
    parents, used = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        parents[int(stat.parent.name)] = int(fields[1])
        used[int(stat.parent.name)] = int(fields[11]) + int(fields[12])

    def is_ours(process: int) -> bool:
        while process in parents and process != os.getpid():
            process = parents[process]
        return process == os.getpid()

    ticks = sum(time for process, time in used.items()
                if process != os.getpid() and is_ours(process))  # fmt: skip
    return ticks / os.sysconf("SC_CLK_TCK")


def open_page(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator("#label")).to_be_visible()


def until(page: Page, expression: str) -> None:
    """Wait until this is true. (Playwright's own way needs eval, which the page forbids itself.)"""
    deadline = time.monotonic() + 10
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        time.sleep(0.02)


def is_at(page: Page, clip: str) -> None:
    expect(page.locator("#facts code")).to_have_text(clip)
    until(page, "document.querySelector('video').readyState >= 2")


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


@pytest.mark.slow
def test_twenty_proposals_are_reviewed_by_keys_killed_in_the_middle_and_resumed(
    tmp_path, chromium_page
):
    page, log = chromium_page
    ids = write_proposed(tmp_path, 5)
    assert len(ids) == 20
    with running(tmp_path) as (process, address):
        open_page(page, address)
        expect(page.locator("#counts")).to_contain_text("20 to do")
        for clip in ids[:4]:
            is_at(page, clip)
            press(page, "Enter")
        # The beginning three frames later, the end two earlier; then accepted at once.
        is_at(page, ids[4])
        press(page, "w", "w", "w", "e", "e", "Enter")
        # Another label, found by the name of another spelling.
        is_at(page, ids[5])
        expect(page.locator("#label")).to_have_text("lunge")
        press(page, "l")
        page.keyboard.type("press-up")
        press(page, "Enter")
        expect(page.locator("#label")).to_have_text("push-up")
        press(page, "Enter")
        # Split at the sixth frame of the clip; the second part is not an exercise.
        is_at(page, ids[6])
        press(page, " ", "q", "w", *["ArrowRight"] * 6, "s")
        is_at(page, f"{ids[6]}.1")
        press(page, "Enter")
        is_at(page, f"{ids[6]}.2")
        press(page, "x", "2")
        is_at(page, ids[7])
        press(page, "x")
        page.get_by_placeholder("another reason").fill("the wall is in the way")
        press(page, "Enter")
        is_at(page, ids[8])
        expect(page.locator("#counts")).to_contain_text("12 to do · 7 accepted · 2 rejected")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        press(page, "Enter")
        expect(page.locator("#said")).to_have_class(re.compile("bad"))
    before = (tmp_path / "review" / "decisions.csv").read_bytes()
    log.clear()  # the requests that nobody answered
    with running(tmp_path) as (_, address):
        open_page(page, address)
        is_at(page, ids[8])
        assert (tmp_path / "review" / "decisions.csv").read_bytes() == before
        for clip in ids[8:11]:
            is_at(page, clip)
            press(page, "Enter")
        is_at(page, ids[11])
        press(page, "u")
        is_at(page, ids[10])
        press(page, "x", "1")
        for clip in ids[11:]:
            is_at(page, clip)
            press(page, "Enter")
        expect(page.get_by_role("heading", name="All decided")).to_be_visible()
    assert log == []
    found = opinions(read_decisions(tmp_path / "review" / "decisions.csv"))
    pieces = decided(found)
    assert len(pieces) == 20
    assert {name: found["ab", name].reason for name in (f"{ids[6]}.2", ids[7], ids[10])} == {
        f"{ids[6]}.2": "not an exercise",
        ids[7]: "the wall is in the way",
        ids[10]: "another exercise",
    }
    moved = found["ab", ids[4]]
    assert (moved.start_s, moved.end_s) == pytest.approx((0.5 + 3 / FPS, 2.0 - 2 / FPS))
    assert found["ab", ids[5]].activity == "push_up"
    (part,) = pieces["ab", ids[6]]
    assert (part.start_s, part.end_s) == pytest.approx((4.5, 4.5 + 6 / FPS))
    assert sum(each.state is State.ACCEPTED for each in found.values()) == 18


@pytest.mark.slow
def test_the_clip_loops_between_its_borders_and_shows_the_frame_at_a_border(
    data, serve_queue, chromium_page
):
    page, log = chromium_page
    open_page(page, f"http://{serve_queue(queue_of(data))}/")
    is_at(page, "v0000_0")
    now = "document.querySelector('video').currentTime"
    seen = [page.evaluate(now)]
    deadline = time.monotonic() + 10
    while seen[-1] > seen[0] - 0.4:  # until it has begun anew
        assert time.monotonic() < deadline, seen
        time.sleep(0.03)
        seen.append(page.evaluate(now))
        seen[0] = max(seen)
    assert min(seen) >= 0.5 - 1 / FPS
    assert max(seen) < 3.0  # of 9 s; a busy machine turns back late
    press(page, "Shift+R")  # the end ten frames later
    expect(page.locator("#end-at")).to_have_text("3.00 s")
    until(page, f"Math.abs({now} - 2.95) < 0.01")
    press(page, "ArrowLeft")
    until(page, f"Math.abs({now} - 2.85) < 0.01")
    press(page, "i")  # begin here
    expect(page.locator("#start-at")).to_have_text("2.80 s")
    page.wait_for_timeout(700)  # borders that rest are written without another key
    assert said(data) == [("move", "v0000_0")]
    assert log == []


@pytest.mark.slow
def test_a_border_is_dragged_with_a_pointer(data, serve_queue, chromium_page):
    page, log = chromium_page
    open_page(page, f"http://{serve_queue(queue_of(data))}/")
    is_at(page, "v0000_0")
    box = page.locator(".near .border.end").bounding_box()
    bar = page.locator(".near").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 5)
    page.mouse.down()
    # The bar shows 0 to 5 s: one second on is a fifth of it.
    page.mouse.move(box["x"] + box["width"] / 2 + bar["width"] / 5, box["y"] + 5, steps=4)
    page.mouse.up()
    expect(page.locator("#end-at")).to_have_text("3.00 s")
    assert log == []


@pytest.mark.slow
def test_two_thousand_videos_open_in_two_seconds_and_the_page_stays_small(tmp_path, chromium_page):
    page, log = chromium_page
    ids = write_proposed(tmp_path, 2000, each=5, files=False)
    with running(tmp_path) as (process, address):
        used = []
        for _ in range(3):
            before = processor_seconds()
            open_page(page, address)
            expect(page.locator(".row").first).to_be_visible()
            used.append(processor_seconds() - before)
            page.goto("about:blank")
        open_page(page, address)
        expect(page.locator("#counts")).to_contain_text("10,000 to do")

        def heap() -> float:
            session = page.context.new_cdp_session(page)
            session.send("HeapProfiler.collectGarbage")
            return session.send("Runtime.getHeapUsage")["usedSize"] / 2**20

        def server() -> float:
            status = Path(f"/proc/{process.pid}/status").read_text()
            return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 2**10

        heap_before, server_before = heap(), server()
        for share in range(1, 11):  # through the whole list
            page.evaluate(
                "share => { const list = document.getElementById('list');"
                "list.scrollTop = share / 10 * list.scrollHeight; }", share,
            )  # fmt: skip
            page.wait_for_timeout(60)
        last = page.locator(f'.row[data-clip="{ids[-1]}"]')
        expect(last).to_be_visible()
        assert page.locator(".row").count() < 60
        last.click()
        expect(page.locator("#facts code")).to_have_text(ids[-1])
        for _ in range(30):
            press(page, "Enter")
            page.wait_for_timeout(20)
        expect(page.locator("#counts")).to_contain_text("accepted")
        assert heap() - heap_before < 10
        assert server() - server_before < 60
    # On one core alone it takes no longer, however many others wait for the cores now.
    assert min(used) < 2, used
    assert log == []
