"""The command line: one function a verb, each a thin wrapper over importable functions.

Imports stay inside the functions so that ``musclemap --help`` answers at once.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from musclemap_data.download import DownloadReport, Estimate
    from musclemap_data.ledger import Failure
    from musclemap_data.pacing import DownloadSettings

DEFAULT_DATA = Path("data/musclemap")
EXIT_SOME_FAILED = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
SKELETONS = "Skeletons (see docs/pose.md)"


class Verbs(TyperGroup):
    """Turns a user's mistake into a message and exit code 2, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        from musclemap_data.errors import UserError

        try:
            return super().invoke(ctx)
        except UserError as error:
            typer.secho(f"Error: {error}", fg="red", err=True)
            raise typer.Exit(EXIT_USER_ERROR) from error
        except OSError as error:
            kinds = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS)
            if error.errno not in kinds:
                raise
            where = f" ({error.filename})" if error.filename else ""
            typer.secho(
                f"Error: {error.strerror}{where}. What is finished is kept: make room or give "
                "permission, then run the same command to go on.",
                fg="red",
                err=True,
            )
            raise typer.Exit(EXIT_USER_ERROR) from error
        except KeyboardInterrupt as error:
            typer.secho(
                "\nInterrupted. What is finished is kept: run the same command to go on.", err=True
            )
            raise typer.Exit(EXIT_INTERRUPTED) from error


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Which of 20 muscle regions does an exercise video activate?\n\n"
    "Three commands, one after the other, in one data directory: **download** the videos, "
    "**extract-modalities** into Parquet shards, **benchmark** a model on known and new "
    "activities. Each goes on where it was interrupted. `musclemap quickstart` shows all three "
    "on a synthetic sample.",
)


def _data_folder(data: str | Path) -> Path:
    """The folder of ``--data``; of a remote data set an up-to-date local copy."""
    if "://" in str(data):
        from musclemap_data.storage import local_copy

        return local_copy(str(data))
    if Path(data).is_file():
        raise typer.BadParameter(f"{data} is a file; it must be a folder.")
    return Path(data)


Data = Annotated[
    Path,
    typer.Option(
        "--data",
        "-d",
        envvar="MUSCLEMAP_DATA",
        parser=_data_folder,
        metavar="FOLDER|URL",
        help="The data set's folder, or s3://bucket/name.",
    ),
]
_PACE = "How the sites are asked"
_ACCESS = "Access"
Workers = Annotated[
    int, typer.Option(min=1, max=32, help="Videos fetched at once.", rich_help_panel=_PACE)
]
PerHost = Annotated[
    int, typer.Option(min=1, max=32, help="Of these, from one host.", rich_help_panel=_PACE)
]
Pause = Annotated[
    float,
    typer.Option(
        min=0,
        help="Mean seconds between two videos of a host, varied by chance; 0: none.",
        rich_help_panel=_PACE,
    ),
]
VideoTimeout = Annotated[
    float,
    typer.Option(min=0.01, help="Most minutes for one video, retries too.", rich_help_panel=_PACE),
]
MaxBytes = Annotated[
    int, typer.Option(min=1, help="Most bytes of one video.", rich_help_panel=_PACE)
]
Now = Annotated[
    bool,
    typer.Option("--now", help="Also ask hosts that asked for a pause.", rich_help_panel=_PACE),
]
Cookies = Annotated[
    Path | None,
    typer.Option(
        help="Netscape cookies file; read only, kept nowhere.",
        dir_okay=False,
        rich_help_panel=_ACCESS,
    ),
]
CookiesFromBrowser = Annotated[
    str | None,
    typer.Option(help="Use the cookies of firefox, chrome, ...", rich_help_panel=_ACCESS),
]
Proxy = Annotated[
    str | None,
    typer.Option(metavar="URL", help="http, https, socks4 or socks5.", rich_help_panel=_ACCESS),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]


def _bundled_manifest() -> Path:
    from musclemap_data.catalog import annotations_dir

    return annotations_dir() / "videos" / "default.csv"


def _report_failures(failed: dict[str, Failure], what: str) -> None:
    """One line a failure, then one line a class with the next step."""
    from musclemap_data.ledger import NEXT_STEP

    for name, failure in sorted(failed.items()):
        typer.echo(f"FAILED {name}: {failure}", err=True)
    for kind in sorted({failure.failure_class for failure in failed.values()}):
        count = sum(failure.failure_class == kind for failure in failed.values())
        typer.echo(f"  {count} {what} {kind}: {NEXT_STEP[kind]}", err=True)


