"""Scores on known and new activities: predictions for every clip, then the metrics of each split.

A clip's score for a region is the mean over its views of the probability (the sigmoid of the
logit). Views are added in the order of the clip's frames whatever order they were computed in, so
the score does not depend on batches or processes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from tqdm import tqdm

from benchmark import metrics
from benchmark.chance import chance_level
from benchmark.data import Batch, ClipDataset
from benchmark.loader import Loader, collate
from benchmark.machine import Processes, autocast, to_device
from benchmark.models.graph import skeleton_mask
from benchmark.nearness import scores_by_distance
from benchmark.predictions import (
    EVALUATION_SPLITS,
    REGIONS,
    Predictions,
    map_and_left_out,
)
from benchmark.record import ActivityScores, Cost, MeanScores, Scores, SplitScores
from benchmark.reference import (
    dealt_average_precision,
    graded_values,
    mean_measured,
    measured,
    score_opinions,
)
from benchmark.sampling import evaluation_batches
from benchmark.settings import Settings
from benchmark.train import is_trainable
from musclemap_data.catalog import NEW_SPLITS, load_muscles
from musclemap_data.errors import UserError

LATENCY_PASSES = 5


def predict(
    model: nn.Module,
    dataset: ClipDataset,
    settings: Settings,
    *,
    device: torch.device,
    processes: Processes | None = None,
    progress_bar: bool = False,
) -> Predictions:
    """Score all views of all clips.

    Args:
        model: on ``device``; it is put into eval mode.
        dataset: made with ``train=False``.

    Raises:
        UserError: a score is not finite.
    """
    processes = processes or Processes()
    model.eval()
    logits = torch.zeros(len(dataset), REGIONS, dtype=torch.float64)
    seen = torch.zeros(len(dataset), 1, dtype=torch.float64)
    batches = evaluation_batches(
        len(dataset), settings.batch_size, rank=processes.rank, processes=processes.count
    )
    loader = Loader(dataset, batches, workers=settings.workers, pin_memory=device.type == "cuda")
    bar = tqdm(
        zip(batches, loader, strict=True),
        total=len(batches),
        unit="batch",
        desc="score",
        disable=not (progress_bar and processes.first),
    )
    torch.manual_seed(settings.seed)  # for a model that draws
    with torch.inference_mode():
        for items, batch in bar:
            with autocast(settings, device):
                output = model(to_device(batch, device, settings))
            rows = torch.tensor([index for _, index in items])
            logits[rows] = output.detach().to("cpu", torch.float64)
            if "skeleton" in batch:
                mask = skeleton_mask(batch["skeleton"]).view(len(rows), -1)
                seen[rows, 0] = mask.amax(1).to("cpu", torch.float64)
    if processes.count > 1:
        shared = torch.cat([logits, seen], 1).to(device)
        logits, seen = processes.sum(shared).cpu().split([REGIONS, 1], 1)
    if not bool(torch.isfinite(logits).all()):
        bad = int(torch.nonzero(~torch.isfinite(logits))[0, 0])
        clip = dataset.clips[dataset.items[bad][0]]
        raise UserError(
            f"the model's score of {clip.address} is not finite; try precision=fp32, or train "
            "again with a lower learning_rate"
        )
    clip_indices = np.array([clip for clip, _ in dataset.items], dtype=np.int64)
    scores = average_views(torch.sigmoid(logits).numpy(), clip_indices, len(dataset.clips))
    views = np.bincount(clip_indices, minlength=len(dataset.clips))
    skeletons = None
    if "skeleton" in dataset.modalities:
        skeletons = np.bincount(clip_indices, seen[:, 0].numpy(), minlength=len(views)) > 0
    return Predictions(dataset.clips, scores, views, skeletons)


def average_views(
    probabilities: npt.NDArray[np.float64], clip_indices: npt.NDArray[np.int64], clips: int
) -> npt.NDArray[np.float32]:
    """Mean over the views of each clip, ``float32 [clips, 20]``.

    The mean is taken of the differences to the clip's first view: equal views give exactly their
    value, so that a constant score stays constant over clips with different numbers of views.

    Args:
        probabilities: ``float64 [items, 20]``.
        clip_indices: ``int64 [items]``, ascending: the clip of each item; none is left out.
    """
    first = np.searchsorted(clip_indices, np.arange(clips))
    base = probabilities[first]
    total = np.zeros_like(base)
    np.add.at(total, clip_indices, probabilities - base[clip_indices])
    counts = np.bincount(clip_indices, minlength=clips)[:, None]
    mean: npt.NDArray[np.float32] = (base + total / np.maximum(counts, 1)).astype(np.float32)
    return mean


def score_model(
    model: nn.Module,
    testing: ClipDataset,
    settings: Settings,
    planned: Mapping[str, int | None],
    *,
    device: torch.device,
    processes: Processes,
    progress_bar: bool = False,
    trained: npt.NDArray[np.bool_] | None = None,
) -> tuple[Predictions, Cost, Scores]:
    """Predict and score, with what it took.

    Args:
        planned: clips that the manifest lists for each split; gives the coverage.
        trained: ``bool [M, 20]``, the labels of the training clips, see :func:`score_predictions`.

    Returns:
        The predictions; what they cost, with all views; and :func:`score_predictions` of them.
    """
    first = to_device(collate([testing[0]]), device, settings) if len(testing) else None
    multiply_adds = None if first is None else count_multiply_adds(model, first)
    started = time.monotonic()
    predictions = predict(
        model, testing, settings, device=device, processes=processes, progress_bar=progress_bar
    )
    seconds = time.monotonic() - started
    speed = len(testing.clips) / max(seconds, 1e-9)
    latency = None if first is None else measure_latency(model, first, settings, device)
    cost = Cost(multiply_adds, round(seconds, 3), round(speed, 3), latency)
    return predictions, cost, score_predictions(predictions, planned, trained)


def count_multiply_adds(model: nn.Module, batch: Batch) -> int:
    """Multiply-adds of one batch (matrix products, convolutions and attention)."""
    from torch.utils.flop_counter import FlopCounterMode

    if not is_trainable(model):
        return 0
    model.eval()
    with FlopCounterMode(display=False) as counter:  # it does not work without gradients
        model(batch)
    return int(counter.get_total_flops()) // 2


def measure_latency(
    model: nn.Module, batch: Batch, settings: Settings, device: torch.device
) -> float:
    """Milliseconds of the model on a batch, the median of ``LATENCY_PASSES``.

    Reading and decoding are not in it.
    """
    model.eval()
    times = []
    with torch.inference_mode():
        for _ in range(1 + LATENCY_PASSES):  # the first warms up
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            started = time.perf_counter()
            with autocast(settings, device):
                model(batch)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - started)
    return round(1000 * statistics.median(times[1:]), 3)


def score_predictions(
    predictions: Predictions,
    planned: Mapping[str, int | None] | None = None,
    trained: npt.NDArray[np.bool_] | None = None,
) -> Scores:
    """All metrics of a run; what is undefined is None.

    Args:
        planned: clips that the manifest lists for each split; gives the coverage.
        trained: ``bool [M, 20]``, the labels of the training clips: gives the scores of new
            activities by how near their label sets are to these.
    """
    by_split = {split: predictions.of_split(split) for split in EVALUATION_SPLITS}
    validation = [by_split["val_known"], by_split["val_new"]]
    threshold = metrics.best_f1_threshold(
        np.concatenate([each.scores for each in validation]),
        np.concatenate([each.labels for each in validation]),
    )
    splits: dict[str, SplitScores] = {}
    spreads: dict[str, metrics.Spread] = {}
    dealt: dict[str, npt.NDArray[np.float64]] = {}
    graded: dict[str, dict[str, npt.NDArray[np.float64]]] = {}
    for number, (split, each) in enumerate(by_split.items()):
        spreads[split] = metrics.spread(*map_and_left_out(each, split))
        # Known and new activities are dealt their labels independently of each other.
        aps = dealt_average_precision(each.scores, each.labels, each.clips, number)
        dealt[split] = metrics.mean_over_regions(aps)
        graded[split] = graded_values(each.scores, each.clips, number)
        found = _score_split(
            each, spreads[split], aps, dealt[split], threshold, split, (planned or {}).get(split)
        )
        names = [clip.activity for clip in each.clips]
        nearness = {}
        if trained is not None and split in NEW_SPLITS:
            nearness = scores_by_distance(each.scores, each.labels, names, trained)
        splits[split] = replace(
            found,
            per_distance=nearness,
            graded={name: measured(values) for name, values in graded[split].items()},
        )
    means: dict[str, MeanScores] = {}
    for half in ("val", "test"):
        known, new = f"{half}_known", f"{half}_new"
        spread = metrics.mean_spread(spreads[known], spreads[new])
        means[half] = MeanScores(
            map=metrics.none_if_nan(spread.value),
            map_interval=spread.interval(within=metrics.SHARE),
            constant_map=_middle(splits[known].constant_map, splits[new].constant_map),
            chance=chance_level((dealt[known] + dealt[new]) / 2),
            graded=mean_measured(graded[known], graded[new]),
        )
    references = score_opinions({split: each.clips for split, each in by_split.items()})
    return Scores(splits, means, threshold, references)


def _score_split(
    predictions: Predictions,
    spread: metrics.Spread,
    dealt_aps: npt.NDArray[np.float64],
    dealt_maps: npt.NDArray[np.float64],
    threshold: float | None,
    split: str,
    planned: int | None,
) -> SplitScores:
    scores, labels, clips = predictions.scores, predictions.labels, predictions.clips
    regions = [muscle.slug for muscle in load_muscles()]
    average_precision = metrics.average_precision(scores, labels)
    constant = float("nan")
    if clips:
        constant = float(metrics.mean_over_regions(metrics.constant_average_precision(labels)))
    micro = macro = float("nan")
    if threshold is not None and clips:
        micro, macro = metrics.f1_scores(scores, labels, threshold)
    ranking = metrics.label_ranking_average_precision(scores, labels)
    activities = sorted({clip.activity for clip in clips})
    chosen = {name: [clip.activity == name for clip in clips] for name in activities}
    return SplitScores(
        clips=len(clips),
        planned=planned,
        coverage=len(clips) / planned if planned else None,
        videos=len({clip.video_id for clip in clips}),
        activities=len(activities),
        skeletons=(
            float(predictions.skeletons.mean())
            if predictions.skeletons is not None and clips
            else None
        ),
        left_out="activities" if split.endswith("_new") else "videos",
        regions=int(np.isfinite(average_precision).sum()),
        trivial_regions=int(labels.all(axis=0).sum()) if clips else 0,
        map=metrics.none_if_nan(spread.value),
        map_interval=spread.interval(within=metrics.SHARE),
        constant_map=metrics.none_if_nan(constant),
        chance=chance_level(dealt_maps),
        f1_micro=metrics.none_if_nan(micro),
        f1_macro=metrics.none_if_nan(macro),
        label_ranking_ap=metrics.none_if_nan(_mean(ranking)),
        calibration_error=metrics.none_if_nan(metrics.calibration_error(scores, labels)),
        per_region_ap={
            region: metrics.none_if_nan(float(value))
            for region, value in zip(regions, average_precision, strict=True)
        },
        per_region_chance={
            region: chance_level(dealt_aps[:, number]) for number, region in enumerate(regions)
        },
        per_activity={
            name: ActivityScores(
                int(np.sum(rows)), metrics.none_if_nan(_mean(ranking[np.array(rows)]))
            )
            for name, rows in chosen.items()
        },
    )


def _mean(values: npt.NDArray[np.float64]) -> float:
    """Mean of the defined values."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")


def _middle(first: float | None, second: float | None) -> float | None:
    """The mean of two values, where both are defined."""
    return None if first is None or second is None else (first + second) / 2
