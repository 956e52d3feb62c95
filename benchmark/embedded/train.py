"""``python -m benchmark.embedded.train``: make the embedded model's weights.

Every sequence is synthetic: the sample's own motions, people, cameras and mistakes of pose
estimators. The motions are drawn once, cameras and mistakes anew in every epoch. One thread and a
seed, so that one machine makes the same bytes twice.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from benchmark.embedded.model import WEIGHTS, EmbeddedModel
from benchmark.embedded.network import FRAMES, RATE_HZ, EmbeddedNetwork
from musclemap_data.catalog import load_activities
from musclemap_data.errors import UserError
from musclemap_data.sample.mistakes import Mistakes, make_mistakes
from musclemap_data.sample.motions import EXERCISES
from musclemap_data.sample.sequences import draw_motion, draw_views

Say = Callable[[str], None]
WARM_UP = 0.1
"""The learning rate rises for this share of the steps."""


@dataclass(frozen=True)
class Recipe:
    """How the shipped weights are made.

    Attributes:
        motions: of each activity.
        epochs: passes over them.
        batch: sequences a step.
        learning_rate: the highest; see ``WARM_UP``.
        weight_decay: of AdamW.
        smoothing: of the activity labels.
        region_weight: of the region head's loss.
        width: channels of the network.
        dropout: see :class:`EmbeddedNetwork`.
        seed: of everything drawn.
    """

    motions: int = 100
    epochs: int = 12
    batch: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    smoothing: float = 0.1
    region_weight: float = 1.5
    width: int = 96
    dropout: float = 0.1
    seed: int = 0


def train(recipe: Recipe, activities: Sequence[str], say: Say = print) -> EmbeddedModel:
    """Train on synthetic motion.

    Args:
        recipe: how.
        activities: that the generator performs.
        say: told of each epoch.

    Raises:
        UserError: an activity that the generator does not perform or the label table lacks.
    """
    table = load_activities()
    for slug in activities:
        if slug not in EXERCISES or slug not in table:
            raise UserError(f"the generator and the label table do not both know {slug!r}")
    torch.set_num_threads(1)  # sums in another order are other sums
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(recipe.seed)
    motions, classes = draw_motions(recipe, activities, say)
    muscles = torch.tensor([table[slug].muscles for slug in activities], dtype=torch.float32)
    network = EmbeddedNetwork(len(activities), recipe.width, recipe.dropout)
    optimiser = torch.optim.AdamW(
        network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    steps = len(motions) // recipe.batch
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: _share_of_rate(step / (steps * recipe.epochs))
    )
    begin = perf_counter()
    for epoch in range(recipe.epochs):
        rng = np.random.default_rng([recipe.seed, 1, epoch])
        order = rng.permutation(len(motions))
        network.train()
        total, right = 0.0, 0
        for step in range(steps):
            rows = order[step * recipe.batch : (step + 1) * recipe.batch]
            seen = film(motions[rows], [activities[k] for k in classes[rows]], rng)
            wanted = torch.from_numpy(classes[rows])
            said, regions = network(seen)
            loss = F.cross_entropy(said, wanted, label_smoothing=recipe.smoothing)
            loss = loss + recipe.region_weight * F.binary_cross_entropy_with_logits(
                regions, muscles[wanted]
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
            right += int((said.argmax(1) == wanted).sum())
        say(
            f"epoch {epoch + 1} of {recipe.epochs}: loss {total / steps:.3f}, first place "
            f"{right / (steps * recipe.batch):.1%}, {perf_counter() - begin:.0f} s"
        )
    facts = {"recipe": repr(recipe), "trained_on": "synthetic motion of musclemap_data.sample"}
    return EmbeddedModel(network.eval(), tuple(activities), facts)


def _share_of_rate(done: float) -> float:
    """Of the highest learning rate: up in a straight line, then down along a cosine."""
    if done < WARM_UP:
        return 0.04 + 0.96 * done / WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * min((done - WARM_UP) / (1 - WARM_UP), 1.0))


def draw_motions(
    recipe: Recipe, activities: Sequence[str], say: Say
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """``float32 [N, 48, 17, 3]`` joints in metres, and the activity of each."""
    begin = perf_counter()
    motions = np.empty((len(activities) * recipe.motions, FRAMES, 17, 3), np.float32)
    for number in range(len(motions)):
        rng = np.random.default_rng([recipe.seed, 0, number])
        activity = activities[number // recipe.motions]
        motions[number] = draw_motion(activity, FRAMES, RATE_HZ, rng)
    say(f"{len(motions)} motions of {len(activities)} activities, {perf_counter() - begin:.0f} s")
    return motions, np.repeat(np.arange(len(activities)), recipe.motions)


def film(
    motions: npt.NDArray[np.float32], activities: Sequence[str], rng: np.random.Generator
) -> torch.Tensor:
    """Motions through random cameras and a pose estimator's mistakes ``[N, 48, 17, 3]``."""
    joints_m = motions.astype(np.float64)
    seen = draw_views(activities, joints_m, rng).project(joints_m)
    return torch.from_numpy(make_mistakes(seen, rng, Mistakes()))


def main() -> None:
    """Read the arguments, train, write the weights."""
    usual = Recipe()
    parser = argparse.ArgumentParser(description="Train the embedded model on synthetic motion.")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="the weights to write")
    parser.add_argument("--motions", type=int, default=usual.motions, help="of each activity")
    parser.add_argument("--epochs", type=int, default=usual.epochs)
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--without", default="", help="activities to leave out, commas between")
    chosen = parser.parse_args()
    left_out = set(chosen.without.split(",")) - {""}
    if unknown := left_out - EXERCISES.keys():
        parser.error(f"the generator does not perform {', '.join(sorted(unknown))}")
    activities = [slug for slug in EXERCISES if slug not in left_out]
    recipe = Recipe(motions=chosen.motions, epochs=chosen.epochs, seed=chosen.seed)
    model = train(recipe, activities, lambda line: print(line, flush=True))
    model.save(chosen.out)
    print(f"written: {chosen.out} ({chosen.out.stat().st_size / 1e6:.2f} MB)")


if __name__ == "__main__":
    main()
