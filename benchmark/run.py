"""A whole run: train, score, write down; and what is left of finished runs.

A run is a folder ``runs/NAME`` in the data directory::

    settings.json       model, settings, and which clips it saw
    checkpoints/        while training; removed when the run is complete
    log.jsonl           one line an optimiser step
    model.safetensors   the trained weights
    predictions.parquet the scores of every validation and test clip
    metrics.json        what the tables print, and more; written last: the run is done
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmark.checkpoint import save_weights
from benchmark.clips import Clip, check_modalities, read_clips
from benchmark.data import ClipDataset
from benchmark.models import MODELS
from benchmark.protocols.folds import fold_splits
from benchmark.protocols.teacher import fingerprint_teacher, prepare_teacher, start_from_teacher
from benchmark.score import (
    EVALUATION_SPLITS,
    compare_predictions,
    read_predictions,
    score_model,
    write_predictions,
)
from benchmark.settings import MACHINE_SETTINGS, Settings, nearest_name
from benchmark.train import (
    Processes,
    StepHook,
    choose_device,
    is_trainable,
    join_processes,
    prepare_torch,
    train,
)
from musclemap_data.catalog import SPLITS
from musclemap_data.errors import UserError
from musclemap_data.files import write_text
from musclemap_data.shards import read_dataset_info

METRICS_VERSION = 1

Fold = tuple[int, int]
"""Which fold, from 1, and how many there are."""


def default_run_name(model_name: str, settings: Settings, fold: Fold | None = None) -> str:
    """``transm3e-tiny-seed0``, with what differs from the preset: ``transm3e-tiny-epochs4-seed0``.

    So runs with other settings have other names, and do not get in each other's way.
    """
    changes = settings.changes()
    text = "-".join(f"{name}{_UNFIT_FOR_NAMES.sub('_', str(changes[name]))}" for name in changes)
    if len(text) > 60:
        text = hashlib.sha256(json.dumps(changes).encode()).hexdigest()[:8]
    parts = [model_name, settings.preset, text, f"seed{settings.seed}"]
    if fold is not None:
        parts.append(f"fold{fold[0]}of{fold[1]}")
    return "-".join(filter(None, parts))


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
    fold: Fold | None = None,
    build: Callable[[Settings], nn.Module] | None = None,
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
        fold: train and score on this fold of the protocol activity-folds
            (:mod:`benchmark.protocols.folds`) instead of the data set's own splits.
        build: makes the model, where ``model_name`` is no key of ``MODELS``.

    Returns:
        The content of ``metrics.json``.

    Raises:
        MissingModality: clips lack what the model reads. Nothing was trained or written.
        UserError: no such model, no data, unreadable data, a run of that name with other settings
            or other clips, or training that did not stay finite.
    """
    build = build or MODELS.get(model_name)
    if build is None:
        raise UserError(
            f"there is no model {model_name!r}{nearest_name(model_name, MODELS)} "
            f"(all: {', '.join(MODELS)})"
        )
    data_dir = Path(data_dir)
    info = read_dataset_info(data_dir)
    run_dir = Path(runs_dir or data_dir / "runs") / (
        name or default_run_name(model_name, settings, fold)
    )
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
    data: dict[str, Any] = {
        "name": info.get("name", data_dir.name),
        "fingerprint": clips_fingerprint(clips),
        "subset": subset is not None,
    }
    assigned: dict[str, str] | None = None
    if fold is not None:
        assigned = fold_splits(clips, *fold)
        clips = read_clips(data_dir, SPLITS, subset, assigned)
        data |= {"all_clips": data["fingerprint"], "fingerprint": clips_fingerprint(clips)}
        data |= {"fold": fold[0], "folds": fold[1]}
    identity: dict[str, Any] = {
        "model": model_name, "settings": settings.to_dict(), "data": data,
    }  # fmt: skip
    with join_processes(settings.device) as processes:
        device = choose_device(settings.device, processes)
        prepare_torch(settings, device)
        if settings.pretrain_teacher:  # before hours go into a teacher that nothing can use
            check_modalities(clips, build(settings).modalities)  # type: ignore[arg-type]
        teacher = prepare_teacher(
            data_dir, model_name, settings, data, runs_dir=run_dir.parent, subset=subset, fold=fold,
            progress_bar=progress_bar, on_step=on_step,
        )  # fmt: skip
        if processes.first and fresh:
            _remove_run(run_dir)
        processes.wait()
        identity["teacher"] = fingerprint_teacher(teacher)
        complete = _finished_run(run_dir, identity)
        if complete is not None:
            return complete
        torch.manual_seed(settings.seed)  # the first weights
        model = build(settings)
        start_from_teacher(model, teacher)
        check_modalities(clips, model.modalities)  # type: ignore[arg-type]
        processes.wait()
        if processes.first and not (run_dir / "settings.json").exists():
            run_dir.mkdir(parents=True, exist_ok=True)
            write_text(run_dir / "settings.json", json.dumps(identity, indent=2) + "\n")
        processes.wait()
        return _run(
            model.to(device),
            data_dir,
            {} if fold or subset is not None else info.get("splits") or {},
            identity,
            settings,
            run_dir,
            device=device,
            processes=processes,
            subset=subset,
            assigned=assigned,
            progress_bar=progress_bar,
            on_step=on_step,
        )


