"""Candidates, by the real yt-dlp from a real (loopback) server, and from folders."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from urllib.parse import unquote_plus

import pytest
from typer.testing import CliRunner

from cli import app
from musclemap_data.catalog import load_activities
from musclemap_data.collect import gather
from musclemap_data.collect.candidates import COLUMNS, CandidateFile
from musclemap_data.collect.gather import NO_PLACE, SEARCH, collect
from musclemap_data.download.settings import DownloadSettings
from musclemap_data.errors import FailureClass, StageError, UserError
from musclemap_data.ledger import Ledger
from musclemap_data.manifest import DEMONSTRATION, read_manifest
from musclemap_data.splits import partition_of
from tests.musclemap_data.download.faulty_server import FaultyServer

FAST = DownloadSettings(network_tries=1, backoff_s=0.01, pause_s=0)


def write_feed(path: Path, links: list[str]) -> None:
    """A playlist as yt-dlp reads it from any site: a feed of links."""
    items = "".join(
        f"<item><title>t{n}</title><link>{link}</link></item>" for n, link in enumerate(links)
    )
    path.write_text(
        f'<?xml version="1.0"?><rss version="2.0"><channel><title>Mine</title>{items}'
        "</channel></rss>"
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def gathered(out: Path, *sources: str | Path, **options: object):
    return collect([str(s) for s in sources], out, load_activities(), settings=FAST, **options)


@pytest.mark.slow
def test_a_playlist_becomes_a_manifest_of_whole_videos_that_downloads(tmp_path, make_video, serve):
    site = tmp_path / "site"
    for seed, name in enumerate(("a", "b", "c")):
        make_video(site / f"{name}.mp4", seed=seed)
    base = serve(site)
    write_feed(site / "feed.xml", [f"{base}/{name}.mp4" for name in ("a", "b", "a", "c", "gone")])
    out = tmp_path / "candidates.csv"
    report = gathered(out, f"{base}/feed.xml")
    assert (report.added, report.present) == (3, 0)
    assert {url: str(each.failure) for url, each in report.left_out.items()} == {
        f"{base}/gone.mp4": "gone"
    }
    found = sorted(rows(out), key=lambda row: row["url"])  # written as they are looked at
    assert [row["url"] for row in found] == [f"{base}/{name}.mp4" for name in ("a", "b", "c")]
    assert {row["source"] for row in found} == {f"{base}/feed.xml"}
    assert found[0]["title"] == "a" and found[0]["tier"] == DEMONSTRATION
    clips = read_manifest(out, load_activities())
    assert all(clip.activity == "" and clip.end_s is None for clip in clips)
    assert {clip.split.partition("_")[0] for clip in clips} == {
        partition_of(clip.video_id) for clip in clips
    }
    data = tmp_path / "data"
    done = CliRunner().invoke(app, ["download", "-m", str(out), "--data", str(data)])
    assert "3 videos downloaded" in done.stdout and "musclemap segment" in done.stderr
    with Ledger(data, read_only=True) as ledger:
        assert ledger.clips() == [] and len(ledger.demonstrations()) == 3

    # Later: what is there is not asked for again, what is new is added, what was gone stays so.
    make_video(site / "d.mp4", seed=9)
    write_feed(site / "feed.xml", [f"{base}/{name}.mp4" for name in ("d", "a", "gone")])
    before = out.read_bytes()
    again = gathered(out, f"{base}/feed.xml")
    assert (again.added, again.present, len(again.left_out)) == (1, 1, 1)
    assert out.read_bytes().startswith(before) and len(rows(out)) == 4


@pytest.mark.slow
def test_the_limit_counts_for_each_source_and_what_two_list_is_taken_once(
    tmp_path, make_video, serve
):
    site = tmp_path / "site"
    for seed, name in enumerate("abcd"):
        make_video(site / f"{name}.mp4", seed=seed)
    base = serve(site)
    write_feed(site / "one.xml", [f"{base}/{name}.mp4" for name in "abc"])
    write_feed(site / "two.xml", [f"{base}/{name}.mp4" for name in "bdc"])
    out = tmp_path / "c.csv"
    gathered(out, f"{base}/one.xml", f"{base}/two.xml", limit=2)
    assert {row["url"][-5]: row["source"][-7:] for row in rows(out)} == {
        "a": "one.xml", "b": "one.xml", "d": "two.xml",
    }  # fmt: skip


@pytest.mark.slow
def test_a_failure_has_its_class_and_only_what_may_pass_is_asked_again(tmp_path, make_video):
    content = make_video(tmp_path / "v.mp4").read_bytes()
    with FaultyServer({"v.mp4": content}) as server:
        faults = ("none", "status-403", "status-500", "html")
        urls = [server.url(fault, "v.mp4") for fault in faults]
        out = tmp_path / "c.csv"
        report = gathered(out, *urls)
        # An address of a video is a list of one: what fails there is the source.
        assert {url.split("/")[3]: str(f.failure_class) for url, f in report.failed.items()} == {
            "status-403": "blocked", "status-500": "network", "html": "not-a-video",
        }  # fmt: skip
        assert report.added == 1
        assert [request.method for request in server.asked("none")]


def test_a_host_that_refuses_is_left_alone_and_the_rest_waits(tmp_path, monkeypatch):
    asked = []

    def refuse(_processes, url, *_):
        asked.append(url)
        raise StageError("download", FailureClass.RATE_LIMITED, "Too Many Requests", 7200)

    def listed(_processes, url, *_):
        return [f"https://videos.example/{n}" for n in range(20)]

    monkeypatch.setattr(gather, "list_videos", listed)
    monkeypatch.setattr(gather, "describe", refuse)
    out = tmp_path / "c.csv"
    report = gathered(out, "https://videos.example/list")
    assert len(asked) <= 3
    assert [rest.host for rest in report.resting] == ["videos.example"]
    assert report.not_tried == {"videos.example": 20 - len(report.left_out)}
    assert not out.exists()
    # What was refused may pass: the next run asks again.
    monkeypatch.setattr(gather, "describe", lambda *_: (_ for _ in ()).throw(_gone()))
    assert len(gathered(out, "https://videos.example/list").left_out) == 20


def _gone() -> StageError:
    return StageError("download", FailureClass.GONE, "Video unavailable")


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    done: list[str] = []

    def described(_processes, url, *_):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(url)
        return gather.SiteFacts(f"id{url[-1]}", "Youtube", url, "T", "U", "CC BY", 61.0)

    urls = [f"https://videos.example/{n}" for n in range(5)]
    monkeypatch.setattr(gather, "list_videos", lambda *_: urls)
    monkeypatch.setattr(gather, "describe", described)
    out = tmp_path / "c.csv"
    one = DownloadSettings(workers=1, pause_s=0)
    with pytest.raises(KeyboardInterrupt):
        collect(["https://videos.example/list"], out, load_activities(), settings=one)
    assert [row["video_id"] for row in rows(out)] == ["id0", "id1", "id2"]
    out.write_bytes(out.read_bytes()[:-5])  # killed within the last line
    done = []
    report = collect(["https://videos.example/list"], out, load_activities(), settings=one)
    assert (report.present, report.added) == (2, 3)
    assert [row["video_id"] for row in rows(out)] == [f"id{n}" for n in range(5)]
    assert rows(out)[0] | {} == dict(
        zip(COLUMNS, ["whole_id0", "id0", urls[0], "0", "", "", rows(out)[0]["split"],
                      DEMONSTRATION, "https://videos.example/list", "CC BY", "T", "61.00", "U"],
            strict=True)
    )  # fmt: skip


def test_the_words_of_a_search_name_the_activity_if_they_are_its_name(tmp_path, monkeypatch):
    asked = []

    def listed(_processes, url, *_):
        asked.append(unquote_plus(url.removeprefix(SEARCH)))
        return [f"https://www.youtube.com/watch?v={len(asked)}{n:010}" for n in range(30)]

    def described(_processes, url, *_):
        return gather.SiteFacts(url[-11:], "Youtube", url, "T", "U", None, 61.0)

    monkeypatch.setattr(gather, "list_videos", listed)
    monkeypatch.setattr(gather, "describe", described)
    out = tmp_path / "c.csv"
    report = gathered(out, searches=["press-ups workout", "hollow hold exercise", "leg day"])
    assert asked == ["press-ups workout", "hollow hold exercise", "leg day"]
    found = rows(out)
    assert {row["activity"] for row in found} == {"push_up", "hollow_hold", ""}
    held = [row for row in found if row["activity"] == "hollow_hold"]
    assert {row["split"] for row in held} <= {"val_new", "test_new"}
    lost = [each for each in report.left_out.values() if each.reason == NO_PLACE]
    assert len(held) + len(lost) == 30 and len(lost) > 5
    read_manifest(out, load_activities())


def test_a_folder_of_own_videos_is_listed_with_lengths_and_the_names_of_its_folders(
    tmp_path, make_video
):
    make_video(tmp_path / "mine/hiit tuesday.mp4", seconds=2.0)
    make_video(tmp_path / "mine/Squats/01.mp4", seed=1)
    make_video(tmp_path / "mine/Squats/01.mov.mp4", seed=2)
    make_video(tmp_path / "mine/.trash/old.mp4", seed=3)
    (tmp_path / "mine/notes.txt").write_text("legs")
    (tmp_path / "mine/broken.mp4").write_bytes(b"\0" * 100)
    out = tmp_path / "mine/list.csv"
    report = gathered(out, tmp_path / "mine", licence="CC0-1.0")
    assert report.added == 3
    (broken,) = report.left_out.values()
    assert broken.url == "broken.mp4"
    found = {row["url"]: row for row in rows(out)}
    assert found["hiit tuesday.mp4"]["activity"] == ""
    assert found["hiit tuesday.mp4"]["duration_s"] == "2.00"
    assert found["Squats/01.mp4"]["activity"] == "squat"
    assert {row["licence"] for row in found.values()} == {"CC0-1.0"}
    assert len({row["video_id"] for row in found.values()}) == 3
    assert len(read_manifest(out, load_activities())) == 3


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no such thing", '--search "no such thing"'),
        ("https://", "not a valid address"),
        ("EMPTY", "there is no video in"),
    ],
)
def test_a_source_that_is_nothing_says_what_to_do(tmp_path, source, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        gathered(tmp_path / "c.csv", source.replace("EMPTY", str(tmp_path / "empty")))
    assert not (tmp_path / "c.csv").exists()


def test_a_folder_that_the_list_could_not_name_is_refused_with_a_place_that_can(
    tmp_path, make_video
):
    make_video(tmp_path / "mine/a.mp4")
    (tmp_path / "lists").mkdir()
    with pytest.raises(UserError, match=f"--out {tmp_path}/candidates.csv"):
        gathered(tmp_path / "lists/c.csv", tmp_path / "mine")


def test_another_file_is_not_taken_for_a_list(tmp_path):
    out = tmp_path / "c.csv"
    out.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="Choose another --out"):
        CandidateFile(out)
    assert out.read_text() == "a,b\n1,2\n"


def test_the_verb_takes_a_file_of_sources_and_names_the_next_command(tmp_path, make_video):
    make_video(tmp_path / "mine/a.mp4")
    (tmp_path / "sources.txt").write_text(f"# mine\n\n{tmp_path}/mine\n")
    out = tmp_path / "c.csv"
    words = ["collect", "--from", str(tmp_path / "sources.txt"), "--out", str(out)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "1 candidates added" in done.stdout
    assert f"Next: musclemap download --manifest {out} --data data/candidates" in done.stderr
    assert "musclemap segment --data data/candidates" in done.stderr
    told = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert (told["added"], told["present"], told["left_out"]) == (0, 1, [])
    assert CliRunner().invoke(app, ["collect"]).exit_code == 2
