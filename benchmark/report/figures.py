"""The figures of one finished run: made once, for its report (SVG) and for a paper (PDF, LaTeX)."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from benchmark.finished import read_runs
from benchmark.predictions import Predictions, read_predictions
from benchmark.protocols.dropped import with_dropped
from benchmark.record import RunRecord, need_record
from benchmark.report import analysis, plots
from benchmark.report.tables import Table, format_latex, make_tables
from musclemap_data.catalog import load_muscles
from musclemap_data.errors import UserError
from musclemap_data.files import write_text

if TYPE_CHECKING:
    from benchmark.report.explain import Explanation

PICTURES_A_CLIP = 4


@dataclass(frozen=True)
class Material:
    """A finished run and what its figures are made of.

    Attributes:
        run_dir, data_dir: where it lies, and the data set it was scored on.
        record: what it scored.
        predictions: its scores of all validation and test clips.
        region: the muscle region to explain, 0-19.
        region_rule: how that region was chosen, in words.
        plain: call the regions as in a gym.
    """

    run_dir: Path
    data_dir: Path
    record: RunRecord
    predictions: Predictions
    region: int
    region_rule: str
    plain: bool = False

    @property
    def names(self) -> list[str]:
        """What the 20 regions are called."""
        return [muscle.called(self.plain) for muscle in load_muscles()]

    @property
    def half(self) -> str:
        """``test``, or ``val`` where no test clip was scored."""
        return analysis.scored_half(self.predictions)

    @cached_property
    def scored(self) -> Predictions:
        """The clips of that half."""
        return analysis.of_half(self.predictions, self.half)

    @property
    def regions(self) -> dict[str, tuple[str, analysis.RegionScores]]:
        """Of the same: heading -> (colour, scores of each region)."""
        parts = self.record.scores.splits
        return {
            name: (colour, analysis.region_scores(clips, parts[name.replace(" ", "_")]))
            for name, (colour, clips) in self.splits.items()
        }

    @property
    def splits(self) -> dict[str, tuple[str, Predictions]]:
        """Known and new: heading -> (colour, clips), where there are clips."""
        found = {}
        for kind, colour in (("known", plots.KNOWN), ("new", plots.NEW)):
            clips = self.predictions.of_split(f"{self.half}_{kind}")
            if clips.clips:
                found[f"{self.half} {kind}"] = (colour, clips)
        return found

    @cached_property
    def explanations(self) -> list[Explanation]:
        """Grad-CAM of the region on a few clips.

        Raises:
            UserError: the model sees no pictures, or the clips are not there.
        """
        from benchmark.report.explain import explain_clips

        if not self.record.modalities:
            raise UserError(f"{self.record.model} sees no pictures; Grad-CAM explains those")
        chosen = analysis.clips_to_explain(self.scored, self.region)
        if not chosen:
            name = self.names[self.region]
            raise UserError(f"no scored clip has the region {name}; choose another with --region")
        ids = [self.scored.clips[number].clip_id for number in chosen]
        return explain_clips(self.run_dir, self.data_dir, ids, self.region)


def read_material(
    run_dir: Path, data_dir: Path, region: str | None = None, *, plain: bool = False
) -> Material:
    """Read a finished run.

    Args:
        region: the muscle region to explain; if not given, the one that is active in nearest to
            half of the clips.
        plain: call the regions as in a gym.

    Raises:
        UserError: the run is not complete or damaged, or there is no such region.
    """
    record = need_record(run_dir)
    predictions = read_predictions(Path(run_dir) / "predictions.parquet")
    if not predictions.clips:
        raise UserError(f"{run_dir} has scores of no clip: there is nothing to show")
    if region is not None:
        number, rule = analysis.find_region(region), "asked for with --region"
    else:
        half = analysis.scored_half(predictions)
        number = analysis.typical_region(analysis.of_half(predictions, half))
        rule = f"the one that is active in nearest to half of the {half} clips"
    return Material(Path(run_dir), Path(data_dir), record, predictions, number, rule, plain)


def results_table(material: Material) -> Table:
    """The run among all finished runs beside it that are about the same clips."""
    runs = with_dropped(read_runs(material.run_dir.resolve().parent))
    tables = make_tables(runs, plain=material.plain)
    name = material.record.run
    return next(table for table in tables if name in [run.run for run in table.runs])


def regions_figure(material: Material) -> Figure:
    """Average precision of each region, known against new."""
    return plots.region_bars(material.names, material.regions)


def calibration_figure(material: Material) -> Figure:
    """Reliability diagram, known against new."""
    return plots.reliability_plot(
        {name: (c, analysis.reliability(clips)) for name, (c, clips) in material.splits.items()}
    )


def confusion_figure(material: Material) -> Figure:
    """The confusion of activities."""
    return plots.confusion_plot(analysis.activity_confusion(material.scored))


def training_figure(material: Material) -> Figure:
    """Loss, learning rate, gradient norm, and validation mAP where there was a validation.

    Raises:
        UserError: nothing was trained, or the log cannot be read.
    """
    log = analysis.read_log(material.run_dir)
    if not log:
        raise UserError(
            f"the run has no log.jsonl: {material.record.model} was not trained step by step"
        )
    return plots.training_curves(log, analysis.read_validation(material.run_dir))


def shown_frames(
    explanation: Explanation,
) -> tuple[npt.NDArray[np.int64], list[npt.NDArray[np.uint8]]]:
    """A few places of the view, evenly spread, and the frames there under their heat.

    Places are indices [N], frames uint8 [H, W, 3].
    """
    from benchmark.report.explain import overlay

    count = len(explanation.frames)
    places = np.unique(np.rint(np.linspace(0, count - 1, PICTURES_A_CLIP)).astype(int))
    return places, list(overlay(explanation.frames[places], explanation.heat[places]))


def gradcam_figure(material: Material) -> Figure:
    """The paper's qualitative figure: heat maps beside true and predicted regions.

    Raises:
        UserError: see :attr:`Material.explanations`.
    """
    rows: list[Sequence[npt.NDArray[np.uint8]]] = []
    captions, notes = [], []
    numbers = {clip.clip_id: number for number, clip in enumerate(material.scored.clips)}
    name = material.names[material.region]
    for explanation in material.explanations:
        clip = explanation.clip
        scores = material.scored.scores[numbers[clip.clip_id]]
        rows.append(shown_frames(explanation)[1])
        kind = "new" if clip.split.endswith("_new") else "known"
        score = scores[material.region]
        activity = clip.activity.replace("_", " ")
        captions.append(f"{activity} ({kind}): {name} {100 * score:.0f} %")
        lists = analysis.region_lists(
            clip.muscles, scores, material.record.threshold, plain=material.plain
        )
        lines = [
            f"{kind}: {', '.join(region for region, _ in members) or 'none'}"
            for kind, members in lists.items()
        ]
        notes.append("\n".join(textwrap.fill(x, 34, subsequent_indent="   ") for x in lines))
    return plots.picture_rows(rows, captions, notes)


FIGURES: dict[str, Callable[[Material], Figure]] = {
    "regions": regions_figure,
    "calibration": calibration_figure,
    "confusion": confusion_figure,
    "training": training_figure,
    "gradcam": gradcam_figure,
}
"""File name without its ending -> how to draw it."""


def write_figures(
    run_dir: Path, data_dir: Path, out: Path, *, region: str | None = None
) -> tuple[list[Path], dict[str, str]]:
    """Write the figures of a run as PDF with embedded fonts, and its results as LaTeX.

    They are 3.5 inches wide (one column); ``gradcam.pdf`` and a ``confusion.pdf`` of many
    activities are 7 (the page).

    Args:
        out: the folder; it is made.
        region: of the Grad-CAM figure, as in :func:`read_material`.

    Returns:
        The files written; and of what could not be drawn its name and the reason.

    Raises:
        UserError: see :func:`read_material`; or ``out`` is a file.
    """
    material = read_material(run_dir, data_dir, region)
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; --out is a folder")
    out.mkdir(parents=True, exist_ok=True)
    written, left_out = [], {}
    for name, draw in FIGURES.items():
        try:
            figure = draw(material)
        except UserError as error:
            left_out[name] = str(error)
            continue
        plots.save_pdf(figure, out / f"{name}.pdf")
        written.append(out / f"{name}.pdf")
    table = out / "results.tex"
    write_text(table, format_latex(list(results_table(material).runs)))
    return [*written, table], left_out
