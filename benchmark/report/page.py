"""The report of one finished run: one HTML file that needs nothing else, not even a network.

:func:`write_report` puts the sections of :data:`SECTIONS` one below the other. A section whose
material is missing says so in its place.
"""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.clips import Clip, read_clips
from benchmark.record import read_identity
from benchmark.report import analysis, figures, plots
from benchmark.report.figures import Material
from benchmark.report.pictures import DIFFERENCE_GAIN, clip_strips, data_url, strip
from benchmark.settings import Settings
from musclemap_data.catalog import is_synthetic, load_muscles
from musclemap_data.draw.body_map import body_map_svg
from musclemap_data.errors import UserError
from musclemap_data.files import write_text
from musclemap_data.shards import read_dataset_info

CLIPS_SHOWN = 3
"""Best clips, and as many worst."""
SYNTHETIC_NOTE = (
    "These clips are synthetic: rendered by the embedded sample, nobody was filmed. The scores "
    "show that everything works, not how good a model is on real video."
)


def write_report(run_dir: Path, data_dir: Path, out: Path, *, region: str | None = None) -> Path:
    """Write the report of a finished run (atomically).

    Args:
        data_dir: the data set that the run was scored on; without it pictures are left out.
        out: the HTML file.
        region: the muscle region that Grad-CAM explains; if not given, one is chosen by a rule
            that stands in the report.

    Returns:
        ``out``.

    Raises:
        UserError: the run is not complete or damaged, there is no such region, or ``out`` is not
            the name of an HTML file.
    """
    out = Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{out} ends in {out.suffix or 'nothing'}; the report is an .html file")
    page = format_report(figures.read_material(run_dir, data_dir, region))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, page)
    return out


def format_report(material: Material) -> str:
    """The whole page."""
    record = material.record
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    title = f"{record.model} on {record.data.name}"
    links, parts = [], []
    for name, (heading, make) in SECTIONS.items():
        try:
            body = make(material)
        except UserError as error:
            body = f'<p class="absent">This part could not be made: {_text(error)}</p>'
        links.append(f'<li><a href="#{name}">{heading}</a></li>')
        parts.append(f'<section id="{name}"><h2>{heading}</h2>{body}</section>')
    warning = ""
    if is_synthetic(clip.video_id for clip in material.predictions.clips):
        warning = f'<p class="warning"><strong>Synthetic data.</strong> {SYNTHETIC_NOTE}</p>'
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_text(title)} - MuscleMap report</title><style>{style}</style></head>",
            '<body><div class="frame">',
            f'<nav aria-label="Contents"><ol>{"".join(links)}</ol></nav><main>',
            f"<header><h1>{_text(title)}</h1>",
            f'<p class="soft">Run {_text(record.run)}, seed {record.seed}. Which of 20 '
            f"muscle regions are active in a clip?</p>{warning}{_headline(material)}</header>",
            *parts,
            f"</main><footer>{_footer()}</footer></div></body></html>\n",
        ]
    )


def _footer() -> str:
    try:
        number = version("musclemap")
    except PackageNotFoundError:
        number = "(not installed)"
    return (
        f"MuscleMap {number}. Labels are derived from public exercise tables and belong to the "
        "activity; no muscle was measured. Not a medical device."
    )


# -- pieces of HTML -------------------------------------------------------------------------------


def _text(value: object) -> str:
    return html.escape(str(value))


def _table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    foot: Iterable[Sequence[str]] = (),
    *,
    kind: str = "",
) -> str:
    """A table of plain text cells that scrolls inside its own box where it is too wide."""

    def lines(cells: Iterable[Sequence[str]], tag: str) -> str:
        joined = []
        for line in cells:  # a label that is set in belongs to the line above it
            kind = ' class="sub"' if line[0].startswith(" ") else ""
            texts = "".join(f"<{tag}>{_text(cell.strip())}</{tag}>" for cell in line)
            joined.append(f"<tr{kind}>{texts}</tr>")
        return "".join(joined)

    head = f"<thead>{lines([header], 'th')}</thead>" if any(header) else ""
    return (
        f'<div class="wide"><table class="{kind}">{head}'
        f"<tbody>{lines(rows, 'td')}</tbody><tfoot>{lines(foot, 'td')}</tfoot></table></div>"
    )


