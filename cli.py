"""The command line: one function a verb, each a thin wrapper over importable functions.

Imports stay inside the functions so that ``musclemap --help`` answers at once.
"""

from __future__ import annotations

import errno
import json
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from musclemap_data.ledger import Failure

DEFAULT_DATA = Path("data/musclemap")
EXIT_SOME_FAILED = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


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
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
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

Data = Annotated[
    Path,
    typer.Option(
        "--data", "-d", envvar="MUSCLEMAP_DATA", help="The data set's folder.", file_okay=False
    ),
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
    workers: Annotated[int, typer.Option(min=1, max=32, help="Videos fetched at once.")] = 2,
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
) -> None:
    """Fetch the source videos of a manifest (yt-dlp), once each.

    Exit code 0: every video asked for is there. 1: some failed, each with a line and its reason
    in the ledger. 2: the manifest or an option is wrong, and nothing was touched.
    """
    from tqdm import tqdm

    from musclemap_data.catalog import load_table
    from musclemap_data.download import download_videos
    from musclemap_data.manifest import read_manifest, select_clips

    path = manifest or _bundled_manifest()
    clips = read_manifest(path, load_table(activities))
    chosen = select_clips(
        clips, activities=activity or (), splits=split or (), sample=sample, limit=limit
    )
    if len(chosen) < len(clips):
        typer.echo(f"{len(chosen)} of the {len(clips)} clips of the manifest")
    with tqdm(total=0, unit="video", desc="download", dynamic_ncols=True) as bar:
        failures = 0

        def on_total(total: int) -> None:
            bar.reset(total)

        def on_video(video_id: str, failure: Failure | None) -> None:
            nonlocal failures
            failures += failure is not None
            bar.set_postfix(failed=failures, refresh=False)
            bar.update()

        report = download_videos(
            chosen,
            path.parent,
            data,
            workers=workers,
            keep=[clip.clip_id for clip in clips],
            activity_table=activities,
            retry_failed=retry_failed,
            on_total=on_total,
            on_video=on_video,
        )
    _report_failures(report.failed, "videos")
    typer.echo(
        f"{report.downloaded} videos downloaded, {report.present} were there, "
        f"{len(report.failed)} failed; {report.total_bytes / 1e6:.1f} MB in {data / 'videos'}"
    )
    if report.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command(
    epilog="Examples:\n\n"
    "`musclemap extract-modalities`\n\n"
    "`musclemap extract-modalities --modalities rgb,skeleton --workers 8`",
)
def extract_modalities(
    data: Data = DEFAULT_DATA,
    modalities: Annotated[
        str, typer.Option(help="Which to extract, with commas between.")
    ] = "rgb,rgb-diff,flow,skeleton",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: one a core.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also try clips that failed for good before.")
    ] = False,
) -> None:
    """Cut the clips and write RGB, RGB difference, TV-L1 flow and skeletons into Parquet shards.

    Only what is missing is computed. Exit code 0: all clips are in the shards. 1: some clips or
    their videos failed, each with a line and its reason in the ledger.
    """
    import os

    from tqdm import tqdm

    from musclemap_data import build

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
            workers=workers or os.cpu_count() or 1,
            retry_failed=retry_failed,
            on_total=on_total,
            on_clip=on_clip,
        )
    _report_failures(report.failed, "clips")
    for clip_id, share in sorted(report.clipped.items()):
        typer.echo(f"WARNING {clip_id}: {share:.2%} of the flow is beyond ±20 px", err=True)
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
    from musclemap_data.ledger import NEXT_STEP, FailureClass, Ledger

    with Ledger(data, read_only=True) as ledger:
        counts = ledger.summary()
    if as_json:
        typer.echo(json.dumps(counts, indent=2))
    else:
        for what, states in (("videos", counts["videos"]), ("clips", counts["clips"])):
            listing = ", ".join(f"{count} {state}" for state, count in states.items())
            typer.echo(f"{what}: {listing}")
        for kind, count in counts["failed_clips"].items():
            typer.echo(f"  {count} clips {kind}: {NEXT_STEP[FailureClass(kind)]}")
    if set(counts["clips"]) != {"built"}:
        raise typer.Exit(EXIT_SOME_FAILED)


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
