"""The verbs `extract-modalities` and `import`: from videos, or another data set, to shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from musclemap_data.commands.shared import (
    BUILD,
    DEFAULT_DATA,
    EXIT_SOME_FAILED,
    Address,
    BlurFaces,
    Data,
    Engine,
    Processes,
    RetryFailed,
    examples,
    listed,
    progress,
    report_failures,
    say_next,
    warn,
)

if TYPE_CHECKING:
    from musclemap_data.errors import Failure
    from musclemap_data.modalities.settings import ExtractionSettings
    from musclemap_data.pose.quality import SkeletonClass

app = typer.Typer()


_skeletons = partial(typer.Option, rich_help_panel="Skeletons (see docs/pose.md)")

Pose = Annotated[str | None, _skeletons(help="blazepose (default), rtmpose or mmpose.")]
Weights = Annotated[
    str | None, _skeletons(help="rtmpose: its ONNX file, or the zip of it.", metavar="PATH|URL")
]
WeightsHash = Annotated[
    str | None, _skeletons(help="SHA-256 of --weights; needed for a URL.", metavar="HEX")
]
Config = Annotated[
    str | None,
    _skeletons(help="mmpose: a config file, or the name of one of its own.", metavar="FILE"),
]
Checkpoint = Annotated[str | None, _skeletons(help="mmpose: the weights.", metavar="FILE")]
Detector = Annotated[
    str | None,
    _skeletons(
        help="rtmpose, mmpose: what finds the person: blazepose (default), frame (the whole "
        "frame) or an ONNX detector.",
        metavar="PATH|URL",
    ),
]
DetectorHash = Annotated[
    str | None, _skeletons(help="SHA-256 of --detector; needed for a URL.", metavar="HEX")
]
Device = Annotated[
    str | None,
    typer.Option(
        help="cpu, cuda or auto (a GPU where there is one), for flow, rtmpose and mmpose. Default: "
        "cpu for flow, auto for the others. Flow has not yet run on a GPU.",
    ),
]
PoseBatch = Annotated[int | None, _skeletons(help="mmpose: frames at a time.", min=1)]
RequirePerson = Annotated[
    float | None,
    _skeletons(
        help="Fail clips in which a smaller share of the frames shows a person, such as 0.5.",
        metavar="SHARE",
    ),
]
MinSkeletonQuality = Annotated[
    float | None,
    _skeletons(
        help="Fail clips whose skeleton is of a lower quality, from 0 to 1: 0.4 leaves out the "
        "bad ones, 0.75 the doubtful ones too.",
        metavar="QUALITY",
    ),
]


@app.command(
    rich_help_panel=BUILD,
    epilog=examples(
        "`musclemap extract-modalities`",
        "`musclemap extract-modalities --modalities rgb,skeleton --workers 8`",
        "`musclemap extract-modalities --blur-faces` (docs/privacy.md)",
        "`musclemap extract-modalities --device cuda` (docs/gpu.md)",
        "`musclemap extract-modalities --pose rtmpose --weights rtmpose-m.zip`",
        "`musclemap extract-modalities --engine ray --address ray://head:10001` (docs/cluster.md)",
        "`.venv-mmpose/bin/musclemap extract-modalities --pose mmpose "
        "--config rtmpose-m_8xb256-420e_coco-256x192 --checkpoint rtmpose-m.pth` "
        "(after `make mmpose`)",
    ),
)
def extract_modalities(
    data: Data = DEFAULT_DATA,
    modalities: Annotated[
        str | None,
        typer.Option(help="Modalities to extract, with commas between. Default: all of them."),
    ] = None,
    workers: Processes = None,
    engine: Engine = "local",
    address: Address = None,
    retry_failed: RetryFailed = False,
    pose: Pose = None,
    weights: Weights = None,
    weights_sha256: WeightsHash = None,
    config: Config = None,
    checkpoint: Checkpoint = None,
    detector: Detector = None,
    detector_sha256: DetectorHash = None,
    device: Device = None,
    pose_batch: PoseBatch = None,
    require_person: RequirePerson = None,
    min_skeleton_quality: MinSkeletonQuality = None,
    blur_faces: BlurFaces = False,
) -> None:
    """Cut the clips and write RGB, RGB difference, TV-L1 flow and skeletons into Parquet shards.

    Only what is missing is computed.

    Exit code 0: all clips are in the shards. 1: some clips or their videos failed, each with a line
    here and its reason in the ledger.
    """
    from musclemap_data.modalities import MODALITIES
    from musclemap_data.modalities.settings import ExtractionSettings
    from musclemap_data.modalities.tvl1 import choose_device
    from musclemap_data.pose.backends import check_options

    pose_options = {
        "weights": weights,
        "weights_sha256": weights_sha256,
        "config": config,
        "checkpoint": checkpoint,
        "detector": detector,
        "detector_sha256": detector_sha256,
        "device": device if pose in ("rtmpose", "mmpose") and device != "auto" else None,
        "pose_batch": pose_batch,
    }
    pose = pose or ExtractionSettings.pose
    settings = ExtractionSettings(
        pose=pose,
        pose_options=check_options(pose, pose_options),
        flow_device=choose_device(device, elsewhere=engine == "ray"),
        require_person=require_person,
        min_skeleton_quality=min_skeleton_quality,
        blur_faces=blur_faces,
    )
    complete = run_extraction(
        data,
        list(MODALITIES) if modalities is None else listed(modalities),
        settings,
        workers=workers,
        engine=engine,
        address=address,
        retry_failed=retry_failed,
    )
    if not complete:
        raise typer.Exit(EXIT_SOME_FAILED)


def run_extraction(
    data: Path, names: Sequence[str], settings: ExtractionSettings | None = None, **options: Any
) -> bool:
    """Extract with a progress bar and print what happened.

    Args:
        data: the data directory.
        names: modalities.
        settings: how they are made.
        options: more arguments of ``extract.build.extract_modalities``.

    Returns:
        Whether no clip failed and there is something in the shards.
    """
    from musclemap_data.extract import build
    from musclemap_data.ledger import Ledger
    from musclemap_data.modalities.settings import ExtractionSettings

    settings = settings or ExtractionSettings()
    with progress("clip", "extract", smoothing=0.1) as bar:
        frames = failures = 0

        def on_clip(clip_id: str, clip_frames: int, failure: Failure | None) -> None:
            nonlocal frames, failures
            frames += clip_frames
            failures += failure is not None
            bar.update()
            rate = frames / max(bar.format_dict["elapsed"], 1e-9)
            bar.set_postfix_str(f"{rate:.0f} frames/s, {failures} failed")

        report = build.extract_modalities(
            data,
            modalities=names,
            settings=settings,
            on_total=bar.reset,
            on_clip=on_clip,
            **options,
        )
    report_failures(report.failed, "clips")
    if report.clipped:
        worst = max(report.clipped, key=lambda clip_id: report.clipped[clip_id])
        warn(
            f"{len(report.clipped)} clips move faster than ±{settings.flow_bound_px:g} px a frame, "
            f"where flow ends: at most {report.clipped[worst]:.2%} of one clip ({worst}); each row "
            "has its share as flow_clipped_share"
        )
    if report.damaged:
        worst = max(report.damaged, key=lambda clip_id: report.damaged[clip_id])
        warn(
            f"{len(report.damaged)} clips are of damaged videos: ffmpeg complained at some frames, "
            f"at most {report.damaged[worst]} of one clip ({worst}); the ledger has the counts"
        )
    if empty := sorted(report.without_person):
        some = ", ".join(empty[:5]) + (" ..." if len(empty) > 5 else "")
        warn(
            f"{len(empty)} of {report.skeletons} clips show no person in any frame; their "
            f"skeletons are empty: {some}"
        )
    _report_quality(report.skeleton_classes, report.bad_skeletons)
    waiting = f", {report.waiting} waiting for their video" if report.waiting else ""
    typer.echo(
        f"{report.built} clips extracted, {report.present} already there, "
        f"{len(report.failed)} failed{waiting}; shards in {data / 'shards'}"
    )
    if report.seconds:
        total = sum(report.seconds.values())
        parts = sorted(report.seconds.items(), key=lambda item: -item[1])
        typer.echo("time: " + ", ".join(f"{name} {s / total:.0%}" for name, s in parts), err=True)
    empty_handed = not report.built and not report.present
    if empty_handed and not report.failed:
        typer.echo("There is nothing in the shards yet. Run `musclemap download` first.", err=True)
    with Ledger(data, read_only=True) as ledger:
        say_next(data, ledger.summary())
    return not report.failed and not empty_handed


def _report_quality(counts: Mapping[SkeletonClass, int], bad: Sequence[str]) -> None:
    """Say how far the skeletons of a run can be believed, and which of them cannot."""
    from musclemap_data.pose.quality import SkeletonClass

    if not counts:
        return
    parts = ", ".join(f"{counts.get(each, 0)} {each}" for each in SkeletonClass)
    typer.echo(f"skeletons: {parts}", err=True)
    if bad:
        some = ", ".join(sorted(bad)[:5]) + (" ..." if len(bad) > 5 else "")
        warn(
            f"{len(bad)} of {sum(counts.values())} skeletons are bad: {some}. Look at them with "
            "`musclemap browse`; leave them out with --min-skeleton-quality (here or in "
            "`musclemap benchmark`)"
        )


@app.command(
    "import",
    rich_help_panel=BUILD,
    epilog=examples(
        "`musclemap import penn-action PennAction --data data/penn`",
        "`musclemap import ucf101 UCF-101 --out UCF-101/manifest.csv`",
    ),
)
def import_(
    source: Annotated[
        str, typer.Argument(help="What it is: ucf101, hmdb51, penn-action or musclemap.")
    ],
    folder: Annotated[Path, typer.Argument(help="The folder of your copy.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Manifest to write, in FOLDER or a folder above it."),
    ] = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Turn your copy of another data set into a manifest or, for Penn Action, into shards.

    `musclemap` is the authors' own release. Its pickled lists are read without running anything.
    """
    from musclemap_data.errors import UserError
    from musclemap_data.importers import IMPORTERS

    if source not in IMPORTERS:
        raise UserError(f"source is {source!r}; choose from {', '.join(IMPORTERS)}")
    target = data if source == "penn-action" else out or folder / "manifest.csv"
    typer.echo(IMPORTERS[source](folder, target))
    if source in ("ucf101", "hmdb51"):
        typer.echo(f"Next: musclemap download --manifest {target} --activities {source}", err=True)
