"""TransM3E's second stream first: trained alone, kept, and used again.

A teacher is a run like any other, of ``benchmark.models.transm3e.transm3e_teacher``, in
``runs/teachers/``. Its name ends in a hash of everything that decides its weights (settings and
clips), so a teacher is found again where both match, and another one is trained where they do not.
``--fresh`` keeps teachers; remove their folder to train them again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from benchmark.clips import check_modalities
from benchmark.machine import join_processes
from benchmark.models import MODELS
from benchmark.models.transm3e import teacher_is_frozen, transm3e_teacher
from benchmark.record import DataRecord, RunRecord
from benchmark.run import Run, modalities
from benchmark.settings import MACHINE_SETTINGS, PRESETS, Settings
from benchmark.train import StepHook
from musclemap_data.errors import UserError

MODEL = "transm3e"
FOLDER = "teachers"

# What only the fused model reads: teachers that differ in nothing else are one and the same.
_OF_THE_FUSED_MODEL = (
    "distillation", "fusion", "sender", "gradient_to_sender", "skeleton_drop", "freeze_teacher",
    "temperature", "distillation_weight", "pretrain_teacher", "teacher_weights",
)  # fmt: skip


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
    given = settings.pretrain_teacher or settings.teacher_weights is not None
    if teacher_is_frozen(settings) and not given:
        why = f"variant={settings.variant}" if settings.freeze_teacher is None else "freeze_teacher"
        raise UserError(
            f"transm3e with {why} keeps its second stream frozen, and that stream is untrained: "
            "its knowledge would be noise. Train it first with --pretrain-teacher (setting "
            "pretrain_teacher=true), give trained weights with --set teacher_weights=PATH, or let "
            "it learn alongside with --set freeze_teacher=false."
        )


def teacher_run(run: Run) -> Run:
    """The run that trains the second stream of a fused run on its own."""
    settings = teacher_settings(run.settings)
    return replace(
        run,
        model=f"{MODEL}-teacher",
        settings=settings,
        runs_dir=run.folder.parent / FOLDER,
        name=teacher_name(settings, run.data_record),
        build=transm3e_teacher,
    )


def complete_run(
    run: Run,
    *,
    fresh: bool = False,
    progress_bar: bool = False,
    on_step: StepHook | None = None,
) -> RunRecord:
    """Complete a run; where its settings ask for a teacher, find or train that first.

    Args:
        fresh: as for :meth:`benchmark.run.Run.complete`; teachers are kept.

    Raises:
        UserError: the second stream would be frozen and untrained; there is no file of the name
            ``teacher_weights``; or as :meth:`benchmark.run.Run.complete`.
    """
    settings = run.settings
    with join_processes(settings.device):
        if run.model == MODEL and run.teacher is None:
            check_teacher(settings)
            if settings.teacher_weights is not None:
                weights = Path(settings.teacher_weights)
                if not weights.is_file():
                    raise UserError(f"no weights at {weights} (setting teacher_weights)")
                run = replace(run, teacher=weights)
            elif settings.pretrain_teacher:
                # Before hours go into a teacher that nothing can use.
                check_modalities(run.clips, modalities(MODELS[MODEL](settings)))
                alone = teacher_run(run)
                alone.complete(progress_bar=progress_bar, on_step=on_step)
                run = replace(run, teacher=alone.folder / "model.safetensors")
        return run.complete(fresh=fresh, progress_bar=progress_bar, on_step=on_step)
