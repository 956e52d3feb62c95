"""``posture`` against other models of skeletons on activities never trained on.

    python -m tests.bench.bench_method FOLDER [--penn ../shared/skeletons/penn_action]
        [--real ../shared/real_clips ../shared/real_clips_more] [--seeds 3] [--seconds 240]

Three sets of skeletons: (a) the sample's generator, every activity that it performs; (b) Penn
Action; (c) real clips, scored by the models trained on (a). Five folds of whole families: all
models of a fold are trained on the same clips, and scored on the clips of the fold's activities.
The figure is the mAP over the chance level, averaged over folds and seeds. Everything is kept in
FOLDER, so a run that is stopped goes on (exit status 3: the time is up, call again). At the end,
or with ``--table``, it prints the table of docs/method.md from the folds and seeds that are there.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import t as student_t
from torch import Tensor, nn

from benchmark import metrics
from benchmark.chance import permuted_average_precision
from benchmark.data import normalise_skeleton
from benchmark.embedded.evaluate import kept_skeleton, read_clips, skeleton_of
from benchmark.losses import training_loss
from benchmark.models import MODELS
from benchmark.models.posture import Posture, mirrored, posture_features, region_weights
from benchmark.models.transm3e import transm3e_teacher
from benchmark.protocols.folds import family_folds
from benchmark.settings import Settings
from benchmark.train import learning_rate, make_optimizer
from musclemap_data.catalog import Activity, annotations_dir, load_activities
from musclemap_data.errors import UserError
from musclemap_data.importers.penn_action import read_sequence
from musclemap_data.sample.motions import EXERCISES
from musclemap_data.sample.sequences import draw_sequences

Array = npt.NDArray[np.float32]
FOLDS = 5
FRAMES, SECONDS = 48, 4.0
SYNTHETIC_CLIPS, PENN_CLIPS = 6, 20  # of each activity
MIN_SCORE = 0.3


@dataclass(frozen=True)
class Skeletons:
    """Clips ``float32 [N, 48, 17, 3]`` with the activity of each."""

    clips: Array
    activities: list[str]
    table: Mapping[str, Activity]

    @property
    def labels(self) -> npt.NDArray[np.bool_]:
        return np.array([self.table[name].muscles for name in self.activities], dtype=bool)


# --- the skeletons -------------------------------------------------------------------------------


def kept(path: Path, table: Mapping[str, Activity], make: Callable[[], Skeletons]) -> Skeletons:
    """What ``make`` gives, from ``path`` if it was made before."""
    if not path.exists():
        made = make()
        np.savez(path, clips=made.clips, activities=np.array(made.activities))
    with np.load(path) as file:
        return Skeletons(file["clips"], file["activities"].tolist(), table)


def synthetic() -> Skeletons:
    drawn = islice(draw_sequences(list(EXERCISES), 14), SYNTHETIC_CLIPS * len(EXERCISES))
    pairs = [(normalise_skeleton(one.skeleton[:, None], MIN_SCORE), one.activity) for one in drawn]
    clips = np.array([skeleton[:, 0] for skeleton, _ in pairs], np.float32)
    return Skeletons(clips, [name for _, name in pairs], load_activities())


def penn_action(folder: Path, table: Mapping[str, Activity]) -> Skeletons:
    """The first clips of each action, the whole sequence in 48 frames."""
    slugs = {activity.name: slug for slug, activity in table.items()}
    clips: list[Array] = []
    activities: list[str] = []
    for path in sorted((folder / "labels").glob("*.mat")):
        sequence = read_sequence(path)
        slug = slugs[sequence.action]
        if activities.count(slug) < PENN_CLIPS:
            skeleton = normalise_skeleton(sequence.skeleton, MIN_SCORE)[:, 0]
            clips.append(skeleton[np.linspace(0, len(skeleton) - 1, FRAMES).round().astype(int)])
            activities.append(slug)
    return Skeletons(np.array(clips), activities, table)


def real(folders: Sequence[Path], cache: Path, known: set[str], end: float) -> Skeletons:
    """The middle four seconds of real clips; BlazePose's skeletons are kept in ``cache``.

    Clips that are not yet in the cache when the time is up are left out.
    """
    clips: list[Array] = []
    activities: list[str] = []
    for clip in read_clips(folders):
        if clip.activity not in known:
            continue
        if time.monotonic() > end and not kept_skeleton(clip.path, cache).is_file():
            continue
        try:
            skeleton, times_s = skeleton_of(clip.path, cache)
        except UserError as error:
            print(error, file=sys.stderr)
            continue
        middle = np.abs(times_s - times_s.mean()) <= SECONDS / 2
        normal = normalise_skeleton(skeleton[middle, None], MIN_SCORE)[:, 0]
        if (normal[..., 2] > 0).any():
            clips.append(normal[np.arange(FRAMES) * len(normal) // FRAMES])
            activities.append(clip.activity)
    return Skeletons(np.array(clips, np.float32), activities, load_activities())


# --- the models ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """A row: how it is made, how many frames it sees, and what its settings change."""

    build: Callable[[Settings], nn.Module]
    frames: int
    changes: Mapping[str, float | bool]


NETWORK = {"joint_channels": 16, "epochs": 20}
"""Of the skeleton networks."""
OURS = {"joint_channels": 32}
TRAINED = {
    "posture": Model(MODELS["posture"], 48, OURS),
    "stgcn": Model(MODELS["stgcn"], 8, NETWORK),
    "transm3e skeleton stream": Model(transm3e_teacher, 8, NETWORK),
}
RETRAINED = {
    "posture, places only": Model(MODELS["posture"], 48, OURS | {"posture_features": False}),
    "posture, disturbed skeletons": Model(MODELS["posture"], 48, OURS | {"skeleton_noise": 0.5}),
    "posture, 8 frames": Model(MODELS["posture"], 8, OURS),
}
"""Of these the first seed only."""
BASELINES = ("activity", "activity-soft", "prototype")
ABLATED: dict[str, dict[str, float]] = {
    "posture, posterior alone": {"mix": 1.0},
    "posture, tokens alone": {"mix": 0.0},
    "posture, most alike decides": {"mix": 1.0, "temperature": 0.005},
    "posture, without focus": {"focus": 0.0},
}
"""What is changed in the trained ``posture`` before scoring."""


def train(
    model: nn.Module, clips: Tensor, labels: Tensor, activities: Tensor, settings: Settings
) -> None:
    """Preset ``tiny``'s training on skeletons in memory: same optimiser, schedule and loss."""
    rng = np.random.default_rng(settings.seed)
    optimiser = make_optimizer(model, settings)
    steps = len(clips) // settings.batch_size
    model.train()
    for step in range(settings.epochs * steps):
        if step % steps == 0:
            order = rng.permutation(len(clips))
        batch = order[step % steps * settings.batch_size :][: settings.batch_size]
        flipped = torch.from_numpy(rng.random(len(batch)) < settings.flip)[:, None, None, None]
        skeleton = torch.where(flipped, mirrored(clips[batch]), clips[batch])
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, settings.epochs * steps, steps, settings)
        output = model({"skeleton": skeleton[:, None], "activity": activities[batch]})
        loss = training_loss(output, labels[batch])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        optimiser.step()
    model.eval()


