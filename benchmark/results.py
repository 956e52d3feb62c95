"""A whole run (train, score, write down) and the table that compares runs.

A run is a folder ``runs/NAME`` in the data directory::

    settings.json       model, settings, and which clips it saw
    checkpoints/        while training; removed when the run is complete
    log.jsonl           one line an optimiser step
    model.safetensors   the trained weights
    predictions.parquet the scores of every validation and test clip
    metrics.json        everything the table prints, and more; written last: it marks completion
"""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
import platform
import re
import shutil
import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmark.checkpoint import save_weights
from benchmark.data import Batch, Clip, ClipDataset, collate, read_clips
from benchmark.evaluate import (
    EVALUATION_SPLITS,
    compare_predictions,
    predict,
    read_predictions,
    score_predictions,
    write_predictions,
)
from benchmark.models import MODELS
from benchmark.settings import MACHINE_SETTINGS, Settings, nearest_name
from benchmark.train import (
    Processes,
    StepHook,
    choose_device,
    is_trainable,
    join_processes,
    prepare_torch,
    to_device,
    train,
)
from musclemap_data.catalog import SPLITS
from musclemap_data.errors import UserError
from musclemap_data.shards import read_dataset_info, write_text_atomically

METRICS_VERSION = 1


def default_run_name(model_name: str, settings: Settings) -> str:
    """``transm3e-tiny-seed0``, with what differs from the preset: ``transm3e-tiny-epochs4-seed0``.

    So runs with other settings have other names, and do not get in each other's way.
    """
    changes = settings.changes()
    text = "-".join(f"{name}{_UNFIT_FOR_NAMES.sub('_', str(changes[name]))}" for name in changes)
    if len(text) > 60:
        text = hashlib.sha256(json.dumps(changes).encode()).hexdigest()[:8]
    return "-".join(filter(None, [model_name, settings.preset, text, f"seed{settings.seed}"]))


_UNFIT_FOR_NAMES = re.compile(r"[^A-Za-z0-9.]+")