def _run(
    model: nn.Module,
    data_dir: Path,
    planned: Mapping[str, Mapping[str, int]],
    identity: Mapping[str, Any],
    settings: Settings,
    run_dir: Path,
    *,
    device: torch.device,
    processes: Processes,
    subset: Collection[str] | None,
    assigned: Mapping[str, str] | None,
    progress_bar: bool,
    on_step: StepHook | None,
) -> dict[str, Any]:
    modalities: Sequence[str] = model.modalities  # type: ignore[assignment]
    training, testing = (
        ClipDataset(
            data_dir,
            splits,
            modalities,
            settings,
            train=splits == ("train",),
            subset=subset,
            assigned=assigned,
        )
        for splits in (("train",), EVALUATION_SPLITS)
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
    predictions, scores = score_model(
        model,
        testing,
        settings,
        {split: numbers.get("planned") for split, numbers in planned.items()},
        device=device,
        processes=processes,
        progress_bar=progress_bar,
    )
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
        "teacher": identity["teacher"],
        "train_clips": len(training.clips),
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trained_parameters": sum(p.numel() for p in parameters if p.requires_grad),
        "training": trained,
        "machine": {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "processes": processes.count,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        **scores,
    }
    result = json.loads(json.dumps(result))  # tuples to lists: the same as when read back
    if processes.first:
        save_weights(run_dir / "model.safetensors", model)
        write_predictions(run_dir / "predictions.parquet", predictions)
        write_text(run_dir / "metrics.json", json.dumps(result, indent=2) + "\n")
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


def _finished_run(run_dir: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """The metrics of a run that is complete, after making sure that the folder is this run's."""
    path = run_dir / "settings.json"
    if not path.exists():
        return None
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
        differences = _differences(earlier, identity)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{path} cannot be read: {error}; start again with --fresh") from error
    if differences:
        raise UserError(
            f"the run {run_dir} was made with other settings: {'; '.join(differences)}. Start "
            "it again with --fresh, or keep both: give one another folder with --runs."
        )
    return read_metrics(run_dir)


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
    if earlier.get("teacher") != identity.get("teacher"):
        found.append("the weights of the teacher have changed")
    return found


def find_run(runs_dir: Path, name: str) -> Path:
    """The folder of a finished run, by its name in ``runs_dir`` or as a path.

    Raises:
        UserError: there is none; the nearest name is given.
    """
    for folder in (Path(runs_dir) / name, Path(name)):
        if (folder / "metrics.json").is_file():
            return folder
    known = [path.parent.name for path in sorted(Path(runs_dir).glob("*/metrics.json"))]
    raise UserError(
        f"there is no finished run {name!r} in {runs_dir}{nearest_name(name, known)} "
        f"(all: {', '.join(known) or 'none'})"
    )


def compare_runs(first: Path, second: Path) -> dict[str, Any]:
    """:func:`benchmark.score.compare_predictions` of two run folders."""
    return compare_predictions(
        *(read_predictions(Path(each) / "predictions.parquet") for each in (first, second))
    )