def scores_of(model: nn.Module, clips: Tensor) -> Array:
    with torch.inference_mode():
        return np.asarray(model({"skeleton": clips[:, None]}).sigmoid(), np.float32)


def ridge(train_on: Tensor, labels: Tensor, tests: Sequence[Tensor]) -> list[Array]:
    """Strong ridge on posture features, all activities alike (the penalty of docs/method.md)."""
    features = torch.cat(
        [torch.cat(posture_features(each), 1) for each in (train_on, mirrored(train_on))]
    )
    count = features.shape[1] // 2
    known, values = features[:, count:], features[:, :count]
    seen = known.sum(0).clamp(min=1)
    mean = (values * known).sum(0) / seen
    spread = (((values - mean) * known).square().sum(0) / seen).sqrt() + 0.05
    target = torch.cat([labels, labels])
    _, member, members = target.unique(dim=0, return_inverse=True, return_counts=True)
    weight = (1 / members[member].float())[:, None]
    weight = weight / weight.mean()
    z = (values - mean) / spread * known
    middle, prior = (weight * z).mean(0), (weight * target).mean(0)
    z = z - middle
    penalty = 3.0 * len(z) * torch.eye(count)
    solved = torch.linalg.solve(z.T @ (weight * z) + penalty, z.T @ (weight * (target - prior)))
    results = []
    for test in tests:
        sides = [posture_features(each) for each in (test, mirrored(test))]
        mapped = [((v - mean) / spread * k - middle) @ solved for v, k in sides]
        results.append((sum(mapped) / 2 + prior).numpy().astype(np.float32))
    return results


class InMemory:
    """Clips as the baselines of ``benchmark.models.activity`` read them from a data set."""

    def __init__(self, clips: Tensor, labels: Tensor, activities: Tensor) -> None:
        self.settings = Settings.from_preset("tiny", epochs=2)
        self.both, self.labels, self.activities = (clips, mirrored(clips)), labels, activities

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        epoch, index = key
        skeleton = self.both[epoch][index][None]
        muscles, activity = self.labels[index], self.activities[index]
        return {"skeleton": skeleton, "muscles": muscles, "activity": activity}