def read_subset(path: Path) -> frozenset[str]:
    """Clip ids from a text file, one a line; empty lines and lines that start with # are skipped.

    Raises:
        UserError: the file cannot be read or names no clip.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the subset {path} cannot be read: {error}") from error
    ids = frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not ids:
        raise UserError(f"the subset {path} names no clip; write one clip id a line")
    return ids


def benchmark_run(
    data_dir: Path,
    model_name: str,
    settings: Settings,
    *,
    runs_dir: Path | None = None,
    name: str | None = None,
    fresh: bool = False,
    subset: Collection[str] | None = None,
    progress_bar: bool = False,
    on_step: StepHook | None = None,
) -> dict[str, Any]:
    """Train a model on ``train``, score it on known and new activities, write it all down.

    A run that is complete is read, not repeated; one that was stopped goes on from its last
    checkpoint. Under torchrun all processes call this.

    Args:
        data_dir: a data set with ``dataset.json`` and ``shards/``.
        model_name: a key of ``benchmark.models.MODELS``.
        runs_dir: where run folders go; ``data_dir / "runs"`` if not given.
        name: the run's folder; :func:`default_run_name` if not given.
        fresh: remove what an earlier run of this name left.
        subset: keep these clip ids of all splits.

    Returns:
        The content of ``metrics.json``.

    Raises:
        UserError: no such model, no data, unreadable data, a run of that name with other settings
            or other clips, or training that did not stay finite.
    """
    if model_name not in MODELS:
        raise UserError(
            f"there is no model {model_name!r}{nearest_name(model_name, MODELS)} "
            f"(all: {', '.join(MODELS)})"
        )
    data_dir = Path(data_dir)
    info = read_dataset_info(data_dir)
    run_dir = Path(runs_dir or data_dir / "runs") / (name or default_run_name(model_name, settings))
    _check_run_name(run_dir.name)
    clips = read_clips(data_dir, SPLITS, subset)
    if subset is not None:
        missing = sorted(set(subset) - {clip.clip_id for clip in clips})
        if missing:
            raise UserError(
                f"{len(missing)} clips of the subset are not in {data_dir}: "
                f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}. Build them with "
                "`musclemap download` and `musclemap extract-modalities`, or shorten the subset."
            )
    identity = {
        "model": model_name,
        "settings": settings.to_dict(),
        "data": {
            "name": info.get("name", data_dir.name),
            "fingerprint": clips_fingerprint(clips),
            "subset": subset is not None,
        },
    }
    with join_processes(settings.device) as processes:
        device = choose_device(settings.device, processes)
        prepare_torch(settings, device)
        if processes.first and fresh:
            _remove_run(run_dir)
        processes.wait()
        complete = _open_run(run_dir, identity, write=processes.first)
        processes.wait()
        if complete is not None:
            return complete
        return _run(
            data_dir,
            info,
            identity,
            settings,
            run_dir,
            device=device,
            processes=processes,
            subset=subset,
            progress_bar=progress_bar,
            on_step=on_step,
        )


def _run(
    data_dir: Path,
    info: Mapping[str, Any],
    identity: Mapping[str, Any],
    settings: Settings,
    run_dir: Path,
    *,
    device: torch.device,
    processes: Processes,
    subset: Collection[str] | None,
    progress_bar: bool,
    on_step: StepHook | None,
) -> dict[str, Any]:
    torch.manual_seed(settings.seed)  # the first weights
    model = MODELS[identity["model"]](settings).to(device)
    modalities: Sequence[str] = model.modalities  # type: ignore[assignment]
    training = ClipDataset(data_dir, ["train"], modalities, settings, train=True, subset=subset)
    testing = ClipDataset(
        data_dir, EVALUATION_SPLITS, modalities, settings, train=False, subset=subset
    )
    fit_labels = getattr(model, "fit_labels", None)
    if fit_labels is not None and training.clips:
        fit_labels(torch.from_numpy(training.labels()).float().to(device))
    trained: dict[str, float] = {}
    if is_trainable(model) and settings.epochs:
        trained = train(
            model,
            training,
            settings,
            run_dir,
            device=device,
            processes=processes,
            progress_bar=progress_bar,
            on_step=on_step,
        )
    multiply_adds = _multiply_adds(model, testing, device)
    started = time.monotonic()
    predictions = predict(
        model,
        testing,
        settings,
        device=device,
        processes=processes,
        progress_bar=progress_bar,
    )
    seconds = time.monotonic() - started
    planned = {
        split: numbers.get("planned")
        for split, numbers in (info.get("splits") or {}).items()
        if subset is None
    }
    parameters = list(model.parameters())
    result = {
        "version": METRICS_VERSION,
        "run": run_dir.name,
        "model": identity["model"],
        "preset": settings.preset,
        "seed": settings.seed,
        "changes": settings.changes(),
        "modalities": list(modalities),
        "data": identity["data"],
        "train_clips": len(training.clips),
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trained_parameters": sum(p.numel() for p in parameters if p.requires_grad),
        "multiply_adds_per_view": multiply_adds,
        "training": trained,
        "scoring": {
            "seconds": round(seconds, 3),
            "clips_per_s": round(len(testing.clips) / max(seconds, 1e-9), 3),
        },
        "machine": {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "processes": processes.count,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        **score_predictions(predictions, planned),
    }
    result = json.loads(json.dumps(result))  # tuples to lists: the same as when read back
    if processes.first:
        save_weights(run_dir / "model.safetensors", model)
        write_predictions(run_dir / "predictions.parquet", predictions)
        write_text_atomically(run_dir / "metrics.json", json.dumps(result, indent=2) + "\n")
        shutil.rmtree(run_dir / "checkpoints", ignore_errors=True)
    processes.wait()
    return result


def clips_fingerprint(clips: Sequence[Clip]) -> str:
    """A hash of which clips there are, in which splits and order, with which labels and lengths."""
    digest = hashlib.sha256()
    for clip in clips:
        labels = "".join("01"[active] for active in clip.muscles)
        digest.update(f"{clip.split} {clip.clip_id} {clip.frames} {labels}\n".encode())
    return digest.hexdigest()


def read_metrics(run_dir: Path) -> dict[str, Any] | None:
    """The metrics of a complete run, or None where there are none.

    Raises:
        UserError: the file is damaged or of another version.
    """
    path = Path(run_dir) / "metrics.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if not isinstance(result, dict) or result.get("version") != METRICS_VERSION:
        raise UserError(f"{path} is not of version {METRICS_VERSION}; run the benchmark again")
    return result


def read_runs(runs_dir: Path) -> list[dict[str, Any]]:
    """The metrics of all complete runs in a folder, in the order of their names."""
    found = (read_metrics(path) for path in sorted(Path(runs_dir).glob("*/")))
    return [each for each in found if each is not None]


def _check_run_name(name: str) -> None:
    if not name or name in (".", "..") or any(sign in name for sign in "/\\\0") or name[0] == ".":
        raise UserError(f"{name!r} cannot name a run; use letters, digits, - and _")


def _remove_run(run_dir: Path) -> None:
    """Remove a run's folder, but nothing that is not one."""
    if not run_dir.exists():
        return
    if not (run_dir / "settings.json").is_file() and any(run_dir.iterdir()):
        raise UserError(f"{run_dir} is not a run (no settings.json); it was not removed")
    shutil.rmtree(run_dir)


