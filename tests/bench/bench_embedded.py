"""What a skeleton model that has seen synthetic motion alone knows of exercises it never saw.

    python -m tests.bench.bench_embedded OUT_DIR [--skeletons FOLDER] [--models embedded,stgcn]

The 135 activities are dealt into five folds by whole families (``family_folds``). For each fold a
model is trained on the generator's motions of the other four, and scored on clips of real people
that show the fold's own activities. Three models are trained on the same motions, cameras and
mistakes, as often: the embedded model's network, ST-GCN and TransM3E's skeleton stream.
``--models embedded-recipe`` trains the embedded model with its whole recipe, which takes longer.

The weights are kept in OUT_DIR, so a run that was stopped goes on. The clips
cannot be shipped: they are in ``../shared``, if at all.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from benchmark.cells import interval, percent
from benchmark.data import normalise_skeleton
from benchmark.embedded.evaluate import KnownClip, Score, read_clips, region_labels, skeleton_of
from benchmark.embedded.model import EmbeddedModel
from benchmark.embedded.network import RATE_HZ, cut_windows, resample
from benchmark.embedded.train import Recipe, draw_motions, film, train
from benchmark.losses import classification_loss
from benchmark.metrics import leave_groups_out, spread
from benchmark.models.stgcn import stgcn
from benchmark.models.transm3e import transm3e_teacher
from benchmark.protocols.folds import family_folds
from benchmark.settings import Settings
from benchmark.train import learning_rate, make_optimizer
from musclemap_data.catalog import load_activities
from musclemap_data.errors import UserError
from musclemap_data.files import replacing
from musclemap_data.sample.motions import EXERCISES
from musclemap_data.skeleton import MIRRORED
from tests.conftest import REPOSITORY

FOLDERS = [REPOSITORY.parent / "shared" / name for name in ("real_clips", "real_clips_more")]
FOLDS = 5
SHORT = Recipe(motions=20, epochs=6)
"""What all three are trained on: a tenth of the embedded model's recipe."""
GRAPH = Settings.from_preset("tiny", joint_channels=16, batch_size=64)
"""Of the graph networks: half of the width of preset ``tiny``, or they would train for hours."""
EVERY = 3
"""The graph networks read every third frame: 16 in 4 s, as many as preset ``base``."""

Floats = npt.NDArray[np.float32]
Skeletons = list[tuple[Floats, npt.NDArray[np.float64]]]


class Contestant(NamedTuple):
    """A model to compare.

    Attributes:
        train: on synthetic motion of activities; writes weights to a path.
        judge: weights and skeletons -> how active each region is, ``[N, 20]``.
    """

    train: Callable[[Sequence[str], Path], None]
    judge: Callable[[Path, Skeletons], npt.NDArray[np.float64]]


def embedded(recipe: Recipe) -> Contestant:
    """The embedded model."""

    def judge(weights: Path, skeletons: Skeletons) -> npt.NDArray[np.float64]:
        model = EmbeddedModel.load(weights)
        said = [model.recognise(*skeleton) for skeleton in skeletons]
        return np.array([each.regions()[each.counted].mean(axis=0) for each in said])

    return Contestant(lambda slugs, path: train(recipe, slugs, _say).save(path), judge)


def graph(make: Callable[[Settings], nn.Module]) -> Contestant:
    """A graph network of the benchmark with a head for regions."""

    @torch.no_grad()
    def judge(weights: Path, skeletons: Skeletons) -> npt.NDArray[np.float64]:
        model = make(GRAPH).eval()
        model.load_state_dict(load_file(weights))
        said = []
        for skeleton, times_s in skeletons:
            windows, _ = cut_windows(resample(skeleton, times_s)[0], round(RATE_HZ))
            mirrored = windows[:, :, list(MIRRORED)] * np.array([-1, 1, 1], np.float32)
            both = [model({"skeleton": _graph_input(x)}).sigmoid() for x in (windows, mirrored)]
            said.append(torch.stack(both).mean(dim=(0, 1)).numpy())
        return np.array(said, np.float64)

    return Contestant(lambda slugs, path: _train_graph(make, slugs, path), judge)


def _train_graph(
    make: Callable[[Settings], nn.Module], activities: Sequence[str], path: Path
) -> None:
    torch.manual_seed(SHORT.seed)
    motions, classes = draw_motions(SHORT, activities, _say)
    muscles = torch.from_numpy(region_labels(activities)).float()
    model = make(GRAPH).train()
    optimiser = make_optimizer(model, GRAPH)
    steps = len(motions) // GRAPH.batch_size
    for epoch in range(SHORT.epochs):
        rng = np.random.default_rng([SHORT.seed, 1, epoch])
        order, total = rng.permutation(len(motions)), 0.0
        for step in range(steps):
            rows = order[step * GRAPH.batch_size :][: GRAPH.batch_size]
            seen = film(motions[rows], [activities[k] for k in classes[rows]], rng)
            rate = learning_rate(epoch * steps + step, SHORT.epochs * steps, steps, GRAPH)
            for group in optimiser.param_groups:
                group["lr"] = rate
            logits = model({"skeleton": _graph_input(seen.numpy())})
            loss = classification_loss(logits, muscles[classes[rows]])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), GRAPH.clip_norm)
            optimiser.step()
            total += float(loss.detach())
        _say(f"epoch {epoch + 1} of {SHORT.epochs}: loss {total / steps:.3f}")
    with replacing(path) as temporary:
        save_file(model.state_dict(), temporary)