def fold_scores(
    name: str, train_on: Skeletons, rows: npt.NDArray[np.bool_], tests: Sequence[Array], seed: int
) -> dict[str, list[Array]]:
    """Scores ``[N, 20]`` of each test set by one model, and by those that ablate it."""
    labels = torch.from_numpy(train_on.labels[rows]).float()
    clips = torch.from_numpy(train_on.clips[rows])
    sets = [torch.from_numpy(each) for each in tests]
    if name == "ridge":
        return {name: ridge(clips, labels, sets)}
    slugs = np.array(train_on.activities)[rows]
    activities = torch.from_numpy(np.unique(slugs, return_inverse=True)[1])
    if name in BASELINES:
        baseline = MODELS[name](Settings.from_preset("tiny"))
        # What a baseline reads of a data set, it finds in memory too.
        baseline.fit(InMemory(clips, labels, activities))  # type: ignore[operator]
        return {name: [scores_of(baseline, each) for each in sets]}
    chosen = (TRAINED | RETRAINED)[name]
    every = FRAMES // chosen.frames
    settings = Settings.from_preset("tiny", seed=seed, batch_size=16, **chosen.changes)
    torch.manual_seed(seed)
    model = chosen.build(settings)
    if isinstance(model, Posture):
        model.fit_activities(activities, labels)
    train(model, clips[:, ::every], labels, activities, settings)
    found = {name: [scores_of(model, each[:, ::every]) for each in sets]}
    if name == "posture" and isinstance(model, Posture):
        usual = {"mix": model.mix, "temperature": model.temperature, "focus": settings.region_focus}
        for other, changes in ABLATED.items():
            now = {**usual, **changes}
            model.mix, model.temperature = now["mix"], now["temperature"]
            model.weights.copy_(region_weights(now["focus"]))
            found[other] = [scores_of(model, each) for each in sets]
    return found


# --- scoring -------------------------------------------------------------------------------------


def excess(scores: Array, labels: npt.NDArray[np.bool_], activities: Sequence[str]) -> float:
    """mAP over the mean of 50 deals of the label sets, in points."""
    values = permuted_average_precision(scores, labels, activities, permutations=50)
    means = metrics.mean_over_regions(values)
    return float(100 * (means[0] - np.nanmean(means[1:])))


@dataclass(frozen=True)
class Result:
    """Excess of each fold ``[folds]``, mean over seeds; without each activity ``[G, folds]``."""

    folds: npt.NDArray[np.float64]
    left_out: npt.NDArray[np.float64]

    def spread(self) -> metrics.Spread:
        return metrics.spread(float(self.folds.mean()), self.left_out.mean(1))

    def minus(self, other: Result) -> Result:
        return Result(self.folds - other.folds, self.left_out - other.left_out)


def result(
    scores: Mapping[tuple[int, int], Array],
    data: Skeletons,
    fold_of: Mapping[str, int],
    seeds: Sequence[int],
    wanted: Sequence[int],
) -> Result:
    """The excess in the wanted folds, from the scores of all clips by (fold, seed)."""
    names = np.array(data.activities)
    folds = [number for number in wanted if len(_activities(names, fold_of, number)) > 1]
    whole = np.zeros(len(folds))
    left_out: list[npt.NDArray[np.float64]] = []
    fold_rows = [np.array([fold_of[name] == number for name in names]) for number in folds]

    def value(place: int, without: str | None = None) -> float:
        rows = fold_rows[place] & (names != without)
        return float(
            np.mean(
                [
                    excess(
                        scores[folds[place], seed][rows], data.labels[rows], names[rows].tolist()
                    )
                    for seed in seeds
                ]
            )
        )

    for place in range(len(folds)):
        whole[place] = value(place)
    for place, number in enumerate(folds):
        for activity in _activities(names, fold_of, number):
            changed = whole.copy()
            if len(_activities(names, fold_of, number)) > 2:
                changed[place] = value(place, activity)
            left_out.append(changed)
    return Result(whole, np.array(left_out))


def _activities(names: npt.NDArray[np.str_], fold_of: Mapping[str, int], number: int) -> list[str]:
    return sorted({str(name) for name in names if fold_of[name] == number})


