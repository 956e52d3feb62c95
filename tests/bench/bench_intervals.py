"""How often the 95% intervals of a score hold what they promise, and how often chance gets a star.

    python -m tests.bench.bench_intervals [DRAWS]

Clips are simulated on the real label sets: a scorer knows a region's label with some skill, its
errors belong to the activity, to the video and to the clip. For new activities the truth is the
mean score over other sets of as many activities; for known ones that of the same activities over
endless videos.
"""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt

from benchmark import metrics
from benchmark.chance import chance_level, permuted_average_precision
from musclemap_data.catalog import load_activities

LABELS = np.array([activity.muscles for activity in load_activities().values()], dtype=bool)
Draw = tuple[
    npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.int64], npt.NDArray[np.int64]
]


class Scorer:
    """A set of activities and a scorer's opinion of each, drawn at random."""

    def __init__(self, rng: np.random.Generator, activities: int, skill: float) -> None:
        self.rng = rng
        self.labels = LABELS[rng.choice(len(LABELS), activities, replace=False)]
        self.opinion = skill * (2 * self.labels - 1) + rng.normal(size=self.labels.shape)

    def clips(self, videos: int = 4, clips: int = 3) -> Draw:
        """Scores, labels, activity and video of every clip."""
        activity = np.repeat(np.arange(len(self.labels)), videos)
        by_video = self.opinion[activity] + 0.7 * self.rng.normal(size=(len(activity), 20))
        video = np.repeat(np.arange(len(activity)), clips)
        scores = by_video[video] + 0.5 * self.rng.normal(size=(len(video), 20))
        return scores, self.labels[activity[video]], activity[video], video


def mean_ap(scores: npt.NDArray[np.float64], labels: npt.NDArray[np.bool_]) -> float:
    """mAP over the regions with a positive."""
    return float(metrics.mean_over_regions(metrics.average_precision(scores, labels)))


def covered(draw: Draw, groups: npt.NDArray[np.object_], truth: float) -> bool:
    """Whether the interval of a score, with these groups left out in turn, holds the truth."""
    scores, labels = draw[:2]
    left_out = metrics.leave_groups_out(scores, labels, groups)
    ends = metrics.spread(mean_ap(scores, labels), left_out).interval()
    return ends is not None and ends[0] <= truth <= ends[1]


def coverage(activities: int, skill: float, draws: int) -> tuple[float, float]:
    """Shares of intervals that hold the truth: of new activities, of the same activities."""
    rng = np.random.default_rng([activities, round(10 * skill)])
    other_sets = np.mean([mean_ap(*Scorer(rng, activities, skill).clips()[:2]) for _ in range(300)])
    new, same = [], []
    for _ in range(draws):
        scorer = Scorer(rng, activities, skill)
        draw = scorer.clips()
        new.append(covered(draw, draw[2].astype(object), float(other_sets)))
        same.append(covered(draw, draw[3].astype(object), mean_ap(*scorer.clips(videos=100)[:2])))
    return float(np.mean(new)), float(np.mean(same))


def stars_of_chance(activities: int, draws: int) -> float:
    """Share of scorers without any skill that get a star."""
    rng = np.random.default_rng(activities)
    stars = 0
    for _ in range(draws):
        scores, labels, activity, _ = Scorer(rng, activities, 0.0).clips()
        values = permuted_average_precision(
            scores, labels, activity.astype(str).tolist(), permutations=499
        )
        level = chance_level(metrics.mean_over_regions(values))
        stars += level is not None and level.significant
    return stars / draws


def main(draws: int) -> None:
    """Print the table of docs/scores.md."""
    print(f"{draws} draws each; intervals of 95%")
    print("activities  skill  new activities  same activities  stars of a scorer without skill")
    for activities in (6, 12, 20, 40):
        stars = stars_of_chance(activities, draws)
        for skill in (0.0, 0.5, 1.0):
            new, same = coverage(activities, skill, draws)
            print(
                f"{activities:10d}  {skill:5.1f}  {new:14.0%}  {same:15.0%}  {stars:31.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