def _graph_input(windows: Floats) -> torch.Tensor:
    """``[B, 48, 17, 3]`` to what the benchmark's models read, ``[B, 1, 16, 17, 3]``."""
    some = windows[:, ::EVERY, None]
    return (
        torch.from_numpy(
            np.stack([normalise_skeleton(each, GRAPH.min_joint_score) for each in some])
        )
        .transpose(1, 2)
        .contiguous()
    )


MODELS: dict[str, Contestant] = {
    "embedded": embedded(SHORT),
    "stgcn": graph(stgcn),
    "transm3e-skeleton": graph(transm3e_teacher),
    "embedded-recipe": embedded(Recipe()),
}
ALIKE = [name for name in MODELS if name != "embedded-recipe"]
"""Trained on the same sequences, as often."""


def _say(line: str) -> None:
    print(f"  {line}", flush=True)


def excess(
    said: Sequence[npt.NDArray[np.float64]], activities: Sequence[Sequence[str]]
) -> tuple[float, tuple[float, float] | None]:
    """Mean over folds of mAP less chance level, and its 95% interval over activities.

    The chance level is taken as known; an activity that is left out changes its fold alone.

    Args:
        said: of each fold, ``[N, 20]``.
        activities: of each fold, the activity of each clip.
    """
    values, moved = [], []
    for regions, names in zip(said, activities, strict=True):
        score = Score.of(regions, names)
        if score.chance is None:
            raise UserError("a fold has too few activities for a chance level")
        values.append(score.map - score.chance.mean)
        without = leave_groups_out(regions, region_labels(names), np.array(names, dtype=object))
        moved.append((without - score.map) / len(said))
    mean = float(np.mean(values))
    return mean, spread(mean, mean + np.concatenate(moved)).interval()


def read_skeletons(kept: Path) -> tuple[list[KnownClip], Skeletons]:
    """Clips of labelled activities that the generator performs, and their skeletons."""
    table = load_activities()
    clips, skeletons = [], []
    for clip in read_clips([folder for folder in FOLDERS if folder.is_dir()]):
        if clip.activity not in table or clip.activity not in EXERCISES:
            continue
        try:
            skeletons.append(skeleton_of(clip.path, kept))
        except UserError as error:
            print(f"left out: {error}", flush=True)
            continue
        clips.append(clip)
    return clips, skeletons


def main() -> None:
    """Train what is not trained yet, then print a line for each model and fold."""
    parser = argparse.ArgumentParser(description="Skeleton models on families left out.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--skeletons", type=Path, help="where skeletons are kept")
    parser.add_argument("--models", default=",".join(ALIKE), help=f"of {', '.join(MODELS)}")
    parser.add_argument("--only-train", action="store_true", help="no scores yet")
    chosen = parser.parse_args()
    out: Path = chosen.out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    families = {slug: activity.family for slug, activity in load_activities().items()}
    fold_of = family_folds(EXERCISES, FOLDS, families)
    models = chosen.models.split(",")
    if unknown := set(models) - MODELS.keys():
        parser.error(f"there is no model {', '.join(sorted(unknown))}")
    for fold in range(1, FOLDS + 1):
        for name in models:
            if not (path := _weights(out, name, fold)).is_file():
                print(f"{name}, fold {fold} of {FOLDS}", flush=True)
                MODELS[name].train([slug for slug in EXERCISES if fold_of[slug] != fold], path)
    if chosen.only_train:
        return
    clips, skeletons = read_skeletons(chosen.skeletons or out / "skeletons")
    if not clips:
        raise SystemExit("no clips: ../shared has none here")
    names = np.array([clip.activity for clip in clips])
    own_fold = np.array([fold_of[name] for name in names])
    for name in models:
        print(f"\n{name}")
        said, own = [], []
        for fold in range(1, FOLDS + 1):
            regions = MODELS[name].judge(_weights(out, name, fold), skeletons)
            new = own_fold == fold
            said.append(regions[new])
            own.append(names[new].tolist())
            left = sorted({families[slug] for slug in EXERCISES if fold_of[slug] == fold})
            print(f"fold {fold} without {', '.join(left)}: {Score.of(said[-1], own[-1])}")
            print(f"       trained on: {Score.of(regions[~new], names[~new].tolist())}")
        mean, ends = excess(said, own)
        print(f"mean excess over the chance level {percent(mean)} {interval(ends)}", flush=True)


def _weights(out: Path, name: str, fold: int) -> Path:
    return out / f"{name}-{fold}.safetensors"


if __name__ == "__main__":
    main()
