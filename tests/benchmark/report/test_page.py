"""The report in a real browser, the figures as files, and the numbers behind both."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmark import metrics
from benchmark.clips import Clip, read_clips
from benchmark.predictions import Predictions
from benchmark.record import read_record
from benchmark.report import analysis, plots
from benchmark.report.figures import read_material, write_figures
from benchmark.report.page import SECTIONS, format_report, write_report
from benchmark.report.pictures import clip_strips
from benchmark.run import Run
from benchmark.settings import Settings
from cli import app
from musclemap_data.catalog import load_activities
from musclemap_data.draw.colours import region_colour
from musclemap_data.draw.flow import flow_picture
from musclemap_data.errors import UserError
from tests.benchmark.conftest import HEIGHT, WIDTH, make_row, write_dataset

MODELS = ("transm3e", "stgcn", "label-prior")


@pytest.fixture(scope="module")
def runs(dataset_dir, tmp_path_factory) -> Path:
    """Runs of a fused model, a skeleton model and a constant, on 45 tiny clips."""
    settings = Settings.from_preset(
        "tiny", frames=4, rate=3, crop_size=32, jitter_min=36, jitter_max=44, test_short_side=36,
        epochs=2, batch_size=4, workers=0, threads=1, device="cpu", model_width=16,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("runs")
    for name in MODELS:
        Run(dataset_dir, name, settings, runs_dir=folder, name=name).complete()
    return folder


def small_run(folder: Path, **row: str) -> tuple[Path, Path]:
    """A run of the random model on a data set of one clip a split, and the data set."""
    clips = {
        split: [make_row(f"{split}-0", row.get("activity", "hop"), split, frames=6,
                         video_id=row.get("video_id"))]
        for split in ("train", "val_known", "val_new", "test_known", "test_new")
    }  # fmt: skip
    data = write_dataset(folder / "data", clips)
    settings = Settings.from_preset("tiny", workers=0, device="cpu")
    Run(data, "random", settings, runs_dir=folder / "runs", name="random").complete()
    return folder / "runs" / "random", data


# -- the page in a browser ------------------------------------------------------------------------


@pytest.mark.slow
def test_the_log_of_a_page_sees_requests_and_errors(chromium_page, tmp_path):
    page, log = chromium_page
    path = tmp_path / "page.html"
    path.write_text("<!doctype html><title>clean</title><p>text</p>")
    page.goto(path.as_uri())
    assert log == []
    path.write_text(
        "<!doctype html><img src='https://example.org/a.png'>"
        "<script>throw new Error('boo')</script>"
    )
    page.goto(path.as_uri())
    assert "request to https://example.org/a.png" in log
    assert "exception: boo" in log


@pytest.mark.slow
def test_the_report_in_a_browser(runs, dataset_dir, tmp_path, chromium_page):
    page, log = chromium_page
    out = write_report(runs / "transm3e", dataset_dir, tmp_path / "page" / "report.html")
    page.goto(out.as_uri())
    assert page.title() == "transm3e on test - MuscleMap report"
    headings = page.locator("main h2").all_inner_texts()
    assert headings == [heading for heading, _ in SECTIONS.values()]
    assert page.locator(".absent").count() == 0
    assert page.locator(".warning").count() == 0  # not of the synthetic sample
    for name in SECTIONS:
        assert page.locator(f"section#{name}").bounding_box()["height"] > 100, name
    pictures = page.locator("img")
    assert pictures.count() >= 6 * 4 + 4 * 2  # clips of four modalities; Grad-CAM in two rows
    assert all(pictures.evaluate_all("all => all.map(each => each.naturalWidth > 0)"))
    score = read_record(runs / "transm3e").scores.splits["test_new"].map
    assert f"{100 * score:.1f} %" in page.locator(".scores").inner_text()

    page.emulate_media(reduced_motion="reduce")  # it would scroll smoothly
    for link in page.locator("nav a").all():
        link.click()
        target = page.locator(f"section{link.get_attribute('href')} h2")
        assert 0 <= target.bounding_box()["y"] < 900
    page.screenshot(path=tmp_path / "wide.png", full_page=True)

    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        ink, paper = page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body)"
            ".backgroundColor].map(c => c.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0))"
        )
        assert (ink < paper) == (scheme == "light")
        assert abs(ink - paper) > 400
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.screenshot(path=tmp_path / "narrow.png", full_page=True)
    assert (tmp_path / "wide.png").stat().st_size > 50_000
    assert log == []


@pytest.mark.slow
def test_a_hostile_name_does_nothing(tmp_path, chromium_page):
    page, log = chromium_page
    bad = "<img src=x onerror=alert(1)>\"'&$\\frac$"
    run, data = small_run(tmp_path, activity=bad, video_id="synthetic_00")
    out = write_report(run, data, tmp_path / "report.html")
    page.goto(out.as_uri())
    assert page.locator("img[src=x]").count() == 0
    assert bad in page.locator("#clips").inner_text()
    assert "Synthetic data" in page.locator(".warning").inner_text()
    assert log == []


# -- parts that cannot be made --------------------------------------------------------------------


def section(page: str, name: str) -> str:
    return page.split(f'<section id="{name}">')[1].split("</section>")[0]


@pytest.mark.slow
def test_what_cannot_be_made_is_said_in_its_place(runs, dataset_dir, tmp_path):
    page = write_report(runs / "stgcn", dataset_dir, tmp_path / "stgcn.html").read_text()
    assert "needs a video model" in section(page, "gradcam")
    assert "<svg" in section(page, "training")
    page = write_report(runs / "label-prior", dataset_dir, tmp_path / "prior.html").read_text()
    assert "was not trained" in section(page, "training")
    assert "sees no pictures" in section(page, "gradcam")
    assert page.count("could not be made") == 2
    page = write_report(runs / "transm3e", tmp_path / "nowhere", tmp_path / "a.html").read_text()
    assert "There is no data set in" in section(page, "clips")
    assert "There is no data set in" in section(page, "environment")
    assert "missed" in section(page, "clips")
    assert "could not be made" in section(page, "gradcam")
    assert "<svg" in section(page, "calibration")


@pytest.mark.slow
def test_the_page_needs_nothing_else_and_repeats(runs, dataset_dir, tmp_path):
    first = write_report(runs / "transm3e", dataset_dir, tmp_path / "a.html", region="glutes")
    second = write_report(runs / "transm3e", dataset_dir, tmp_path / "b.html", region="glutes")
    page = first.read_text()
    assert page == second.read_text()
    assert "<strong>gluteus</strong> (asked for with --region)" in page
    assert "<script" not in page
    for url in re.findall(r"(?:src|href)=[\"']?([^\"' >]+)|url\(([^)]*)\)", page):
        assert "".join(url).startswith(("data:image/jpeg;base64,", "#"))
    ids = re.findall(r'\bid="([^"]+)"', page)
    clashes = {name for name in ids if ids.count(name) > 1}
    assert not clashes
    # Every number of the results table is there, of all runs beside this one.
    for name in MODELS:
        score = read_record(runs / name).scores.splits["test_new"].map
        assert f"<td>{100 * score:.1f}</td>" in section(page, "results")


def test_mistakes_are_explained(runs, dataset_dir, tmp_path):
    with pytest.raises(UserError, match="no muscle region 'tail'"):
        write_report(runs / "stgcn", dataset_dir, tmp_path / "a.html", region="tail")
    with pytest.raises(UserError, match=r"ends in .pdf; the report is an .html"):
        write_report(runs / "stgcn", dataset_dir, tmp_path / "a.pdf")
    with pytest.raises(UserError, match="no complete run"):
        write_report(tmp_path, dataset_dir, tmp_path / "a.html")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--out is a folder"):
        write_figures(runs / "stgcn", dataset_dir, tmp_path / "file")
    assert not list(tmp_path.glob("*.html"))


# -- figures --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_figures_are_of_a_columns_width_with_their_fonts(runs, dataset_dir, tmp_path):
    written, left_out = write_figures(runs / "transm3e", dataset_dir, tmp_path / "a")
    assert left_out == {}
    names = {path.name for path in written}
    assert names == {"regions.pdf", "calibration.pdf", "confusion.pdf", "training.pdf",
                     "gradcam.pdf", "results.tex"}  # fmt: skip
    for path in written:
        if path.suffix == ".pdf":
            pdf = path.read_bytes()
            width = float(re.search(rb"/MediaBox \[ ?0 0 ([\d.]+)", pdf).group(1)) / 72
            assert width == pytest.approx(7.0 if path.name == "gradcam.pdf" else 3.5), path.name
            assert b"/FontFile2" in pdf
            assert b"/Type3" not in pdf
    table = (tmp_path / "a" / "results.tex").read_text()
    assert table.count(r"\begin{tabular}") == 1
    assert "stgcn" in table
    again, _ = write_figures(runs / "transm3e", dataset_dir, tmp_path / "b")
    assert [p.read_bytes() for p in written] == [p.read_bytes() for p in again]


@pytest.mark.slow
def test_the_verbs(runs, dataset_dir, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("dataset.json", "shards"):
        (data / name).symlink_to(dataset_dir / name)
    (data / "runs").symlink_to(runs)
    invoke = CliRunner().invoke
    done = invoke(app, ["report", "--data", str(data), "--out", str(tmp_path / "best.html")])
    assert done.exit_code == 0, done.output
    assert "the highest validation mAP" in done.stderr
    assert done.stdout.strip() == str(tmp_path / "best.html")
    where = ["--data", str(data), "--out", str(tmp_path / "figures")]
    done = invoke(app, ["figures", "label-prior", "--json", *where])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert all(Path(path).is_file() for path in printed["written"])
    assert set(printed["left_out"]) == {"training", "gradcam"}
    done = invoke(app, ["report", "stgc", "--data", str(data)])
    assert done.exit_code == 2
    assert "did you mean stgcn?" in done.stderr
    done = invoke(app, ["figures", "stgcn", "--region", "abdominals", *where])
    assert done.exit_code == 2
    assert "may be upper abdominis or lower abdominis" in done.stderr


# -- numbers --------------------------------------------------------------------------------------


def predictions(scores: np.ndarray, labels: np.ndarray, activities, splits=None) -> Predictions:
    splits = splits or ["test_known"] * len(scores)
    clips = [
        Clip(f"c{n}", f"v{n}", activity, split, 1, 1, 1, tuple(map(bool, row)), Path(), n)
        for n, (activity, split, row) in enumerate(zip(activities, splits, labels, strict=True))
    ]
    return Predictions(clips, np.asarray(scores, np.float32), np.ones(len(clips), int))


def test_confusion_gives_each_clip_to_the_likeliest_label_set():
    labels = np.zeros((5, 20))
    labels[0, :3] = labels[1, 3:6] = 1
    labels[2, 6:9] = labels[3, 6:9] = 1  # two activities of one label set
    labels[4, :3] = 1
    names = ["a", "b", "c", "d", "a"]
    scores = 0.1 + 0.8 * labels
    scores[4] = 0.1 + 0.8 * labels[1]  # taken for b
    found = analysis.activity_confusion(
        predictions(scores, labels, names, ["test_known"] * 3 + ["test_new", "test_known"])
    )
    assert found.names == ["a", "b", "c", "d"]
    assert found.new == [False, False, False, True]
    assert found.clips.tolist() == [2, 1, 1, 1]
    expected = [[0.5, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 0.5, 0.5], [0, 0, 0.5, 0.5]]
    assert found.share.tolist() == expected
    assert found.correct == pytest.approx((1 + 1 + 0.5 + 0.5 + 0) / 5)
    # The last clip's own set is as far as the two others of three regions.
    assert found.median_place == 1.5
    constant = analysis.activity_confusion(predictions(np.full((5, 20), 0.5), labels, names))
    assert constant.correct == pytest.approx(0.25)
    assert constant.median_place == 2.5


def test_many_activities_are_shown_as_families():
    table = load_activities()
    labels = np.array([activity.muscles for activity in table.values()])
    found = analysis.activity_confusion(predictions(labels * 1.0, labels, list(table)))
    families = {activity.family for activity in table.values()}
    assert found.families
    assert set(found.names) == families
    assert found.clips.sum() == len(table)
    assert found.share.sum(axis=1) == pytest.approx(1)
    assert plots.to_svg(plots.confusion_plot(found), "families").count("<text") > len(families)


def test_reliability_adds_up_to_the_calibration_error():
    rng = np.random.default_rng(0)
    scores = rng.random((200, 20))
    labels = rng.random((200, 20)) < scores**2
    found = analysis.reliability(predictions(scores, labels, ["a"] * 200))
    gaps = np.abs(found.predicted - found.observed)
    assert found.count.sum() == 4000
    assert (gaps * found.count).sum() / 4000 == pytest.approx(found.error)
    assert found.error == pytest.approx(
        metrics.calibration_error(scores.astype(np.float32), labels)
    )
    few = analysis.reliability(predictions(np.full((1, 20), 1.0), np.ones((1, 20)), ["a"]))
    assert few.count.tolist() == [0] * 14 + [20]
    assert few.error == 0


def test_clips_to_explain_are_of_both_kinds_and_both_ends():
    labels = np.zeros((8, 20))
    labels[:7, 4] = 1
    scores = np.zeros((8, 20))
    scores[:, 4] = [0.9, 0.8, 0.2, 0.7, 0.6, 0.3, 0.1, 1.0]
    splits = ["test_known"] * 3 + ["test_new"] * 5
    given = predictions(scores, labels, ["a", "a", "b", "c", "d", "e", "e", "f"], splits)
    assert analysis.clips_to_explain(given, 4) == [0, 2, 3, 6]
    assert analysis.clips_to_explain(given, 5) == []
    same = predictions(scores, labels, ["a"] * 8, splits)
    assert analysis.clips_to_explain(same, 4) == [0, 2, 3, 6]  # one activity: still both ends


def test_regions_are_found_by_any_of_their_names():
    assert analysis.find_region("gluteus") == analysis.find_region("Glutes") == 17
    assert analysis.find_region("Upper Abdominis") == 9
    with pytest.raises(UserError, match="may be upper abdominis or lower"):
        analysis.find_region("Rectus abdominis")


def test_clips_are_ordered_by_rank_then_likelihood():
    labels = np.zeros((4, 20))
    labels[:3, 0] = 1
    scores = np.full((4, 20), 0.1)
    scores[0, 0], scores[1, 0], scores[2, 0] = 0.6, 0.9, 0.05
    order, ranking = analysis.clip_order(predictions(scores, labels, "abcd"))
    assert order.tolist() == [1, 0, 2]  # the last has no active region: no rank
    assert ranking[:3] == pytest.approx([1, 1, 1 / 20])
    assert np.isnan(ranking[3])


def test_a_damaged_log_is_reported(tmp_path):
    assert analysis.read_log(tmp_path) == {}
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(UserError, match="cannot be read as a training log"):
        analysis.read_log(tmp_path)


def test_pictures_of_a_clip(tmp_path):
    row = make_row("one", "hop", "test_new", frames=12, without=("rgb_diff",))
    data = write_dataset(tmp_path / "data", {"test_new": [row]})
    (clip,) = read_clips(data, ["test_new"])
    strips, numbers = clip_strips(clip)
    assert strips["rgb_diff"] is None
    assert numbers.tolist() == [1, 5, 9]
    width = 3 * round(WIDTH * 150 / HEIGHT)
    for name in ("rgb", "flow", "skeleton"):
        assert strips[name].shape == (150, width, 3)
        assert strips[name].dtype == np.uint8
    # All moves to the right, a pixel a frame: a pale red, as its hue is 0 degrees.
    red, green, blue = strips["flow"].reshape(-1, 3).mean(0)
    assert red > 250
    assert green == pytest.approx(blue, abs=8)
    assert 140 < green < 200
    at_rest = np.full((2 * 8, 8, 1), 128, np.uint8)
    assert flow_picture(at_rest, 20.0).min() > 240


def test_format_report_is_one_html_page(tmp_path):
    run, data = small_run(tmp_path)
    page = format_report(read_material(run, data))
    assert page.startswith("<!doctype html>")
    assert page.count("<section") == page.count("</section>") == len(SECTIONS)


def test_the_report_shades_labels_by_grade_and_marks_weak_regions(tmp_path):
    activities = load_activities()
    clips = {
        split: [make_row(split, slug, split, frames=6) | {"muscles": activities[slug].muscles}]
        for split, slug in (("train", "squat"), ("val_known", "squat"), ("val_new", "hollow_hold"),
                            ("test_known", "squat"), ("test_new", "running"))
    }  # fmt: skip
    data = write_dataset(tmp_path / "data", clips)
    settings = Settings.from_preset("tiny", workers=0, device="cpu")
    Run(data, "random", settings, runs_dir=tmp_path / "runs", name="random").complete()
    out = tmp_path / "report.html"
    page = write_report(tmp_path / "runs" / "random", data, out).read_text()
    labels = re.findall(r'<figure title="label: running">(.*?)</figure>', page, re.DOTALL)
    assert labels
    shades = {region_colour(grade) for grade in activities["running"].grades if grade}
    assert len(shades) == 3
    assert all(shade in labels[0] for shade in shades)
    regions = section(page, "regions")
    assert "Weak labels:" in regions and "<td>wrists ?</td><td>n/a</td>" in regions
    assert "<td>gluteus</td><td>0.76</td>" in regions
    assert "[eight sources pooled]" in section(page, "results")
    plain = write_report(tmp_path / "runs" / "random", data, out, plain=True).read_text()
    assert "<td>ankles and feet ?</td>" in section(plain, "regions")
    assert "ankles and feet" in section(plain, "results")
    assert "feet ankles" not in plain.split("<main>")[1]


def test_regions_of_activities_that_are_not_ours_have_no_mark(tmp_path):
    run, data = small_run(tmp_path)
    regions = section(format_report(read_material(run, data)), "regions")
    assert "Weak labels" not in regions and "kappa" not in regions and "?</td>" not in regions