@app.command()
def quickstart(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the sample and its data set.")
    ] = Path("data/quickstart"),
    size: Annotated[str, typer.Option(help="tiny or default.")] = "default",
    models: Annotated[
        str, typer.Option(help="Models to compare.")
    ] = "random,label-prior,stgcn,transm3e",
    epochs: Annotated[int | None, typer.Option(min=0)] = None,
) -> None:
    """Render synthetic workout videos, serve them on this machine, run the three commands on them.

    The videos are **synthetic**: the scores show that everything works, not how good a model is.
    """
    from dataclasses import replace

    from tqdm import tqdm

    from musclemap_data.catalog import load_activities
    from musclemap_data.errors import UserError
    from musclemap_data.manifest import read_manifest, write_manifest
    from musclemap_data.sample import SAMPLE_SIZES, render_sample
    from musclemap_data.sample.serve import serve_folder

    if size not in SAMPLE_SIZES:
        raise UserError(f"size is {size!r}; choose from {', '.join(SAMPLE_SIZES)}")
    source, data = out / "sample", out / "data"
    with tqdm(unit="video", desc="render", dynamic_ncols=True) as bar:

        def on_video(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        manifest = render_sample(source, size=size, progress=on_video)
    with serve_folder(source) as base_url:
        clips = read_manifest(manifest, load_activities())
        served = out / "manifest.csv"
        write_manifest(served, [replace(clip, url=f"{base_url}/{clip.url}") for clip in clips])
        _say(f"musclemap download --manifest {served} --data {data}")
        download(manifest=served, data=data)
    _say(f"musclemap extract-modalities --data {data}")
    extract_modalities(data=data)
    _say(f"musclemap benchmark --model {models} --preset tiny --data {data}")
    benchmark(model=models, data=data, preset="tiny", epochs=epochs)
    typer.echo("\nThe videos are synthetic. Now your own: musclemap download --help")


def _say(command: str) -> None:
    typer.secho(f"\n$ {command}", bold=True, err=True)


@app.command(
    epilog="Examples:\n\n"
    "`musclemap download` (the bundled list of YouTube segments)\n\n"
    "`musclemap download --sample 200 --workers 4` (200 clips of it, the same ones each time)\n\n"
    "`musclemap download --sample 200 --dry-run` (how much would that be?)\n\n"
    "`musclemap download --cookies-from-browser firefox --pause 10` (where the site is strict)\n\n"
    "`musclemap download --manifest my_videos.csv --data data/mine`",
)
def download(
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest", "-m", help="CSV or Parquet of clips; default: the bundled list."
        ),
    ] = None,
    data: Data = DEFAULT_DATA,
    activity: Annotated[
        list[str] | None, typer.Option(help="Only clips of this activity; can be repeated.")
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="Only clips of this split; can be repeated.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Only N clips, the same ones each time.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N clips.")] = None,
    activities: Annotated[
        str, typer.Option(help="Label table: musclemap, kinetics, ucf101, hmdb51 or a CSV.")
    ] = "musclemap",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also try what failed for good before.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only list what would be fetched, with sizes; write nothing."
        ),
    ] = False,
    workers: Workers = 2,
    per_host: PerHost = 2,
    pause: Pause = 2.0,
    video_timeout: VideoTimeout = 30.0,
    max_bytes: MaxBytes = 8 * 2**30,
    now: Now = False,
    cookies: Cookies = None,
    cookies_from_browser: CookiesFromBrowser = None,
    proxy: Proxy = None,
) -> None:
    """Fetch the source videos of a manifest (yt-dlp), once each.

    A host that refuses three times in a row is not asked again until the time it gave; its videos
    stay planned. Exit code 0: every video asked for is there. 1: some failed or were not tried,
    with the reason in the ledger. 2: the manifest or an option is wrong, and nothing was touched.
    """
    from musclemap_data.catalog import load_table
    from musclemap_data.download import download_videos, estimate_downloads, needs_javascript
    from musclemap_data.manifest import read_manifest, select_clips
    from musclemap_data.storage import writing

    settings = _download_settings(
        workers, per_host, pause, video_timeout, max_bytes, cookies, cookies_from_browser, proxy
    )
    path = manifest or _bundled_manifest()
    clips = read_manifest(path, load_table(activities))
    chosen = select_clips(
        clips, activities=activity or (), splits=split or (), sample=sample, limit=limit
    )
    if len(chosen) < len(clips):
        typer.echo(f"{len(chosen)} of the {len(clips)} clips of the manifest")
    missing = needs_javascript(chosen)
    if missing:
        typer.secho(f"WARNING: {missing}", fg="yellow", err=True)
    if dry_run:
        with _video_bar("look") as progress:
            estimate = estimate_downloads(
                chosen,
                path.parent,
                data,
                settings=settings,
                retry_failed=retry_failed,
                now=now,
                **progress,
            )
        _print_estimate(estimate)
        return
    with writing(data), _video_bar("download") as progress:
        report = download_videos(
            chosen,
            path.parent,
            data,
            settings=settings,
            keep=[clip.clip_id for clip in clips],
            activity_table=activities,
            retry_failed=retry_failed,
            now=now,
            **progress,
        )
    _report_download(report, data)
    if report.failed or report.not_tried:
        raise typer.Exit(EXIT_SOME_FAILED)


