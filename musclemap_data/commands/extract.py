"""The verbs `extract-modalities` and `import`: from videos, or another data set, to shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from musclemap_data.commands.shared import (
    DEFAULT_DATA,
    EXIT_SOME_FAILED,
    Data,
    listed,
    report_failures,
)

if TYPE_CHECKING:
    from musclemap_data.errors import Failure

app = typer.Typer()

SKELETONS = "Skeletons (see docs/pose.md)"


@app.command(
    rich_help_panel="Build a data set",
    epilog="Examples:\n\n"
    "`musclemap extract-modalities`\n\n"
    "`musclemap extract-modalities --modalities rgb,skeleton --workers 8`\n\n"
    "`musclemap extract-modalities --pose rtmpose --weights rtmpose-m.zip`\n\n"
    "`musclemap extract-modalities --engine ray --address ray://head:10001` (docs/cluster.md)\n\n"
    "`.venv-mmpose/bin/musclemap extract-modalities --pose mmpose "
    "--config rtmpose-m_8xb256-420e_coco-256x192 --checkpoint rtmpose-m.pth` (after `make mmpose`)",
)
def extract_modalities(
    data: Data = DEFAULT_DATA,
    modalities: Annotated[
        str, typer.Option(help="Which to extract, with commas between.")
    ] = "rgb,rgb-diff,flow,skeleton",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: one a core.")
    ] = None,
    engine: Annotated[str, typer.Option(help="local (this machine) or ray (a cluster).")] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="ray: auto (default), ray://HOST:PORT, or local (started for this run)."),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also try clips that failed for good before.")
    ] = False,
    pose: Annotated[
        str, typer.Option(help="blazepose, rtmpose or mmpose.", rich_help_panel=SKELETONS)
    ] = "blazepose",
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|URL", help="RTMPose's ONNX file or its zip.", rich_help_panel=SKELETONS
        ),
    ] = None,
    weights_sha256: Annotated[
        str | None,
        typer.Option(
            metavar="HEX", help="Of --weights; a URL needs it.", rich_help_panel=SKELETONS
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="mmpose: a file, or the name of one of its own.",
            rich_help_panel=SKELETONS,
        ),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="mmpose: the weights.", rich_help_panel=SKELETONS),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|URL",
            help="rtmpose, mmpose: what finds the person: blazepose (default), frame (the whole "
            "frame) or an ONNX detector.",
            rich_help_panel=SKELETONS,
        ),
    ] = None,
    detector_sha256: Annotated[
        str | None,
        typer.Option(
            metavar="HEX", help="Of --detector; a URL needs it.", rich_help_panel=SKELETONS
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="rtmpose, mmpose: cpu or cuda; default: a GPU where there is one.",
            rich_help_panel=SKELETONS,
        ),
    ] = None,
    pose_batch: Annotated[
        int | None,
        typer.Option(min=1, help="mmpose: frames at once.", rich_help_panel=SKELETONS),
    ] = None,
    require_person: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Fail clips that show a person in less than this share of their frames.",
            rich_help_panel=SKELETONS,
        ),
    ] = None,
) -> None:
    """Cut the clips and write RGB, RGB difference, TV-L1 flow and skeletons into Parquet shards.

    Only what is missing is computed. Exit code 0: all clips are in the shards. 1: some clips or
    their videos failed, each with a line and its reason in the ledger.
    """
    from musclemap_data.modalities.settings import ExtractionSettings
    from musclemap_data.pose.backends import check_options

    pose_options = {
        "weights": weights,
        "weights_sha256": weights_sha256,
        "config": config,
        "checkpoint": checkpoint,
        "detector": detector,
        "detector_sha256": detector_sha256,
        "device": device,
        "pose_batch": pose_batch,
    }
    settings = ExtractionSettings(
        pose=pose, pose_options=check_options(pose, pose_options), require_person=require_person
    )
    names = listed(modalities)
    run_extraction(
        data,
        names,
        settings=settings,
        workers=workers,
        engine=engine,
        address=address,
        retry_failed=retry_failed,
    )


def run_extraction(data: Path, names: Sequence[str], **options: Any) -> None:
    """Extract with a progress bar, tell what happened, exit with 1 if clips failed.

    Args:
        data: the data directory.
        names: modalities.
        options: of ``build.extract_modalities``.
    """
    from tqdm import tqdm

    from musclemap_data.check.stats import clips_without_person
    from musclemap_data.extract import build

    with tqdm(total=0, unit="clip", desc="extract", dynamic_ncols=True, smoothing=0.1) as bar:
        frames = failures = 0

        def on_total(total: int) -> None:
            bar.reset(total)

        def on_clip(clip_id: str, clip_frames: int, failure: Failure | None) -> None:
            nonlocal frames, failures
            frames += clip_frames
            failures += failure is not None
            bar.update()
            rate = frames / max(bar.format_dict["elapsed"], 1e-9)
            bar.set_postfix_str(f"{rate:.0f} frames/s, {failures} failed")

        report = build.extract_modalities(
            data, modalities=names, on_total=on_total, on_clip=on_clip, **options
        )
    report_failures(report.failed, "clips")
    for clip_id, share in sorted(report.clipped.items()):
        typer.echo(f"WARNING {clip_id}: {share:.2%} of the flow is beyond ±20 px", err=True)
    empty, count = clips_without_person(data) if "skeleton" in names else ([], 0)
    if empty:
        some = ", ".join(empty[:5]) + (" ..." if len(empty) > 5 else "")
        typer.echo(
            f"WARNING {len(empty)} of {count} clips show no person in any frame, their skeletons "
            f"are empty: {some}",
            err=True,
        )
    waiting = f", {report.waiting} wait for their video" if report.waiting else ""
    typer.echo(
        f"{report.built} clips extracted, {report.present} were there, "
        f"{len(report.failed)} failed{waiting}; shards in {data / 'shards'}"
    )
    if report.seconds:
        total = sum(report.seconds.values())
        parts = sorted(report.seconds.items(), key=lambda item: -item[1])
        typer.echo("time: " + ", ".join(f"{name} {s / total:.0%}" for name, s in parts))
    if report.failed:
        raise typer.Exit(EXIT_SOME_FAILED)
    if not report.built and not report.present:
        typer.echo("There is nothing in the shards yet: run `musclemap download` first.", err=True)
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command(
    "import",
    rich_help_panel="Build a data set",
    epilog="Examples:\n\n"
    "`musclemap import penn-action PennAction --data data/penn`\n\n"
    "`musclemap import ucf101 UCF-101 --out UCF-101/manifest.csv`",
)
def import_(
    source: Annotated[str, typer.Argument(help="ucf101, hmdb51, penn-action or musclemap.")],
    folder: Annotated[Path, typer.Argument(help="Your copy of it.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Manifest to write; in or above FOLDER.")
    ] = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Turn your copy of another data set into a manifest, or (Penn Action) into shards.

    `musclemap` is the authors' own release: its pickled lists are read without running anything.
    """
    from musclemap_data.errors import UserError
    from musclemap_data.importers import IMPORTERS

    if source not in IMPORTERS:
        raise UserError(f"source is {source!r}; choose from {', '.join(IMPORTERS)}")
    target = data if source == "penn-action" else out or folder / "manifest.csv"
    typer.echo(str(IMPORTERS[source](folder, target)))
    if source in ("ucf101", "hmdb51"):
        typer.echo(f"next: musclemap download --manifest {target} --activities {source}")