def _open_run(run_dir: Path, identity: Mapping[str, Any], *, write: bool) -> dict[str, Any] | None:
    """Make the folder, or make sure that it belongs to this run; its metrics if it is complete."""
    path = run_dir / "settings.json"
    if path.exists():
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
            differences = _differences(earlier, identity)
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise UserError(f"{path} cannot be read: {error}; start again with --fresh") from error
        if differences:
            raise UserError(
                f"the run {run_dir} was made with other settings: {'; '.join(differences)}. Start "
                "it again with --fresh, or give this one another --name."
            )
        return read_metrics(run_dir)
    if write:
        run_dir.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, json.dumps(identity, indent=2) + "\n")
    return None


def _differences(earlier: Mapping[str, Any], identity: Mapping[str, Any]) -> list[str]:
    found = []
    if earlier["model"] != identity["model"]:
        found.append(f"model was {earlier['model']}, now {identity['model']}")
    names = [*identity["settings"], *(set(earlier["settings"]) - set(identity["settings"]))]
    for name in names:
        before, now = earlier["settings"].get(name), identity["settings"].get(name)
        if before != now and name not in MACHINE_SETTINGS:
            found.append(f"{name} was {before}, now {now}")
    if earlier["data"]["fingerprint"] != identity["data"]["fingerprint"]:
        found.append("the clips of the data set have changed")
    return found


def _multiply_adds(model: nn.Module, dataset: ClipDataset, device: torch.device) -> int | None:
    """Multiply-adds of one view of one clip (matrix products, convolutions and attention)."""
    from torch.utils.flop_counter import FlopCounterMode

    if not len(dataset) or not is_trainable(model):
        return 0 if len(dataset) else None
    batch: Batch = to_device(collate([dataset[0]]), device)
    model.eval()
    with FlopCounterMode(display=False) as counter:  # it does not work without gradients
        model(batch)
    return int(counter.get_total_flops()) // 2


# --- The table -----------------------------------------------------------------------------------

_COLUMNS = (
    ("val known", "splits", "val_known"),
    ("val new", "splits", "val_new"),
    ("val mean", "means", "val"),
    ("test known", "splits", "test_known"),
    ("test new", "splits", "test_new"),
    ("test mean", "means", "test"),
)