def _download_settings(
    workers: int,
    per_host: int,
    pause: float,
    video_timeout: float,
    max_bytes: int,
    cookies: Path | None,
    cookies_from_browser: str | None,
    proxy: str | None,
) -> DownloadSettings:
    from musclemap_data.pacing import DownloadSettings

    return DownloadSettings(
        workers=workers,
        per_host=per_host,
        pause_s=pause,
        video_timeout_s=60 * video_timeout,
        max_bytes=max_bytes,
        cookies=cookies,
        cookies_from_browser=cookies_from_browser,
        proxy=proxy,
    )


@contextmanager
def _video_bar(description: str) -> Iterator[dict[str, Any]]:
    """A progress bar over videos; gives the arguments that move it."""
    from tqdm import tqdm

    with tqdm(total=0, unit="video", desc=description, dynamic_ncols=True) as bar:
        failures = 0

        def on_video(video_id: str, failure: Failure | None) -> None:
            nonlocal failures
            failures += failure is not None
            bar.set_postfix(failed=failures, refresh=False)
            bar.update()

        yield {"on_total": bar.reset, "on_video": on_video}


def _report_download(report: DownloadReport, data: Path) -> None:
    _report_failures(report.failed, "videos")
    for rest in report.resting:
        left = report.not_tried.get(rest.host, 0)
        typer.secho(
            f"PAUSE {rest}\n  {left} of its videos were not tried and stay planned: run the same "
            "command after that time (or now, with --now)",
            fg="yellow",
            err=True,
        )
    not_tried = sum(report.not_tried.values())
    typer.echo(
        f"{report.downloaded} videos downloaded, {report.present} were there, "
        f"{len(report.failed)} failed{f', {not_tried} not tried' if not_tried else ''}; "
        f"{report.total_bytes / 1e6:.1f} MB in {data / 'videos'}"
    )


def _print_estimate(estimate: Estimate) -> None:
    for video_id, size in sorted(estimate.sizes.items()):
        typer.echo(f"{video_id}  {'size unknown' if size is None else f'{size / 1e6:.1f} MB'}")
    for video_id, failure in sorted(estimate.failed.items()):
        typer.echo(f"{video_id}  {failure.failure_class}: {failure.reason}")
    for rest in estimate.resting:
        typer.echo(f"PAUSE {rest}; {estimate.not_tried.get(rest.host, 0)} videos not looked at")
    known = [size for size in estimate.sizes.values() if size is not None]
    unknown = len(estimate.sizes) - len(known)
    typer.echo(
        f"{len(estimate.sizes)} videos to fetch, {sum(known) / 1e6:.1f} MB"
        f"{f' and {unknown} of unknown size' if unknown else ''}; {estimate.present} are there, "
        f"{len(estimate.failed)} cannot be had. Nothing was written."
    )