def _details(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>{body}</details>"


def _picture(picture: np.ndarray, alt: str) -> str:
    height, width = picture.shape[:2]
    return f'<img src="{data_url(picture)}" width="{width}" height="{height}" alt="{_text(alt)}">'


def _percent(value: float | None, digits: int = 1) -> str:
    return "n/a" if value is None or not np.isfinite(value) else f"{100 * value:.{digits}f}"


def _interval(ends: Sequence[float] | None) -> str:
    return "not defined" if ends is None else f"{_percent(ends[0])} to {_percent(ends[1])}"


def _activity(name: str) -> str:
    return name.replace("_", " ")


# -- sections -------------------------------------------------------------------------------------


def _headline(material: Material) -> str:
    half = material.half
    parts = []
    for heading, part in (
        (f"{half}, known activities", f"{half}_known"),
        (f"{half}, new activities", f"{half}_new"),
        (f"{half}, mean of both", half),
    ):
        scores = material.record.scores.of(part)
        signed = "n/a" if scores.lift is None else f"{100 * scores.lift:+.1f} points"
        parts.append(
            f"<li><span>mAP, {heading}</span><b>{_percent(scores.map)} %</b>"
            f"<span>95% interval {_interval(scores.map_interval)} %</span>"
            f"<span>lift over a constant score {signed}</span></li>"
        )
    return f'<ul class="scores">{"".join(parts)}</ul>'


def _results(material: Material) -> str:
    table = figures.results_table(material)
    notes = "".join(f'<p class="rule">{_text(note)}</p>' for note in table.notes)
    beside = len({run.run for run in table.runs}) - 1
    others = f" and {beside} finished runs beside it on the same clips" if beside else ""
    return (
        f"<p>{_text(table.title)}: this run{others}. Shared settings: "
        f"{_text(table.settings) or 'none'}.</p>"
        f"{_table(table.header, table.rows, table.facts, kind='dense')}{notes}"
    )


def _regions(material: Material) -> str:
    scores = {name: analysis.region_scores(c) for name, (_, c) in material.splits.items()}
    header = ["muscle region"]
    for name in scores:
        header += [f"{name}: AP in %", "constant in %", "active in clips"]
    rows = []
    for muscle in load_muscles():
        line = [muscle.name]
        for each in scores.values():
            line += [_percent(each.average_precision[muscle.index])]
            line += [_percent(each.constant[muscle.index])]
            line += [f"{each.positives[muscle.index]} of {each.clips}"]
        rows.append(line)
    svg = plots.to_svg(figures.regions_figure(material), "Average precision of each muscle region")
    return (
        '<p class="rule">A region that is active in no clip of a split has no average precision '
        "there. A constant score gets the share of active clips: judge a bar by how far it goes "
        "beyond its tick. Few active clips make a bar uncertain.</p>"
        f'<figure class="column">{svg}</figure>'
        f"{_details('The numbers', _table(header, rows))}"
    )


def _activities(material: Material) -> str:
    confusion = analysis.activity_confusion(material.scored)
    count = confusion.activities
    pairs = sorted(
        (-confusion.share[row, column], row, column)
        for row, column in zip(*np.nonzero(confusion.share), strict=True)
        if row != column
    )
    names = [_activity(name) for name in confusion.names]
    listed = [
        [names[row], names[column], f"{_percent(-share, 0)} % of {confusion.clips[row]}"]
        for share, row, column in pairs[:10]
    ]
    svg = plots.to_svg(figures.confusion_figure(material), "Confusion of activities")
    merged = " There are many activities: the matrix is of their families." * confusion.families
    return (
        '<p class="rule">The model names regions, not activities. Each clip is given to the '
        "activity whose label set has the largest likelihood under the clip's 20 scores p: the "
        "sum over regions of log p where the label is 1 and log (1 - p) where it is 0. Activities "
        f"with the same label set share a clip equally.{merged} Rows are what was done, with their "
        "clips; cells are the percent of a row's clips. Blue: known activities, orange: new.</p>"
        f"<p>{_percent(confusion.correct)} % of the {len(material.scored.clips)} clips are given "
        f"to their own activity of {count} (chance: {_percent(1 / count)} %). Their own activity "
        f"is at place {confusion.median_place:g} on the median (chance: {(count + 1) / 2:g}).</p>"
        f'<div class="wide"><figure class="matrix">{svg}</figure></div>'
        + _details(
            "The most frequent confusions",
            _table(["done", "nearest", "of its clips"], listed)
            if listed
            else "<p>There are none.</p>",
        )
    )


def _calibration(material: Material) -> str:
    header = ["probability in %"]
    each = {name: analysis.reliability(clips) for name, (_, clips) in material.splits.items()}
    for name in each:
        header += [f"{name}: predicted %", "active %", "pairs"]
    bins = len(next(iter(each.values())).count)
    rows = []
    for number in range(bins):
        line = [f"{100 * number / bins:.0f} to {100 * (number + 1) / bins:.0f}"]
        for values in each.values():
            line += [_percent(values.predicted[number]), _percent(values.observed[number])]
            line += [str(values.count[number])]
        rows.append(line)
    errors = ", ".join(f"{100 * v.error:.1f} points on {name}" for name, v in each.items())
    svg = plots.to_svg(figures.calibration_figure(material), "Reliability diagram")
    return (
        f"<p>Expected calibration error: {errors}.</p>"
        f'<p class="rule">All pairs of clip and region in {bins} bins of equal width by predicted '
        "probability; the error is the mean distance from the diagonal, weighted by the pairs in "
        "the bin (Guo et al., arXiv 1706.04599). Larger dots hold more pairs.</p>"
        f'<figure class="column">{svg}</figure>{_details("The numbers", _table(header, rows))}'
    )


def _training(material: Material) -> str:
    svg = plots.to_svg(figures.training_figure(material), "Training curves")
    record, log = material.record, analysis.read_log(material.run_dir)
    training = record.training
    validation = record.scores.means["val"].map
    facts = [
        ["clips for training", str(record.train_clips)],
        ["optimiser steps", f"{len(log['step'])} in {int(log['epoch'][-1]) + 1} epochs"],
        ["last loss", f"{log['loss'][-1]:.4f}"],
        ["largest learning rate", f"{log['learning_rate'].max():.3g}"],
        ["validation mAP, known and new", f"{_percent(validation)} %"],
    ]
    if training:
        facts += [
            [
                "time since it was last started",
                f"{training.seconds:.0f} s on {record.machine.device}",
            ],
            ["speed", f"{training.clips_per_s:.1f} clips/s"],
            ["waiting for data", f"{_percent(training.wait_share)} % of the time"],
        ]
    return (
        '<p class="rule">Validation is scored once, after the last step: there is no curve of it. '
        "The loss is that of the training clips of each step, before the step.</p>"
        f'<div class="plots"><figure class="column">{svg}</figure>'
        f"{_table(['', ''], facts, kind='words')}</div>"
    )


def _clips(material: Material) -> str:
    order, ranking = analysis.clip_order(material.scored)
    if not len(order):
        raise UserError("no scored clip has an active region")
    shown = min(CLIPS_SHOWN, (len(order) + 1) // 2)
    groups = (("Best ranked", order[:shown]), ("Worst ranked", order[::-1][: len(order) - shown]))
    places, why = _places(material)
    parts = [
        '<p class="rule">Ranked by label ranking average precision: for each active region, the '
        "share of active ones among the regions that score at least as high, then the mean; 100 % "
        "is a perfect order. Between equal ones the likelihood of the labels decides. A region is "
        f"called active from a score of {_percent(material.record.threshold, 0)} % on, the best F1 "
        "on the validation clips.</p>",
        why,
    ]
    for heading, members in groups:
        if len(members):
            parts.append(f"<h3>{heading} of {len(order)} {material.half} clips</h3>")
        for number in members[:shown]:
            clip = material.scored.clips[number]
            parts.append(
                _clip(material, number, f"ranking {_percent(ranking[number])} %", "ranked",
                      _strips(places.get(clip.clip_id)))
            )  # fmt: skip
    return "".join(parts)


def _places(material: Material) -> tuple[dict[str, Clip], str]:
    """Where the scored clips lie; and a note where some are not there."""
    try:
        read_dataset_info(material.data_dir)
        split_of = {clip.clip_id: clip.split for clip in material.scored.clips}
        splits = sorted(set(split_of.values()))
        found = {
            clip.clip_id: clip for clip in read_clips(material.data_dir, splits, None, split_of)
        }
    except UserError as error:
        return {}, f'<p class="absent">No pictures: {_text(error)}</p>'
    missing = len(material.scored.clips) - len(found)
    if missing:
        note = f"{missing} of the scored clips are not in {material.data_dir}: no pictures of them."
        return found, f'<p class="absent">{_text(note)}</p>'
    return found, ""


def _clip(material: Material, number: int, fact: str, place: str, pictures: str) -> str:
    """A card: pictures at the left; label, prediction and the lists of regions at the right."""
    clip, scores = material.scored.clips[number], material.scored.scores[number]
    kind = "new" if clip.split.endswith("_new") else "known"
    maps = []
    for what, values in (("label", np.array(clip.muscles, float)), ("predicted", scores)):
        title = f"{what}: {_activity(clip.activity)}"
        svg = body_map_svg(
            values.tolist(), labels=False, legend=False, id_prefix=f"{place}-{number}-{what}-"
        )
        maps.append(f"<figure title='{_text(title)}'>{svg}<figcaption>{what}</figcaption></figure>")
    lists = analysis.region_lists(clip.muscles, scores, material.record.threshold)
    words = {
        "right": "active and predicted",
        "missed": "active, not predicted",
        "extra": "predicted, not active",
    }
    terms = "".join(
        f'<dt class="{name}">{words[name]} ({len(members)})</dt><dd>'
        + (", ".join(f"{_text(region)}&nbsp;<small>{_percent(score, 0)}&nbsp;%</small>"
                     for region, score in members) or "none")
        + "</dd>"
        for name, members in lists.items()
    )  # fmt: skip
    return (
        f'<article class="clip"><h3>{_text(_activity(clip.activity))} '
        f"<span>{kind} activity, clip {_text(clip.clip_id)}, {fact}</span></h3>"
        f'<div class="strips">{pictures}</div><div><div class="bodies">{"".join(maps)}</div>'
        f'<dl class="lists">{terms}</dl></div></article>'
    )


def _strips(clip: Clip | None) -> str:
    """The four modalities of a clip as pictures."""
    if clip is None:
        return '<p class="absent">The clip is not in the data set.</p>'
    try:
        strips = clip_strips(clip)
    except UserError as error:
        return f'<p class="absent">{_text(error)}</p>'
    numbers = ", ".join(str(number) for number in strips["frame_numbers"])
    captions = {
        "rgb": f"RGB, frames {numbers} of {clip.frames}",
        "rgb_diff": f"RGB difference, {DIFFERENCE_GAIN} times as bright",
        "flow": "optical flow: colour is direction, white is at rest",
        "skeleton": "skeleton: left red, right blue",
    }
    return "".join(
        f"<figure>{_picture(strips[name], caption)}<figcaption>{caption}</figcaption></figure>"
        if strips[name] is not None
        else f'<p class="absent">{name.replace("_", " ")} was not extracted.</p>'
        for name, caption in captions.items()
    )


def _gradcam(material: Material) -> str:
    explanations = material.explanations
    name = load_muscles()[material.region].name
    reads = ", ".join(material.record.modalities).replace("_", " ")
    parts = [
        f"<p>Where the video stream looks for the region <strong>{_text(name)}</strong> "
        f"({material.region_rule}). The model reads {_text(reads)}.</p>",
        '<p class="rule">Grad-CAM (Selvaraju et al., ICCV 2017): the features that the end of the '
        "network reads, weighted by the mean gradient of the region's logit, positive part. The "
        "middle test view of each clip; colours from nothing to the view's largest value: "
        '<span class="scale"></span>. Of the clips in which the region is active, known and new '
        "activities alike: the one that scores highest, then the one that scores lowest. The map "
        "shows what speaks for the region in this network, not what should.</p>",
    ]
    numbers = {clip.clip_id: number for number, clip in enumerate(material.scored.clips)}
    for each in explanations:
        number = numbers[each.clip.clip_id]
        places, pictures = figures.shown_frames(each)
        frames = ", ".join(str(n) for n in each.frame_numbers[places])
        score = _percent(material.scored.scores[number, material.region], 0)
        caption = f"frames {frames} of {each.clip.frames}, as the model sees them; below, with heat"
        if not each.heat.any():
            caption += ". The map is zero: nothing in these features speaks for the region"
        strips = "".join(
            _picture(strip(shown), f"{what} of {each.clip.activity}")
            for what, shown in (("frames", list(each.frames[places])), ("heat", pictures))
        )
        parts.append(
            _clip(material, number, f"{_text(name)} scores {score} %", "explained",
                  f"<figure>{strips}<figcaption>{caption}</figcaption></figure>")
        )  # fmt: skip
    return "".join(parts)


def _coverage(material: Material) -> str:
    rows = []
    for split, scores in material.record.scores.splits.items():
        rows.append(
            [
                _activity(split),
                str(scores.clips),
                "n/a" if scores.planned is None else str(scores.planned),
                "n/a" if scores.coverage is None else f"{_percent(scores.coverage)} %",
                str(scores.videos),
                str(scores.activities),
                f"{scores.regions} of {len(scores.per_region_ap)}",
                str(scores.trivial_regions),
            ]
        )
    header = ["split", "clips", "planned", "coverage", "videos", "activities"]
    header += ["regions in the mean", "regions always on"]
    return (
        f"<p>{material.record.train_clips} clips were trained on. Coverage is the share of a "
        "split's planned clips that could be built and scored; it is not defined for a subset or "
        f"for folds.</p>{_table(header, rows)}"
    )


def _settings(material: Material) -> str:
    values = read_identity(material.run_dir).settings.to_dict()
    record, changes = material.record, material.record.changes
    command = f"musclemap benchmark --model {record.model} --preset {record.preset}"
    command += f" --seed {record.seed}"
    command += "".join(f" --set {name}={_plain(value)}" for name, value in changes.items())
    rows = [
        [f"{field.name} (changed)" if field.name in changes else field.name,
         _plain(values[field.name]), str(field.metadata["doc"])]
        for field in dataclasses.fields(Settings)
    ]  # fmt: skip
    changed = ", ".join(f"{n} = {_plain(v)}" for n, v in changes.items()) or "nothing"
    return (
        f"<p>Preset {_text(record.preset)}; changed: {_text(changed)}.</p>"
        f"<p>Made by <code>{_text(command)}</code></p>"
        + _details(
            f"All {len(rows)} settings",
            _table(["setting", "value", "meaning"], rows, kind="words"),
        )
    )


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _environment(material: Material) -> str:
    record, data = material.record, material.record.data
    adds, machine = record.cost.multiply_adds_per_view, dataclasses.asdict(record.machine)
    rows = [
        ["model", f"{record.parameters:,} parameters"],
        ["one view", "n/a" if adds is None else f"{adds / 1e9:.3g} x 10^9 multiply-adds"],
        ["scoring", f"{record.cost.clips_per_s:.1f} clips/s, all views"],
        ["machine", ", ".join(f"{name} {value}" for name, value in machine.items())],
        ["data set", f"{data.name}, clips {data.fingerprint[:16]}"],
    ]
    if data.subset:
        rows.append(["subset", "only the clips of a list"])
    if data.folds:
        rows.append(["protocol", f"activity-folds, fold {data.fold} of {data.folds}"])
    try:
        info = read_dataset_info(material.data_dir)
        for name, made in info.get("modalities", {}).items():
            rows.append([name, f"{made['extractor']} {made['version']}"])
        tools = info.get("tools", {})
        rows.append(["built with", ", ".join(f"{name} {tools[name]}" for name in tools)])
    except UserError as error:
        rows.append(["how it was built", str(error)])
    return _table(["", ""], rows, kind="words")


SECTIONS: dict[str, tuple[str, Callable[[Material], str]]] = {
    "results": ("Results", _results),
    "regions": ("Muscle regions", _regions),
    "activities": ("Activities", _activities),
    "calibration": ("Calibration", _calibration),
    "training": ("Training", _training),
    "clips": ("Best and worst clips", _clips),
    "gradcam": ("Where it looks", _gradcam),
    "coverage": ("Coverage", _coverage),
    "settings": ("Settings", _settings),
    "environment": ("Environment", _environment),
}
"""Anchor -> heading, and what makes the section's HTML."""
