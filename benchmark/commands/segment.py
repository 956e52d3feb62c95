"""The verb `segment`: from whole videos to proposed clips."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musclemap_data.commands.shared import (
    BUILD,
    DEFAULT_DATA,
    MOST_LINES,
    AsJson,
    Data,
    Processes,
    data_option,
    download_command,
    examples,
    progress,
)
from musclemap_data.segment.proposals import MIN_CONFIDENCE

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from musclemap_data.segment.proposals import Proposal
    from musclemap_data.segment.run import SegmentReport
    from musclemap_data.segment.video import Recogniser

app = typer.Typer()

ALIKE = "alike"
"""The filter that asks the embedded model, so it is none of ``filters.FILTERS``."""


@app.command(
    rich_help_panel=BUILD,
    epilog=examples(
        "`musclemap segment` (the demonstrations that `download --tier demonstration` fetched)",
        "`musclemap segment workouts/ --data data/mine` (a folder of your own videos)",
        "`musclemap segment --manifest proposed.csv` (then `download --manifest proposed.csv`)",
        "`musclemap segment --filter copies --dry-run` (which clips are copies of others?)",
    ),
)
def segment(
    videos: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[VIDEO]...",
            help="Videos, or folders of them. Default: the data set's demonstrations.",
        ),
    ] = None,
    data: Data = DEFAULT_DATA,
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest", "-m", help="Also write the sure proposals as a manifest to build from."
        ),
    ] = None,
    min_confidence: Annotated[
        float, typer.Option(min=0, max=1, help="How sure a proposal in the manifest must be.")
    ] = MIN_CONFIDENCE,
    model: Annotated[
        bool, typer.Option(help="Ask the embedded model which exercise each stretch shows.")
    ] = True,
    again: Annotated[bool, typer.Option("--again", help="Also what was segmented before.")] = False,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            help="copies: leave out clips that show a surer one again, also mirrored or cropped. "
            "still: leave out still pictures. text: record text over the person. alike: record "
            "clips that move just as one of another video. bars: record black bars. Can be "
            "repeated.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what --filter would change, with pictures.")
    ] = False,
    workers: Processes = None,
    as_json: AsJson = False,
) -> None:
    """Find clips in whole videos: where one exercise is repeated or held, and how sure that is.

    Writes `DATA/segment/proposals.csv`: every part of every video, with what was left out and why.
    """
    from musclemap_data.segment.run import (
        course_of,
        segment_sources,
        sources_of_data,
        sources_of_files,
        write_proposed_manifest,
    )

    sources = sources_of_files(videos) if videos else sources_of_data(data)
    with progress("video", "segment", quiet=as_json) as bar:
        report = segment_sources(
            sources, data, embedded_recogniser() if model else None, again=again, workers=workers,
            on_total=bar.reset, on_video=lambda name, clips: bar.update(),
        )  # fmt: skip
    if filters:
        courses = {source.video_id: course_of(data, source.name) for source in sources}
        report.proposals = _filter(filters, report.proposals, data, courses, dry_run)
    if as_json:
        typer.echo(json.dumps([asdict(proposal) for proposal in report.proposals], indent=2))
    else:
        _print_report(report)
    if manifest is not None:
        made = write_proposed_manifest(manifest, report.proposals, data, least=min_confidence)
        before = f" and the {made.kept} lines of the plan before" if made.kept else ""
        there = f"; {made.there} more are in the plan already" if made.there else ""
        typer.echo(f"{made.new} new clips{before} in {manifest}{there}", err=True)
    after = download_command(manifest, data) if manifest else f"review{data_option(data)}"
    typer.echo(f"Next: musclemap {after}", err=True)


def _filter(
    names: list[str],
    proposals: list[Proposal],
    data: Path,
    courses: Mapping[str, Path],
    dry_run: bool,
) -> list[Proposal]:
    """Apply filters to what is proposed, and write a sheet of pictures for each."""
    from musclemap_data.errors import UserError
    from musclemap_data.segment.filters import (
        FILTERS,
        apply_findings,
        find_alike,
        read_pictures,
        write_sheet,
    )
    from musclemap_data.segment.run import replace_proposals

    known = (*FILTERS, ALIKE)
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"filter {unknown[0]!r}: choose from {', '.join(known)}")
    changed = {p.proposal: p for p in proposals}
    for name in dict.fromkeys(names):
        left = [p for p in changed.values() if not p.left_out]
        pictures = [read_pictures(data / p.video, p) for p in left]
        if name == ALIKE:
            findings = find_alike(left, _movements(left, courses))
        else:
            findings = FILTERS[name](left, pictures)
        sheet = data / "segment" / f"filter_{name}.png"
        if findings:
            write_sheet(sheet, left, pictures, findings)
        typer.echo(
            f"{name}: {len(findings)} of {len(left)} clips{f', see {sheet}' * bool(findings)}"
        )
        for finding in findings[:MOST_LINES]:
            typer.echo(f"  {left[finding.index].proposal}: {finding.says}", err=True)
        changed |= {p.proposal: p for p in apply_findings(left, findings)}
    if dry_run:
        return proposals
    replace_proposals(data, list(changed.values()))
    return list(changed.values())


def _movements(
    proposals: list[Proposal], courses: Mapping[str, Path]
) -> list[npt.NDArray[np.float32] | None]:
    """Of each clip what the embedded model sees in its movement; None where it is not kept."""
    from functools import lru_cache

    from benchmark.embedded.model import EmbeddedModel
    from musclemap_data.segment.video import read_course

    model, read = EmbeddedModel.load(), lru_cache(4)(read_course)
    found: list[npt.NDArray[np.float32] | None] = []
    for p in proposals:
        course = read(courses[p.video_id])
        if course is None:
            found.append(None)
            continue
        skeleton, times_s = course
        inside = (times_s >= p.start - 1e-6) & (times_s < p.end)
        found.append(model.features(skeleton[inside], times_s[inside]) if inside.any() else None)
    if missing := sum(each is None for each in found):
        typer.echo(
            f"{ALIKE}: of {missing} clips the movement is not kept; `musclemap segment --again` "
            "keeps it", err=True,
        )  # fmt: skip
    return found


def embedded_recogniser() -> Recogniser:
    """The embedded model as ``segment`` asks it; it is silent where it does not know."""
    from benchmark.embedded.model import KNOWN_FROM, EmbeddedModel

    model = EmbeddedModel.load()

    def recognise(
        skeleton: npt.NDArray[np.float32], times_s: npt.NDArray[np.float64]
    ) -> Mapping[str, float]:
        said = model.recognise(skeleton, times_s)
        overall = dict(zip(said.activities, said.overall.tolist(), strict=True))
        return overall if max(overall.values()) >= KNOWN_FROM else {}

    return recognise


def _print_report(report: SegmentReport) -> None:
    proposed = report.proposed
    seconds = sum(p.seconds for p in report.proposals)
    kept = sum(p.seconds for p in proposed)
    typer.echo(
        f"{report.made} videos segmented, {report.present} were before; {len(proposed)} clips "
        f"proposed, {kept:.0f} of {seconds:.0f} s"
    )
    left_out: Counter[str] = Counter()
    for p in report.proposals:
        if p.left_out:
            left_out[p.left_out] += p.seconds  # type: ignore[assignment]
    for reason, lost in left_out.most_common(MOST_LINES):
        typer.echo(f"{lost:8.0f} s left out: {reason}")