@app.command(
    epilog="Examples:\n\n"
    "`musclemap retry` (what failed with a class that may pass)\n\n"
    "`musclemap retry --class blocked --cookies-from-browser firefox`",
)
def retry(
    failure_class: Annotated[
        str, typer.Option("--class", help="Failure classes with commas between; see `status`.")
    ] = "network,rate-limited",
    data: Data = DEFAULT_DATA,
    workers: Workers = 2,
    per_host: PerHost = 2,
    pause: Pause = 2.0,
    video_timeout: VideoTimeout = 30.0,
    max_bytes: MaxBytes = 8 * 2**30,
    now: Now = False,
    cookies: Cookies = None,
    cookies_from_browser: CookiesFromBrowser = None,
    proxy: Proxy = None,
) -> None:
    """Fetch the videos and extract the clips again that failed with one of these classes.

    The ledger knows them; no manifest is needed. What is there is not touched. Exit code 0: all of
    them are there now. 1: some failed again or were not tried.
    """
    from musclemap_data.download import retry_videos
    from musclemap_data.errors import UserError
    from musclemap_data.ledger import FailureClass
    from musclemap_data.modalities import ExtractionSettings, describe
    from musclemap_data.shards import read_dataset_info
    from musclemap_data.storage import writing

    names = [name.strip() for name in failure_class.split(",") if name.strip()]
    unknown = [name for name in names if name not in list(FailureClass)]
    if unknown or not names:
        raise UserError(
            f"failure class {', '.join(unknown) or '(none)'}: choose from {', '.join(FailureClass)}"
        )
    settings = _download_settings(
        workers, per_host, pause, video_timeout, max_bytes, cookies, cookies_from_browser, proxy
    )
    with writing(data), _video_bar("download") as progress:
        report, clip_ids = retry_videos(
            data, [FailureClass(name) for name in names], settings=settings, now=now, **progress
        )
    _report_download(report, data)
    incomplete = bool(report.failed or report.not_tried)
    made = read_dataset_info(data)["modalities"] if (data / "dataset.json").exists() else {}
    # With other settings than the ones there, every row would be made anew.
    same = all(made[name] == describe(name, ExtractionSettings()) for name in made)
    if (report.downloaded or clip_ids) and made and same:
        extract_modalities(data=data, modalities=",".join(made))
    elif report.downloaded or clip_ids:
        typer.echo(f"next: musclemap extract-modalities --data {data}, with the options of before")
    if incomplete:
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command(
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
    from tqdm import tqdm

    from musclemap_data import build
    from musclemap_data.modalities import ExtractionSettings
    from musclemap_data.modalities.skeleton import clips_without_person
    from musclemap_data.pose import check_options

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
    names = [name.strip() for name in modalities.split(",") if name.strip()]
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
            data,
            modalities=names,
            workers=workers,
            engine=engine,
            address=address,
            settings=settings,
            retry_failed=retry_failed,
            on_total=on_total,
            on_clip=on_clip,
        )
    _report_failures(report.failed, "clips")
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
    epilog="Examples:\n\n"
    "`musclemap benchmark --model transm3e`\n\n"
    "`musclemap benchmark --model random,stgcn,transm3e --preset tiny --epochs 4 --seed 0 --seed 1`"
    "\n\n`musclemap benchmark --ablation --seed 0 --seed 1 --seed 2`"
    "\n\n`musclemap benchmark --model mvit_v2_s --set modality=flow --set batch_size=8`"
    "\n\n`musclemap benchmark --model all --preset tiny` (every model; goes on where it stopped)"
    "\n\n`musclemap benchmark --model stgcn --protocol activity-folds --folds 5`",
)
def benchmark(
    model: Annotated[
        str, typer.Option(help="Model names with commas between, or all; `--list` shows them.")
    ] = "transm3e",
    data: Data = DEFAULT_DATA,
    preset: Annotated[
        str | None,
        typer.Option(help="tiny, small or base; default: base on a GPU, tiny on a CPU."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=0, help="Passes over the train split.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Can be repeated.")] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another setting, FIELD=VALUE; can be repeated."),
    ] = None,
    subset: Annotated[
        Path | None, typer.Option(help="Only the clips named in this file, one id a line.")
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="fixed: the data set's own known and new activities; activity-folds: every "
            "activity is new once, in one of --folds experiments."
        ),
    ] = "fixed",
    folds: Annotated[int, typer.Option(min=2, help="Folds of activity-folds.")] = 5,
    runs: Annotated[
        Path | None, typer.Option(help="Where run folders go; default: DATA/runs.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget earlier runs of the name.")
    ] = False,
    pretrain_teacher: Annotated[
        bool,
        typer.Option(
            "--pretrain-teacher",
            help="transm3e: first train its second stream alone; kept in RUNS/teachers.",
        ),
    ] = False,
    drop: Annotated[
        str | None,
        typer.Option(help="skeleton: also score transm3e with the skeleton missing."),
    ] = None,
    ablation: Annotated[
        bool,
        typer.Option("--ablation", help="transm3e against itself with one part less at a time."),
    ] = False,
    as_json: AsJson = False,
    list_models: Annotated[
        bool, typer.Option("--list", help="List models and settings, then stop.")
    ] = False,
) -> None:
    """Train models on the shards, score known and new activities, print one table.

    A finished run is read, not repeated; an interrupted one goes on from its last checkpoint.
    `--model all` leaves out models whose modality the data set lacks, with a line each.
    """
    from benchmark.ablation import format_ablation, run_ablation
    from benchmark.clips import MissingModality
    from benchmark.dropped import check_drop, score_without, with_dropped
    from benchmark.folds import folds_to_run
    from benchmark.models import MODELS
    from benchmark.results import benchmark_run, read_subset
    from benchmark.settings import Settings, describe_settings
    from benchmark.tables import format_table
    from benchmark.train import join_processes
    from musclemap_data.errors import UserError

    if list_models:
        typer.echo("models: " + ", ".join(MODELS) + "\n")
        typer.echo(describe_settings(preset or "base"))
        return
    if preset is None:
        import torch

        preset = "base" if torch.cuda.is_available() else "tiny"
        typer.echo(f"preset {preset} (choose another with --preset)", err=True)
    names = list(MODELS) if model == "all" else [name.strip() for name in model.split(",")]
    settings = Settings.from_preset(preset).with_overrides(change or [])
    if epochs is not None:
        settings = settings.with_overrides([f"epochs={epochs}"])
    if (pretrain_teacher or drop) and "transm3e" not in names:
        raise UserError("--pretrain-teacher and --drop are for --model transm3e")
    teacher = ["pretrain_teacher=true"] if pretrain_teacher else []
    experiments = folds_to_run(protocol, folds)
    if experiments != [None] and (drop or ablation):
        raise UserError("--drop and --ablation are of the protocol fixed")
    if drop:
        check_drop("transm3e", settings, drop)
    if ablation:
        if names != ["transm3e"] or drop:
            raise UserError("--ablation is of transm3e alone, without --drop")
        if not seed:
            typer.echo("one seed; for three: --seed 0 --seed 1 --seed 2", err=True)
        with join_processes(settings.device) as processes:
            parts = run_ablation(
                data,
                settings.with_overrides(teacher),
                seed or [settings.seed],
                runs_dir=runs,
                fresh=fresh,
                subset=read_subset(subset) if subset else None,
                progress_bar=not as_json,
            )
        if processes.first:
            typer.echo(json.dumps(parts, indent=2) if as_json else format_ablation(parts))
        return
    results = []
    with join_processes(settings.device) as processes:  # once: a second time can fail
        for name in filter(None, names):
            for one_seed, fold in product(seed or [settings.seed], experiments):
                try:
                    result = benchmark_run(
                        data,
                        name,
                        settings.with_overrides(
                            [f"seed={one_seed}", *(teacher if name == "transm3e" else [])]
                        ),
                        runs_dir=runs,
                        fresh=fresh,
                        subset=read_subset(subset) if subset else None,
                        fold=fold,
                        progress_bar=not as_json,
                    )
                except MissingModality as error:
                    if model != "all":
                        raise
                    if processes.first:
                        typer.echo(f"SKIPPED {name}: {error}", err=True)
                    break
                if drop and name == "transm3e":
                    result = score_without(
                        data,
                        (runs or data / "runs") / result["run"],
                        drop,
                        device_name=settings.device,
                        progress_bar=not as_json,
                    )
                results.append(result)
    if not processes.first:
        return
    if as_json:
        typer.echo(json.dumps(results, indent=2))
    else:
        typer.echo(format_table(with_dropped(results)))
    typer.echo(f"runs in {runs or data / 'runs'}", err=True)