@dataclass(frozen=True)
class Table:
    """One table as text cells: ``rows`` of the models, ``facts`` of the splits, ``notes`` below."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    facts: Sequence[Sequence[str]]
    notes: Sequence[str]


def make_tables(runs: Sequence[Mapping[str, Any]]) -> list[Table]:
    """The comparison: mAP in percent, its 95% interval, the lift over a constant score.

    Runs that differ in the seed alone share a row: their mean, and the spread over seeds. Runs on
    different clips are not comparable and get tables of their own.
    """
    by_data: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        by_data.setdefault(run["data"]["fingerprint"], []).append(run)
    return [_one_table(group) for group in by_data.values()]


def _one_table(runs: Sequence[Mapping[str, Any]]) -> Table:
    rows: list[list[str]] = []
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        groups.setdefault(_label(run), []).append(run)
    for label, same in groups.items():
        cells = [[run[part][key] for run in same] for _, part, key in _COLUMNS]
        reasons = [_reason(same[0], key) for _, _, key in _COLUMNS]
        values = [_value(each, reason) for each, reason in zip(cells, reasons, strict=True)]
        seeds = f", {len(same)} seeds" if len(same) > 1 else ""
        rows.append([f"{label}{seeds}", _short_count(same[0]["parameters"]), *values])
        second = "95% interval" if len(same) == 1 else "spread over seeds"
        rows.append([f"  {second}", "", *(_range(each, "map") for each in cells)])
        rows.append(["  lift over a constant", "", *map(_lift, cells)])
        rows.append([f"  {second}", "", *(_range(each, "lift") for each in cells)])
    first = runs[0]
    columns = [first[part][key] for _, part, key in _COLUMNS]
    splits = [each if "clips" in each else {} for each in columns]
    facts = [
        ["constant score", "", *(_percent(each["constant_map"]) for each in columns)],
        ["clips", "", *(str(each.get("clips", "")) for each in splits)],
        ["coverage", "", *map(_coverage, splits)],
        ["regions in the mean", "", *map(_regions, splits)],
        ["regions always on", "", *(str(each.get("trivial_regions", "")) for each in splits)],
        ["resampled", "", *map(_resampled, splits)],
    ]
    data = first["data"]
    title = f"mAP in % on {data['name']}{' (subset)' if data['subset'] else ''}"
    title += f", clips {data['fingerprint'][:8]}, {first['train_clips']} for training"
    notes = [
        "Coverage: clips built of clips planned. Regions: those with a positive clip; the others "
        "have no average precision.",
    ]
    if any(each.get("trivial_regions") for each in splits):
        notes.append(
            "Regions always on: active in every clip, so any score has average precision 1; "
            "judge by the lift."
        )
    return Table(title, ["model", "parameters", *(n for n, _, _ in _COLUMNS)], rows, facts, notes)


def format_table(runs: Sequence[Mapping[str, Any]]) -> str:
    """:func:`make_tables` as plain text for a terminal."""
    return "\n\n".join(map(_as_text, make_tables(runs)))


def _as_text(table: Table) -> str:
    lines = [table.header, *table.rows, *table.facts]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.header))]
    texts = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    rule = "-" * max(map(len, texts))
    end = 1 + len(table.rows)
    return "\n".join([table.title, texts[0], rule, *texts[1:end], rule, *texts[end:], *table.notes])


def format_markdown(runs: Sequence[Mapping[str, Any]]) -> str:
    """:func:`make_tables` as Markdown."""
    parts = []
    for table in make_tables(runs):
        lines = [table.header, ["---", *["---:"] * (len(table.header) - 1)]]
        lines += [*table.rows, *table.facts]
        rows = [
            f"| {' | '.join(cell.strip().replace('|', '/') for cell in line)} |" for line in lines
        ]
        parts.append("\n".join([f"**{table.title}**", "", *rows, "", *table.notes, ""]))
    return "\n".join(parts)


def format_latex(runs: Sequence[Mapping[str, Any]]) -> str:
    """:func:`make_tables` as LaTeX tabulars (package booktabs)."""
    parts = []
    for table in make_tables(runs):

        def row(line: Sequence[str]) -> str:
            return (
                " & ".join(_LATEX_ESCAPES.sub(r"\\\g<0>", cell.strip()) for cell in line) + r" \\"
            )

        columns = "l" + "r" * (len(table.header) - 1)
        parts.append(
            "\n".join(
                [
                    f"% {table.title}",
                    rf"\begin{{tabular}}{{{columns}}}",
                    r"\toprule",
                    row(table.header),
                    r"\midrule",
                    *map(row, table.rows),
                    r"\midrule",
                    *map(row, table.facts),
                    r"\bottomrule",
                    r"\end{tabular}",
                    "",
                ]
            ).replace("±", r"$\pm$")
        )
    return "\n".join(parts)


_LATEX_ESCAPES = re.compile(r"[&%$#_{}]")


def format_html(runs: Sequence[Mapping[str, Any]]) -> str:
    """:func:`make_tables` as one HTML page without scripts or outside resources."""
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>MuscleMap results</title>',
        "<style>body{font:15px sans-serif;margin:2em}td,th{padding:.2em .8em;text-align:right}",
        "td:first-child,th:first-child{text-align:left}tfoot{color:#555}</style>",
    ]
    for table in make_tables(runs):
        head = _html_rows([table.header], "th")
        body, foot = _html_rows(table.rows, "td"), _html_rows(table.facts, "td")
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in table.notes)
        parts.append(
            f"<h2>{html.escape(table.title)}</h2><table><thead>{head}</thead>"
            f"<tbody>{body}</tbody><tfoot>{foot}</tfoot></table>{notes}"
        )
    return "\n".join([*parts, "</html>\n"])


def _html_rows(lines: Sequence[Sequence[str]], tag: str) -> str:
    cells = ((f"<{tag}>{html.escape(text.strip())}</{tag}>" for text in line) for line in lines)
    return "".join(f"<tr>{''.join(line)}</tr>" for line in cells)


def format_csv(runs: Sequence[Mapping[str, Any]]) -> str:
    """One line a run and split, all numbers as shares (not percent), empty where undefined."""
    numbers = (
        "clips", "planned", "coverage", "videos", "activities", "regions", "trivial_regions", "map",
        "constant_map", "lift", "f1_micro", "f1_macro", "label_ranking_ap", "calibration_error",
    )  # fmt: skip
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    intervals = ("map_interval", "lift_interval")
    ends = [f"{name}_{end}" for name in intervals for end in ("low", "high")]
    header = ["run", "model", "preset", "seed", "data", "parameters", "split", *numbers, *ends]
    writer.writerow(header)
    for run in runs:
        who = [run["run"], run["model"], run["preset"], run["seed"]]
        who += [run["data"]["fingerprint"][:8], run["parameters"]]
        for _, part, key in _COLUMNS:
            values = run[part][key]
            pairs = [end for name in intervals for end in values[name] or ("", "")]
            writer.writerow([*who, key, *(_blank(values.get(name)) for name in numbers), *pairs])
    return text.getvalue()


def _blank(value: Any) -> Any:
    return "" if value is None else value


FORMATS: dict[str, Callable[[Sequence[Mapping[str, Any]]], str]] = {
    "txt": format_table,
    "csv": format_csv,
    "md": format_markdown,
    "tex": format_latex,
    "html": format_html,
}
"""File ending -> how to write the results of runs."""


def compare_runs(first: Path, second: Path) -> dict[str, Any]:
    """:func:`benchmark.evaluate.compare_predictions` of two run folders."""
    return compare_predictions(
        *(read_predictions(Path(each) / "predictions.parquet") for each in (first, second))
    )


def _label(run: Mapping[str, Any]) -> str:
    """``mvit_v2_s (tiny, modality=flow)``: all that tells runs apart but the seed."""
    changes = "".join(f", {name}={value}" for name, value in run["changes"].items())
    if len(changes) > 80:
        changes = (
            f", {len(run['changes'])} changes {hashlib.sha256(changes.encode()).hexdigest()[:6]}"
        )
    return f"{run['model']} ({run['preset']}{changes})"


def _reason(run: Mapping[str, Any], key: str) -> str:
    """Why a column has no mAP."""
    parts = [key] if key in run["splits"] else [f"{key}_known", f"{key}_new"]
    return "no positives" if all(run["splits"][part]["clips"] for part in parts) else "0 clips"


def _value(cells: Sequence[Mapping[str, Any]], reason: str) -> str:
    values = [each["map"] for each in cells if each["map"] is not None]
    return _percent(statistics.fmean(values)) if values else f"n/a ({reason})"


def _range(cells: Sequence[Mapping[str, Any]], name: str) -> str:
    """The bootstrap interval of one run, or the standard deviation over several seeds."""
    sign = "+" if name == "lift" else ""
    if len(cells) == 1:
        interval = cells[0][f"{name}_interval"]
        if interval is None:
            return "n/a"
        return f"[{100 * interval[0]:{sign}.1f}, {100 * interval[1]:{sign}.1f}]"
    values = [each[name] for each in cells if each[name] is not None]
    return f"± {_percent(statistics.stdev(values))}" if len(values) > 1 else "n/a"


def _lift(cells: Sequence[Mapping[str, Any]]) -> str:
    values = [each["lift"] for each in cells if each["lift"] is not None]
    return f"{100 * statistics.fmean(values):+.1f}" if values else "n/a"


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}"


def _coverage(split: Mapping[str, Any]) -> str:
    if not split:
        return ""
    if split["coverage"] is None:
        return "n/a"
    return f"{_percent(split['coverage'])}% of {split['planned']}"


def _regions(split: Mapping[str, Any]) -> str:
    return f"{split['regions']} of {len(split['per_region_ap'])}" if split else ""


def _resampled(split: Mapping[str, Any]) -> str:
    return f"{split[split['resampled']]} {split['resampled']}" if split else ""


def _short_count(count: int) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f} {letter}"
    return str(count)
