"""A finished run on new clips: load it, score windows of a video.

The windows are rows of a shard (``musclemap_data.extract.windows`` writes them), so they pass
through the same data set and the same scoring as the clips of the benchmark.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from benchmark.checkpoint import load_weights
from benchmark.clips import read_clips
from benchmark.data import ClipDataset
from benchmark.identity import read_identity
from benchmark.machine import choose_device, prepare_torch
from benchmark.models import MODELS
from benchmark.predictions import read_predictions
from benchmark.protocols.folds import families_of, fold_splits
from benchmark.record import DataRecord, RunRecord, clips_fingerprint, need_record
from benchmark.score import predict
from benchmark.settings import Settings
from musclemap_data.catalog import SPLITS, is_synthetic, load_muscles
from musclemap_data.errors import UserError
from musclemap_data.shards import iterate_rows, read_dataset_info


@dataclass(frozen=True)
class TrainedRun:
    """A finished run, ready to score.

    Attributes:
        folder: its run folder.
        chosen: why this run, in words.
        model: with its trained weights, on ``device``.
        settings: as saved, but for this machine.
        record: what it scored.
        synthetic: whether all clips it was scored on are of the embedded synthetic sample.
        training_clips: clips of the training split in which each region is active, ``int [20]``;
            None where the data set it was trained on is not here.
        made: modality -> how that data set was made; empty where it is not here.
    """

    folder: Path
    chosen: str
    model: nn.Module
    settings: Settings
    device: torch.device
    record: RunRecord
    synthetic: bool
    training_clips: npt.NDArray[np.int64] | None
    made: Mapping[str, object]

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the model reads, of ``rgb``, ``rgb-diff``, ``flow`` and ``skeleton``."""
        return tuple(name.replace("_", "-") for name in self.record.modalities)

    @property
    def blurred(self) -> bool:
        """Whether it was trained on pictures without faces, and so is to see such pictures."""
        return any(isinstance(how, Mapping) and "faces" in how for how in self.made.values())

    @property
    def threshold(self) -> float:
        """Probabilities from here on mean active."""
        return self.record.threshold


def load_run(folder: Path, chosen: str = "as asked for", device_name: str = "auto") -> TrainedRun:
    """Load a finished run: its settings, its model with the trained weights, its scores.

    Raises:
        UserError: the folder is damaged, its model is unknown or reads nothing of a video.
    """
    folder = Path(folder)
    record, identity = need_record(folder), read_identity(folder)
    if identity.model not in MODELS:
        raise UserError(
            f"the run {folder} is of a model {identity.model!r}, which this MuscleMap does not have"
        )
    if not {*record.modalities} - {"features"}:
        raise UserError(
            f"the model {record.model} of {folder} does not look at the video, so it cannot say "
            "anything of yours; choose a run of another model"
        )
    # What names only the machine it was trained on, and weights that the run's own replace.
    settings = replace(
        identity.settings,
        device=device_name, precision="fp32", workers=0, threads=0, compile=False,
        checkpointing=False, pretrained=None, teacher_weights=None,
    )  # fmt: skip
    device = choose_device(settings.device)
    prepare_torch(settings, device)
    model = MODELS[identity.model](settings)
    load_weights(folder / "model.safetensors", model)
    training_clips, made = _training_data(folder, identity.data)
    return TrainedRun(
        folder=folder,
        chosen=chosen,
        model=model.to(device),
        settings=settings,
        device=device,
        record=record,
        synthetic=_is_synthetic(folder / "predictions.parquet"),
        training_clips=training_clips,
        made=made,
    )


def _is_synthetic(predictions: Path) -> bool:
    """Whether every clip the run was scored on is of the embedded sample (by its video ids)."""
    if not predictions.is_file():
        return False
    return is_synthetic(clip.video_id for clip in read_predictions(predictions).clips)


def _training_data(
    folder: Path, data: DataRecord
) -> tuple[npt.NDArray[np.int64] | None, Mapping[str, object]]:
    """Positives by region, and how modalities were made, of the data set around a run folder."""
    data_dir = folder.resolve().parent.parent
    try:
        made = read_dataset_info(data_dir).get("modalities", {})
        assigned = None
        clips = read_clips(data_dir, SPLITS)
        if data.fold and data.folds:
            families = families_of(data.protocol, data_dir)
            assigned = fold_splits(clips, data.fold, data.folds, families)
            clips = read_clips(data_dir, SPLITS, None, assigned)
    except UserError:
        return None, {}
    if clips_fingerprint(clips) != data.fingerprint:
        return None, {}  # it has changed since, or the run saw a part of it
    labels = np.array([clip.muscles for clip in clips if clip.split == "train"], dtype=bool)
    return labels.reshape(-1, len(load_muscles())).sum(axis=0), made


def score_windows(
    run: TrainedRun, windows_dir: Path, split: str, *, progress_bar: bool = False
) -> npt.NDArray[np.float32]:
    """Probabilities of every window, ``float32 [windows, 20]``, in the order of the shard.

    Args:
        windows_dir: a data directory with the windows as rows of ``split``.

    Raises:
        UserError: a row cannot be read or lacks what the model reads; a score is not finite.
    """
    dataset = ClipDataset(windows_dir, (split,), run.record.modalities, run.settings, train=False)
    return predict(
        run.model, dataset, run.settings, device=run.device, progress_bar=progress_bar
    ).scores


def made_differently(run: TrainedRun, windows_dir: Path, split: str) -> list[str]:
    """Modalities that were extracted in another way than those the run was trained on."""
    _, _, row = next(iterate_rows(windows_dir, ["provenance"], (split,)))
    made = json.loads(row["provenance"])
    return [name for name in run.modalities if run.made and run.made.get(name) != made[name]]