@app.command(
    epilog="Examples:\n\n"
    "`musclemap results` (the table of all finished runs in DATA/runs)\n\n"
    "`musclemap results --out table.tex` (also .csv, .md, .html with plots, .txt)\n\n"
    "`musclemap results --compare transm3e-base-seed0 mvit_v2_s-base-seed0`",
)
def results(
    data: Data = DEFAULT_DATA,
    runs: Annotated[
        Path | None, typer.Option(help="The folder of run folders; default: DATA/runs.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the table; its ending says how. CSV has it all."),
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="RUN RUN", help="Is the first better? Paired: on the same resampled clips."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print or write the table of finished runs, or compare two of them."""
    from benchmark import tables
    from benchmark.dropped import with_dropped
    from benchmark.results import compare_runs, find_run, read_runs
    from musclemap_data.errors import UserError

    folder = runs or data / "runs"
    if compare:
        if out:
            raise UserError(
                "--compare prints; give --out without it to write the table of all runs"
            )
        differences = compare_runs(*(find_run(folder, name) for name in compare))
        as_text = tables.format_comparison(*compare, differences)
        typer.echo(json.dumps(differences, indent=2) if as_json else as_text)
        return
    found = read_runs(folder)
    if not found:
        raise UserError(
            f"there is no finished run in {folder}; make one with `musclemap benchmark`"
        )
    if out is None:
        as_text = tables.format_table(with_dropped(found))
        typer.echo(json.dumps(found, indent=2) if as_json else as_text)
        return
    tables.write_table(out, with_dropped(found))
    typer.echo(f"{len(found)} runs written to {out}")


RunName = Annotated[
    Path | None,
    typer.Argument(
        metavar="[RUN]",
        help="A finished run: its name in DATA/runs, or its folder; default: the one with the "
        "highest validation mAP.",
    ),
]
Region = Annotated[
    str | None,
    typer.Option(help="Muscle region that Grad-CAM explains; default: one active in about half."),
]


@app.command(
    epilog="Examples:\n\n"
    "`musclemap report --open` (the best run of DATA)\n\n"
    "`musclemap report transm3e-base-seed0 --out transm3e.html --region glutes`\n\n"
    "`musclemap report data/quickstart/data/runs/stgcn-tiny-seed0 --data data/quickstart/data`",
)
def report(
    run: RunName = None,
    data: Data = DEFAULT_DATA,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="HTML file; default: RUN/report.html.")
    ] = None,
    region: Region = None,
    open_page: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Write all about one finished run into one HTML file that needs no network.

    Scores with intervals, every muscle region, confusions, calibration, training, best and worst
    clips with their modalities, Grad-CAM, coverage, settings. Prints the file's path.
    """
    from benchmark.predict import choose_run
    from benchmark.report import write_report

    folder, why = choose_run(data, run)
    typer.echo(f"run {folder.name}: {why}", err=True)
    path = write_report(folder, data, out or folder / "report.html", region=region)
    typer.echo(path)
    if open_page:
        typer.launch(str(path))


@app.command(
    epilog="Examples:\n\n"
    "`musclemap figures` (of the best run of DATA, into figures/)\n\n"
    "`musclemap figures transm3e-base-seed0 --out paper/figures --region quads`",
)
def figures(
    run: RunName = None,
    data: Data = DEFAULT_DATA,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")] = Path(
        "figures"
    ),
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """Write a run's figures as PDF for a paper (fonts embedded), and its table as LaTeX.

    3.5 inches wide, one column; gradcam.pdf and a large confusion.pdf are 7, the page.
    """
    from benchmark.figures import write_figures
    from benchmark.predict import choose_run

    folder, why = choose_run(data, run)
    typer.echo(f"run {folder.name}: {why}", err=True)
    written, left_out = write_figures(folder, data, out, region=region)
    if as_json:
        paths = [str(path) for path in written]
        typer.echo(json.dumps({"written": paths, "left_out": left_out}, indent=2))
        return
    for path in written:
        typer.echo(path)
    for name, reason in left_out.items():
        typer.echo(f"SKIPPED {name}: {reason}", err=True)


@app.command(
    epilog="Examples:\n\n"
    "`musclemap predict my_squats.mp4 --data data/quickstart/data`\n\n"
    "`musclemap predict my_squats.mp4 --checkpoint data/musclemap/runs/transm3e-base-seed0 "
    "--out squats`\n\n"
    "`musclemap predict workout.mov --window-s 4 --step-s 4 --json` (a long video, half the work)",
)
def predict(
    video: Annotated[Path, typer.Argument(help="A video of one person, of any kind and length.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="A finished run: its folder, its name, or its model.safetensors; default: the "
            "run in DATA/runs with the highest validation mAP.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder to write to; default: predictions/NAME."),
    ] = None,
    data: Data = DEFAULT_DATA,
    window_s: Annotated[float, typer.Option(help="Seconds judged at a time.")] = 3.0,
    step_s: Annotated[float, typer.Option(help="Seconds from one window to the next.")] = 1.5,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: one a core.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say which muscle regions a person in your own video works, and when.

    Writes `prediction.json`, `body_map.svg` and `.png`, `timeline.png` and `overlay.mp4` (the
    video with skeleton and probabilities). **Not a medical device**: see docs/predict.md.

    Exit code 0: the whole video was judged. 1: parts of it could not be read and are left out.
    """
    from tqdm import tqdm

    from benchmark import predict as runs
    from benchmark.prediction import describe_prediction, format_prediction
    from musclemap_data import windows
    from musclemap_data.figures import write_figures
    from musclemap_data.overlay import write_overlay
    from musclemap_data.shards import write_text_atomically

    source = windows.read_video(video)
    windows.plan_windows(source.seconds, window_s, step_s)  # mistakes before the slow part
    run = runs.load_run(*runs.choose_run(data, checkpoint))
    folder = out or Path("predictions") / video.stem
    with windows.working_folder(folder) as work:
        with tqdm(unit="window", desc="extract", dynamic_ncols=True, disable=as_json) as bar:
            found = windows.extract_windows(
                source,
                work,
                run.modalities,
                window_s=window_s,
                step_s=step_s,
                workers=workers,
                on_total=bar.reset,
                on_window=bar.update,
            )
        scores = runs.score_windows(run, work, windows.SPLIT, progress_bar=not as_json)
        prediction = describe_prediction(
            run,
            scores,
            found.windows,
            found.person_shares,
            source.facts(found),
            fps=found.fps,
            failed=found.failed,
            differing=runs.made_differently(run, work, windows.SPLIT),
        )
        keep = [window["counted"] for window in prediction["windows"]]
        means = [region["mean"] for region in prediction["regions"].values()]
        note = "a guess, not a measurement"
        if run.synthetic:
            note = "model trained on synthetic videos only"
        with tqdm(unit="frame", desc="overlay", dynamic_ncols=True, disable=as_json) as bar:
            write_overlay(
                folder / "overlay.mp4",
                video,
                found,
                scores,
                keep,
                run.threshold,
                note=note,
                work_dir=work,
                on_total=bar.reset,
                on_frame=bar.update,
            )
        name = video.name if len(video.name) <= 40 else f"{video.name[:37]}..."
        write_figures(
            folder,
            found.windows,
            scores,
            means,
            keep,
            found.person_shares,
            run.threshold,
            title=f"{name}: muscle regions ({note})",
        )
        text = json.dumps(prediction, indent=2)
        write_text_atomically(folder / "prediction.json", text + "\n")
    typer.echo(text if as_json else format_prediction(prediction))
    typer.echo(f"written to {folder}: prediction.json, body_map, timeline, overlay.mp4", err=True)
    if found.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command()
def validate(
    data: Data = DEFAULT_DATA,
    leakage: Annotated[
        bool, typer.Option("--leakage", help="Also look for near-duplicate frames across splits.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a data set: schema, checksums, every frame, labels, no source video in two splits.

    Exit code 0: nothing wrong. 1: problems, one line each.
    """
    from tqdm import tqdm

    from musclemap_data.leakage import find_leaks
    from musclemap_data.validate import validate_dataset

    with tqdm(unit="row", desc="validate", dynamic_ncols=True, disable=as_json) as bar:
        rows, problems = validate_dataset(data, on_row=bar.update)
    if leakage:
        with tqdm(unit="row", desc="leakage", dynamic_ncols=True, disable=as_json) as bar:
            problems += find_leaks(data, on_row=bar.update)
    if as_json:
        typer.echo(json.dumps({"rows": rows, "problems": problems}, indent=2))
    else:
        for problem in problems:
            typer.echo(f"PROBLEM {problem}", err=True)
        typer.echo(f"{rows} rows checked, {len(problems)} problems")
    if problems:
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command()
def status(data: Data = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """Show what happened to every video and clip, from the ledger, with the next step.

    Exit code 0: everything is in the shards. 1: something failed or is still to be done.
    """
    from musclemap_data.download import resting_hosts
    from musclemap_data.ledger import Ledger

    with Ledger(data, read_only=True) as ledger:
        counts: dict[str, Any] = ledger.summary()
        counts |= {"failures": ledger.failures(), "resting_hosts": resting_hosts(ledger)}
    if as_json:
        typer.echo(json.dumps(counts, indent=2))
    else:
        _print_status(counts)
    if set(counts["clips"]) != {"built"}:
        raise typer.Exit(EXIT_SOME_FAILED)


def _print_status(counts: dict[str, Any]) -> None:
    states = sorted({*counts["videos"], *counts["clips"]})
    typer.echo(f"{'':<8}" + "".join(f"{state:>12}" for state in states))
    for what in ("videos", "clips"):
        row = "".join(f"{counts[what].get(state, 0):>12}" for state in states)
        typer.echo(f"{what:<8}{row}")
    if counts["failures"]:
        typer.echo(f"\n{'failure class':<14}{'clips':>6}  what to do")
    for group in counts["failures"]:
        example = group["example"]
        typer.echo(f"{group['class']:<14}{group['clips']:>6}  {group['next_step']}")
        typer.echo(f"{'':<22}e.g. {example['id']} ({example['stage']}): {example['reason']}")
    for host in counts["resting_hosts"]:
        typer.echo(
            f"\nPAUSE {host['host']} until {host['until']} ({host['videos_left']} videos left): "
            f"{host['reason']}"
        )


@app.command()
def stats(
    data: Data = DEFAULT_DATA,
    annotations: Annotated[
        bool, typer.Option("--annotations", help="Count the bundled labels and lists instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Count clips and seconds by split, activity and muscle region."""
    from musclemap_data.stats import annotation_stats, dataset_stats

    if annotations:
        _print_annotation_stats(annotation_stats(), as_json)
        return
    counts = dataset_stats(data)
    if as_json:
        typer.echo(json.dumps(counts, indent=2))
        return
    typer.echo(f"{'split':<12}{'clips':>7}{'seconds':>10}{'videos':>8}{'coverage':>10}")
    for split, entry in counts["splits"].items():
        share = "n/a" if entry["coverage"] is None else f"{entry['coverage']:.1%}"
        typer.echo(
            f"{split:<12}{entry['clips']:>7}{entry['seconds']:>10.1f}{entry['videos']:>8}{share:>10}"
        )
    typer.echo(f"\n{'activity':<32}{'clips':>7}{'seconds':>10}  splits")
    for slug, entry in counts["activities"].items():
        where = ", ".join(f"{name} {count}" for name, count in entry["splits"].items())
        typer.echo(f"{slug:<32}{entry['clips']:>7}{entry['seconds']:>10.1f}  {where}")
    typer.echo(f"\n{'muscle region':<20}{'clips':>7}{'share':>8}")
    for slug, entry in counts["regions"].items():
        share = "n/a" if entry["share"] is None else f"{entry['share']:.1%}"
        typer.echo(f"{slug:<20}{entry['clips']:>7}{share:>8}")


def _print_annotation_stats(counts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(counts, indent=2))
        return
    total = counts["activities"]
    typer.echo(f"{total['known']} known and {total['new']} new activities\n")
    for name, groups in (("muscle region", counts["regions"]), ("family", counts["families"])):
        typer.echo(f"{name:<20}{'known':>7}{'new':>7}")
        for slug, entry in groups.items():
            typer.echo(f"{slug:<20}{entry['known']:>7}{entry['new']:>7}")
        typer.echo()
    typer.echo(f"{'bundled clips':<20}{'clips':>7}{'videos':>8}{'activities':>12}")
    for split, entry in counts["splits"].items():
        typer.echo(f"{split:<20}{entry['clips']:>7}{entry['videos']:>8}{entry['activities']:>12}")


@app.command(
    epilog="Examples:\n\n"
    "`musclemap browse` (opens the page; Ctrl-C ends it)\n\n"
    "`musclemap browse --data data/quickstart/data --port 0 --no-open`\n\n"
    "`ssh -L 8000:127.0.0.1:8000 HOST musclemap browse --no-open` (on another machine)",
)
def browse(
    data: Data = DEFAULT_DATA,
    host: Annotated[
        str, typer.Option(help="Address to listen on; another one lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="0: any free one; default: 8000, or a free one if it is taken."
        ),
    ] = None,
    open_page: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = True,
) -> None:
    """Look at a data set in the browser: filter, play all modalities in step, count. Read only.

    Also during a build: shards appear as they are written.
    """
    from musclemap_data.browse.server import run_server

    def on_ready(address: str) -> None:
        typer.echo(f"{data} at {address} (Ctrl-C ends it)")
        if host not in ("127.0.0.1", "localhost", "::1"):
            typer.secho(
                f"WARNING: everyone who reaches {host} can see this data set: no password.",
                fg="yellow",
                err=True,
            )

    run_server(data, host, port, open_page=open_page, on_ready=on_ready)


@app.command(
    epilog="Examples:\n\n"
    "`musclemap export --format hf --out exports/hf` (for `datasets.load_dataset`)\n\n"
    "`musclemap export --format mmaction2,pyskl --out exports/openmmlab`\n\n"
    "`musclemap export --format all --out exports/all --overwrite`",
)
def export(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write; new or empty.", file_okay=False)
    ],
    format_names: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            help="hf, croissant, mmaction2, pyskl, card (commas between), or all.",
        ),
    ] = "all",
    data: Data = DEFAULT_DATA,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier export in the folder.")
    ] = False,
) -> None:
    """Write the data set for other tools: Hugging Face, Croissant, MMAction2, PYSKL; and a card.

    Shards are hard links where the file system can. Exit code 2: nothing was written.
    """
    from tqdm import tqdm

    from musclemap_data.export import FORMATS, export_dataset

    names = [name.strip() for name in format_names.split(",") if name.strip()]
    with tqdm(total=0, unit="shard", desc="export", dynamic_ncols=True, delay=0.5) as bar:
        report = export_dataset(
            data,
            out,
            FORMATS if names == ["all"] else tuple(dict.fromkeys(names)),
            overwrite=overwrite,
            on_total=bar.reset,
            on_shard=bar.update,
        )
    for line in report:
        typer.echo(line)
    typer.echo(f"written to {out}")


@app.command(
    "import",
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


if __name__ == "__main__":
    app()
