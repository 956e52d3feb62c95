"""How far each activity has come: counts by stage and split, what comes next, and the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import app
from musclemap_data.catalog import load_activities
from musclemap_data.coverage.count import Coverage, count_coverage
from musclemap_data.coverage.page import shade, write_page
from musclemap_data.ledger import Ledger
from musclemap_data.manifest import DEMONSTRATION, Clip, bundled_manifests, read_manifest
from musclemap_data.review.decisions import DecisionFile, Kind
from musclemap_data.review.material import DECISIONS, proposed
from musclemap_data.review.queue import Queue
from musclemap_data.splits import partition_of
from tests.musclemap_data.review.proposed import write_proposed
from tests.musclemap_data.tiny_dataset import write_dataset, write_ledger


def of(coverage: Coverage, slug: str):
    return next(each for each in coverage.activities if each.slug == slug)


def test_the_bundled_list_alone_is_counted_without_a_data_set(tmp_path):
    activities = load_activities()
    listed = [clip for path in bundled_manifests() for clip in read_manifest(path, activities)]
    found = count_coverage(listed, tmp_path / "none", activities)
    assert len(found.activities) == 135
    assert found.with_any("listed") == len({clip.activity for clip in listed})
    assert found.with_any("downloaded") == found.with_any("built") == 0
    assert sum(found.by_split("listed").values()) == len(listed)
    nothing = [each for each in found.activities if not each.total("listed")]
    assert list(found.activities[: len(nothing)]) == nothing  # what is missing most comes first
    assert {each.next_step for each in nothing} == {"list"}
    assert {each.next_step for each in found.activities[len(nothing) :]} == {"download"}
    assert not (tmp_path / "none").exists()


def test_a_known_activity_is_wanted_in_three_splits_and_a_new_one_on_its_side():
    found = count_coverage([], Path("none"), load_activities())
    assert of(found, "squat").splits == ("train", "val_known", "test_known")
    new = [each for each in found.activities if each.new]
    assert len(new) == 20
    assert all(each.splits in (("val_new",), ("test_new",)) for each in new)
    # An activity that a list holds out is new in this list.
    held = Clip("c", "v", "https://example.org/v", 0, 1, "front_raise", "test_new")
    assert of(count_coverage([held], Path("none"), load_activities()), "front_raise").new


def test_built_and_downloaded_clips_are_counted_in_their_splits(tmp_path):
    write_dataset(tmp_path)
    write_ledger(tmp_path)
    found = count_coverage([], tmp_path, load_activities())
    assert dict(of(found, "squat").counts["built"]) == {"train": 1, "val_known": 1}
    assert of(found, "squat").empty_splits == ("test_known",)
    # It is scored on the validation side: a clip in test_new does not fill that.
    assert of(found, "hollow_hold").empty_splits == ("val_new",)
    assert found.activities[-1].slug == "squat"  # of which the least is missing


def test_proposals_and_decisions_are_counted_and_name_the_next_step(tmp_path):
    ids = write_proposed(tmp_path, 2)
    with Ledger(tmp_path) as ledger:
        whole = [
            Clip(f"w{n}", f"v000{n}", f"https://example.org/{n}", 0, None, "squat", split,
                 DEMONSTRATION)
            for n, split in enumerate(("train", "test_known"))
        ]  # fmt: skip
        ledger.sync(whole, tmp_path)
    queue = Queue(proposed(tmp_path), DecisionFile(tmp_path / DECISIONS), "ab", load_activities())
    before = count_coverage(whole, tmp_path, load_activities())
    # Of four proposals a video: squat, push-up, lunge, plank; and one on.
    assert dict(of(before, "squat").counts["proposed"]) == {"train": 1}
    assert dict(of(before, "push_up").counts["proposed"]) == {"train": 1, "test_known": 1}
    assert of(before, "push_up").next_step == "review"
    queue.decide(Kind.RELABEL, ids[0], activity="jump_squat")
    queue.decide(Kind.ACCEPT, ids[0])
    queue.decide(Kind.REJECT, ids[1], reason="seen before")
    after = count_coverage(whole, tmp_path, load_activities())
    assert dict(of(after, "jump_squat").counts["accepted"]) == {"train": 1}
    assert of(after, "jump_squat").next_step == "build"
    assert after.with_any("accepted") == 1


def test_a_proposal_of_a_new_activity_in_a_video_of_the_train_side_is_told(tmp_path):
    write_proposed(tmp_path, 20, each=1, files=False, label="hollow_hold")
    found = count_coverage([], tmp_path, load_activities())
    train = sum(partition_of(f"v{number:04}") == "train" for number in range(20))
    assert found.homeless == train > 0
    assert of(found, "hollow_hold").total("proposed") == 20 - train


@pytest.mark.parametrize(("count", "expected"), [(0, 0), (1, 1), (3, 2), (64, 5), (9999, 5)])
def test_shades_are_logarithmic(count, expected):
    assert shade(count) == expected


def test_the_page_has_every_activity_and_escapes_what_is_not_ours(tmp_path):
    found = count_coverage([], tmp_path / "none", load_activities())
    write_page(found, tmp_path / "new" / "page.html", "<b>mine</b>")
    text = (tmp_path / "new" / "page.html").read_text()
    assert "<b>mine</b>" not in text and "&lt;b&gt;mine" in text
    assert text.count('<th scope="row">') == 135
    assert "http" not in text.replace("http-equiv", "")


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390])
def test_the_page_is_as_wide_as_the_screen(tmp_path, chromium_page, width):
    page, log = chromium_page
    activities = load_activities()
    listed = [clip for path in bundled_manifests() for clip in read_manifest(path, activities)]
    write_page(count_coverage(listed, tmp_path, activities), tmp_path / "c.html", "The list")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto((tmp_path / "c.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert log == []


def test_the_verb_prints_what_is_missing_most_and_the_same_as_json(tmp_path):
    words = ["coverage", "--data", str(tmp_path), "--html", str(tmp_path / "c.html")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "what is missing most" in done.stdout
    assert "musclemap download --tier all" in done.stdout
    assert (tmp_path / "c.html").exists()
    told = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert len(told["activities"]) == 135
    first = told["activities"][0]
    assert f"\n{first['activity']} " in done.stdout
    assert told["activities_with_any"]["listed"] >= 120
