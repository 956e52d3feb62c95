"""TransM3E's second stream first: trained alone, kept, and used again.

A teacher is a run like any other, of ``benchmark.models.transm3e.transm3e_teacher``, in
``runs/teachers/``. Its name ends in a hash of everything that decides its weights (settings and
clips), so a teacher is found again where both match, and another one is trained where they do not.
``--fresh`` keeps teachers; remove their folder to train them again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.record import DataRecord
from benchmark.settings import MACHINE_SETTINGS, PRESETS, Settings
from musclemap_data.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from benchmark.run import Fold
    from benchmark.train import StepHook

MODEL = "transm3e"
FOLDER = "teachers"

# What only the fused model reads: teachers that differ in nothing else are one and the same.
_OF_THE_FUSED_MODEL = (
    "distillation",
    "fusion",
    "sender",
    "gradient_to_sender",
    "freeze_teacher",
    "temperature",
    "distillation_weight",
    "pretrain_teacher",
    "teacher_weights",
)


def teacher_settings(settings: Settings) -> Settings:
    """The settings that the second stream of a fused model is trained with on its own."""
    usual = PRESETS.get(settings.preset, PRESETS["base"])
    return replace(settings, **{name: getattr(usual, name) for name in _OF_THE_FUSED_MODEL})


def teacher_name(settings: Settings, data: DataRecord) -> str:
    """The folder of a teacher: ``rgb-diff-tiny-seed0-1f0c2a9b``.

    Args:
        settings: of the teacher.
        data: what a run records of its clips.
    """
    decides = {
        name: value for name, value in settings.to_dict().items() if name not in MACHINE_SETTINGS
    }
    text = json.dumps([decides, data.to_dict()], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{settings.variant}-{settings.preset}-seed{settings.seed}-{digest}"


def check_teacher(settings: Settings) -> None:
    """Refuse a model whose frozen second stream would teach what it never learnt.

    Raises:
        UserError: names the settings that help.
    """
    from benchmark.models.transm3e import teacher_is_frozen

    given = settings.pretrain_teacher or settings.teacher_weights is not None
    if teacher_is_frozen(settings) and not given:
        why = f"variant={settings.variant}" if settings.freeze_teacher is None else "freeze_teacher"
        raise UserError(
            f"transm3e with {why} keeps its second stream frozen, and that stream is untrained: "
            "its knowledge would be noise. Train it first with --pretrain-teacher (setting "
            "pretrain_teacher=true), give trained weights with --set teacher_weights=PATH, or let "
            "it learn alongside with --set freeze_teacher=false."
        )


def prepare_teacher(
    data_dir: Path,
    model_name: str,
    settings: Settings,
    data: DataRecord,
    *,
    runs_dir: Path,
    subset: Collection[str] | None = None,
    fold: Fold | None = None,
    progress_bar: bool = False,
    on_step: StepHook | None = None,
) -> Path | None:
    """The weights that a model's second stream starts from: given, found or trained now.

    Args:
        data: what the fused run records of its clips.
        runs_dir: the fused run's; teachers live in its folder ``teachers``.
        subset, fold, progress_bar, on_step: as for :func:`benchmark.run.benchmark_run`.

    Returns:
        A weights file, or None where the second stream starts from random weights, or the model
        has none.

    Raises:
        UserError: the stream would be frozen and untrained; there is no file of that name; or
            training failed.
    """
    if model_name != MODEL:
        return None
    check_teacher(settings)
    if settings.teacher_weights is not None:
        path = Path(settings.teacher_weights)
        if not path.is_file():
            raise UserError(f"no weights at {path} (setting teacher_weights)")
        return path
    if not settings.pretrain_teacher:
        return None
    from benchmark.models.transm3e import transm3e_teacher
    from benchmark.run import benchmark_run

    alone = teacher_settings(settings)
    name = teacher_name(alone, data)
    benchmark_run(
        data_dir,
        f"{MODEL}-teacher",
        alone,
        build=transm3e_teacher,
        runs_dir=runs_dir / FOLDER,
        name=name,
        subset=subset,
        fold=fold,
        progress_bar=progress_bar,
        on_step=on_step,
    )
    return runs_dir / FOLDER / name / "model.safetensors"


def start_from_teacher(model: nn.Module, path: Path | None) -> None:
    """Put a teacher's weights into a new fused model; nothing without a path."""
    if path is not None:
        from benchmark.models.transm3e import TransM3E, load_teacher

        if not isinstance(model, TransM3E):
            raise TypeError(f"{type(model).__name__} has no second stream to start")
        load_teacher(model, path)


def fingerprint_teacher(path: Path | None) -> str | None:
    """SHA-256 of a weights file: a part of what a fused run is."""
    if path is None:
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
