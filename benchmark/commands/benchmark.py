"""The verb `benchmark`: train models, score known and new activities, print one table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.shared import BENCHMARK, RunsFolder
from musclemap_data.commands.shared import DEFAULT_DATA, AsJson, Data, examples, listed

if TYPE_CHECKING:
    from benchmark.compare import Comparison
    from benchmark.settings import Settings, SettingValue

app = typer.Typer()

Models = Annotated[
    str, typer.Option(help="Model names with commas between, or all; `--list` shows them.")
]
Preset = Annotated[
    str | None,
    typer.Option(help="tiny, small, base or early-code. Default: base on a GPU, tiny on a CPU."),
]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="Another setting, FIELD=VALUE; can be repeated.")
]
Subset = Annotated[
    Path | None, typer.Option(help="Only the clips named in this file, one id a line.")
]
MinSkeletonQuality = Annotated[
    float | None,
    typer.Option(
        help="Neither train nor score on clips whose skeleton is of a lower quality, from 0 to 1 "
        "(docs/pose.md): 0.4 leaves out the bad ones.",
        metavar="QUALITY",
    ),
]
Protocol = Annotated[
    str,
    typer.Option(
        help="fixed: the data set's own known and new activities; activity-folds: every activity "
        "is new once, in one of --folds experiments; family-folds: the same with whole families."
    ),
]
PretrainTeacher = Annotated[
    bool,
    typer.Option(
        "--pretrain-teacher",
        help="transm3e: first train its second stream alone; kept in RUNS/teachers.",
    ),
]
Pretrained = Annotated[
    str | None,
    typer.Option(help="Weights to start from: MODEL=PATH,MODEL=PATH; see `musclemap weights`."),
]
Drop = Annotated[
    str | None, typer.Option(help="skeleton: also score transm3e with the skeleton missing.")
]
AblationOption = Annotated[
    bool, typer.Option("--ablation", help="transm3e against itself with one part less at a time.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Forget earlier runs of the name.")]
ListModels = Annotated[bool, typer.Option("--list", help="List models and settings, then stop.")]


@app.command(
    rich_help_panel=BENCHMARK,
    epilog=examples(
        "`musclemap benchmark --model transm3e`",
        "`musclemap benchmark --model random,stgcn,transm3e --preset tiny --epochs 4 --seed 0 "
        "--seed 1`",
        "`musclemap benchmark --ablation --seed 0 --seed 1 --seed 2`",
        "`musclemap benchmark --model mvit_v2_s --set modality=flow --set batch_size=8`",
        "`musclemap benchmark --model all --preset tiny` (every model; continues where it stopped)",
        "`musclemap benchmark --model stgcn --protocol family-folds --folds 5`",
    ),
)
def benchmark(
    model: Models = "transm3e",
    data: Data = DEFAULT_DATA,
    preset: Preset = None,
    epochs: Annotated[int | None, typer.Option(min=0, help="Passes over the train split.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Can be repeated.")] = None,
    change: Changes = None,
    subset: Subset = None,
    min_skeleton_quality: MinSkeletonQuality = None,
    protocol: Protocol = "fixed",
    folds: Annotated[int, typer.Option(min=2, help="Folds of the protocols of folds.")] = 5,
    runs: RunsFolder = None,
    fresh: Fresh = False,
    pretrained: Pretrained = None,
    pretrain_teacher: PretrainTeacher = False,
    drop: Drop = None,
    ablation: AblationOption = False,
    as_json: AsJson = False,
    list_models: ListModels = False,
) -> None:
    """Train models on the shards, score known and new activities, print one table.

    A finished run is read, not repeated; an interrupted one continues from its last checkpoint.
    `--model all` leaves out models whose modality the data set lacks, with a line for each.
    """
    from benchmark.compare import compare_models
    from benchmark.machine import join_processes
    from benchmark.models import MODELS
    from benchmark.protocols.ablation import run_ablation
    from benchmark.run import read_subset
    from benchmark.settings import describe_settings
    from musclemap_data.errors import UserError

    if list_models:
        typer.echo("models: " + ", ".join(MODELS) + "\n")
        typer.echo(describe_settings(preset or "base"))
        return
    names = listed(model)
    if pretrain_teacher and model != "all" and "transm3e" not in names:
        raise UserError("--pretrain-teacher is for --model transm3e")
    settings = _settings(
        preset,
        change or [],
        epochs=epochs,
        pretrained=pretrained,
        min_skeleton_quality=min_skeleton_quality,
        pretrain_teacher=pretrain_teacher or None,
    )
    clips = read_subset(subset) if subset else None
    with join_processes(settings.device) as processes:
        if ablation:
            if names != ["transm3e"] or drop or protocol != "fixed":
                raise UserError("--ablation is of transm3e alone, without --drop and --protocol")
            if not seed:
                typer.echo("one seed; for three: --seed 0 --seed 1 --seed 2", err=True)
            parts = run_ablation(
                data,
                settings,
                seed or [settings.seed],
                runs_dir=runs,
                fresh=fresh,
                subset=clips,
                progress_bar=not as_json,
            )
            if processes.first:
                typer.echo(json.dumps(parts.to_dict(), indent=2) if as_json else parts)
            return
        found = compare_models(
            data,
            None if model == "all" else names,
            settings,
            seeds=seed or (),
            protocol=protocol,
            folds=folds,
            subset=clips,
            drop=drop,
            runs_dir=runs,
            fresh=fresh,
            progress_bar=not as_json,
        )
    if processes.first:
        _show(found, settings, as_json)
        typer.echo(f"runs in {runs or data / 'runs'}", err=True)


def _show(found: Comparison, settings: Settings, as_json: bool) -> None:
    """What was left out, then the table."""
    left_out = [run.data.bad_skeletons for run in found.runs if run.data.bad_skeletons]
    if left_out:
        typer.echo(
            f"{max(left_out)} clips were left out: their skeletons are below "
            f"{settings.min_skeleton_quality:g} (look at them with `musclemap browse`)",
            err=True,
        )
    for name, why in found.skipped.items():
        typer.echo(f"SKIPPED {name}: {why}", err=True)
    records = [record.to_dict() for record in found.runs]
    typer.echo(json.dumps(records, indent=2) if as_json else found)


def _settings(preset: str | None, changes: list[str], **given: SettingValue) -> Settings:
    """The settings of all runs: the preset, --set, and what other options were given."""
    from benchmark.compare import default_preset
    from benchmark.settings import Settings

    if preset is None:
        preset = default_preset()
        typer.echo(f"preset {preset} (choose another with --preset)", err=True)
    options = [f"{name}={value}" for name, value in given.items() if value is not None]
    return Settings.from_preset(preset).with_overrides([*changes, *options])