def print_table(
    title: str, data: Skeletons, fold_of: Mapping[str, int], folder: Path, which: str
) -> None:
    """The rows of one set of skeletons, each with its difference to ``posture``."""
    names = [
        "posture",
        "transm3e skeleton stream",
        "stgcn",
        *BASELINES,
        "ridge",
        *ABLATED,
        *RETRAINED,
    ]
    found: dict[str, dict[tuple[int, int], Array]] = {}
    for name in names:
        for path in folder.glob(f"{which}-{name.replace(' ', '_')}-fold*-seed*.npy"):
            fold, seed = (int(part[4:]) for part in path.stem.split("-")[-2:])
            found.setdefault(name, {})[fold, seed] = np.load(path)
    print(f"\n{title}: {len(data.clips)} clips, {len(set(data.activities))} activities")
    print(
        f"{'':32} {'seeds':>5} {'over chance':>22} {'posture better by':>24} {'p':>6} {'folds':>5}"
    )
    ours: dict[tuple[tuple[int, ...], tuple[int, ...]], Result] = {}
    for name in names:
        seeds = tuple(sorted({seed for _, seed in found.get(name, {})}))
        folds = tuple(
            fold
            for fold in range(1, FOLDS + 1)
            if seeds and all((fold, seed) in found[name] for seed in seeds)
        )
        if not folds:
            print(f"{name:32} {'not scored':>22}")
            continue
        if (seeds, folds) not in ours:
            ours[seeds, folds] = result(found["posture"], data, fold_of, seeds, folds)
        mine = ours[seeds, folds]
        other = mine if name == "posture" else result(found[name], data, fold_of, seeds, folds)
        row = f"{name:32} {len(seeds):5d} {_figure(other.spread()):>22}"
        if name != "posture":
            difference = mine.minus(other)
            spread = difference.spread()
            p = 2 * student_t.sf(abs(spread.value) / max(spread.error, 1e-9), spread.degrees)
            wins = int((difference.folds > 0).sum())
            row += f" {_figure(spread):>24} {p:6.3f} {wins}/{len(difference.folds):d}"
        print(row, flush=True)


def _figure(spread: metrics.Spread) -> str:
    ends = spread.interval() or (float("nan"), float("nan"))
    return f"{spread.value:5.1f} [{ends[0]:5.1f}, {ends[1]:5.1f}]"


# --- all of it -----------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--penn", type=Path)
    parser.add_argument("--real", type=Path, nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cached", action="store_true", help="no new skeletons of real clips")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    end = time.monotonic() + arguments.seconds
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    generated = kept(folder / "skeletons-synthetic.npz", load_activities(), synthetic)
    known = set(generated.activities)
    extract_until = 0.0 if arguments.cached or arguments.table else end
    filmed = real(arguments.real, folder / "real", known, extract_until)
    sets: dict[str, tuple[Skeletons, dict[str, int]]] = {"synthetic": (generated, {})}
    if arguments.penn and (arguments.penn / "labels").is_dir():
        actions = load_activities(annotations_dir() / "other" / "penn_action.csv")
        made = partial(penn_action, arguments.penn, actions)
        sets["penn"] = (kept(folder / "skeletons-penn.npz", actions, made), {})
    for data, fold_of in sets.values():
        families = {name: data.table[name].family for name in set(data.activities)}
        fold_of |= family_folds(families, FOLDS, families)
    seeded = [
        (seed, name)
        for names in ((*TRAINED, "ridge"), BASELINES)
        for seed in range(arguments.seeds)
        for name in names
    ]
    jobs = [
        (seed, which, name, fold)
        for seed, name in (*seeded, *((0, name) for name in RETRAINED))
        for which in sets
        for fold in range(1, FOLDS + 1)
    ]
    for seed, which, name, fold in () if arguments.table else jobs:
        data, fold_of = sets[which]
        others = {"real": filmed} if which == "synthetic" and len(filmed.clips) else {}
        paths = {key: _path(folder, key, name, fold, seed) for key in (which, *others)}
        if all(path.exists() for path in paths.values()):
            continue
        if time.monotonic() > end:
            print("the time is up; the same command goes on", file=sys.stderr)
            sys.exit(3)
        rows = np.array([fold_of[activity] != fold for activity in data.activities])
        tests = [data.clips, *(other.clips for other in others.values())]
        for row, scores in fold_scores(name, data, rows, tests, seed).items():
            for key, each in zip((which, *others), scores, strict=True):
                np.save(_path(folder, key, row, fold, seed), each)
        print(f"{which}: {name}, fold {fold}, seed {seed}", file=sys.stderr, flush=True)
    titles = {"synthetic": "(a) generated skeletons", "penn": "(b) Penn Action"}
    for which, (data, fold_of) in sets.items():
        print_table(titles[which], data, fold_of, folder, which)
    if len(filmed.clips):
        print_table("(c) real clips, trained on (a)", filmed, sets["synthetic"][1], folder, "real")


def _path(folder: Path, which: str, name: str, fold: int, seed: int) -> Path:
    return folder / f"{which}-{name.replace(' ', '_')}-fold{fold}-seed{seed}.npy"


if __name__ == "__main__":
    main()
