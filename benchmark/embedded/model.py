"""The embedded model at work: from one person's skeleton to activities and muscle regions."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from benchmark.embedded.network import FRAMES, RATE_HZ, EmbeddedNetwork, cut_windows, resample
from musclemap_data.catalog import GRADES, load_activities
from musclemap_data.errors import UserError
from musclemap_data.files import replacing
from musclemap_data.skeleton import MIRRORED

WEIGHTS = Path(__file__).with_name("weights.safetensors")
DEMONSTRATIONS = Path(__file__).with_name("demonstrations.csv")
COMMONNESS = 0.75
"""How much it counts that some exercises are done more often than others, 0 (not at all) to 1 (as
much as ``demonstrations.csv`` says). Many exercises are variants of a common one."""
KNOWN_FROM = 0.35
"""An exercise of a lower probability is called unknown. ``card.md`` says how it was set."""
ACTIVE_FROM = 0.45
"""A region of this probability or more is called active: the best F1 on the same clips."""
ENOUGH_PERSON_SHARE = 0.5
STEP_S = 1.0
"""Seconds from the start of one window to the start of the next."""


@dataclass(frozen=True)
class Recognition:
    """What the model says of a skeleton.

    Attributes:
        activities: ``[A]`` slugs, in the order of the columns.
        windows: (start_s, end_s) of each window, seconds.
        probabilities: ``float64 [windows, A]`` of the activities; the rows sum to 1.
        present: ``float64 [windows]``, the share of a window in which somebody was seen.
    """

    activities: tuple[str, ...]
    windows: list[tuple[float, float]]
    probabilities: npt.NDArray[np.float64]
    present: npt.NDArray[np.float64]

    @property
    def counted(self) -> npt.NDArray[np.bool_]:
        """``[windows]``: whether it counts. One that shows nobody half of the time does not, if
        others do."""
        enough = self.present >= ENOUGH_PERSON_SHARE
        return enough if enough.any() else np.ones_like(enough)

    @property
    def overall(self) -> npt.NDArray[np.float64]:
        """``[A]``: the activities of the whole video, the mean over the windows that count."""
        return np.asarray(self.probabilities[self.counted].mean(axis=0))

    def regions(self) -> npt.NDArray[np.float64]:
        """``[windows, 20]``: the probability that each region is active."""
        table = load_activities()
        active = np.array([table[slug].muscles for slug in self.activities], np.float64)
        return np.asarray(self.probabilities @ active)

    def grades(self) -> npt.NDArray[np.float64]:
        """``[windows, 20, 4]``: the probability of each of ``GRADES``."""
        table = load_activities()
        graded = np.array([table[slug].grades for slug in self.activities])
        one_hot = np.isclose(graded[..., None], GRADES).astype(np.float64)
        return np.asarray(np.einsum("wa,arg->wrg", self.probabilities, one_hot))


@dataclass(frozen=True)
class EmbeddedModel:
    """The network with its weights, and what is known of them.

    Attributes:
        network: in evaluation mode.
        activities: slugs it can tell apart, in the order of its outputs.
        facts: what the weights' file says: training data, seed, and so on.
    """

    network: EmbeddedNetwork
    activities: tuple[str, ...]
    facts: Mapping[str, str]

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> EmbeddedModel:
        """Read weights.

        Raises:
            UserError: the file is missing or is not of this model.
        """
        try:
            with safe_open(str(path), framework="pt") as file:
                facts = json.loads((file.metadata() or {})["facts"])
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            activities = tuple(facts.pop("activities"))
            network = EmbeddedNetwork(len(activities), facts.pop("width"))
            network.load_state_dict(weights)
        except Exception as error:
            raise UserError(
                f"{path} is not a file of weights of the embedded model ({error}). Install "
                "MuscleMap anew, or make it with python -m benchmark.embedded.train"
            ) from error
        return cls(network.eval(), activities, facts)

    def save(self, path: Path) -> None:
        """Write the weights, with the activities and the facts, whole or not at all."""
        facts = {**self.facts, "activities": self.activities, "width": self.network.width}
        tensors = {name: value.contiguous() for name, value in self.network.state_dict().items()}
        with replacing(path) as temporary:
            # One entry: safetensors writes several in an order that differs from run to run.
            save_file(tensors, str(temporary), {"facts": json.dumps(facts, sort_keys=True)})

    def recognise(
        self, skeleton: npt.NDArray[np.float32], times_s: npt.ArrayLike, step_s: float = STEP_S
    ) -> Recognition:
        """What a person does, window by window.

        Args:
            skeleton: ``float32 [T, 17, 3]``: x, y in pixels, score; NaN where nobody was found.
            times_s: ``[T]`` of each frame, ascending; any frame rate.
            step_s: from the start of one window to the start of the next, seconds.
        """
        even, times = resample(skeleton, times_s)
        windows, starts = cut_windows(even, max(1, round(step_s * RATE_HZ)))
        logits = self._logits(windows) + log_prior(self.activities)
        ends = np.minimum(starts + FRAMES, len(times)) - 1
        seen = windows[..., 2].min(axis=2) > 0
        return Recognition(
            activities=self.activities,
            windows=[
                (float(times[a]), float(times[b]) + 1 / RATE_HZ)
                for a, b in zip(starts, ends, strict=True)
            ],
            probabilities=_softmax(logits),
            present=seen.sum(axis=1) / (ends - starts + 1),
        )

    @torch.no_grad()
    def features(
        self, skeleton: npt.NDArray[np.float32], times_s: npt.ArrayLike
    ) -> npt.NDArray[np.float32]:
        """What the network sees in a movement, the mean over its windows; mirrored it is the same.

        Args:
            skeleton, times_s: as for ``recognise``.

        Returns:
            ``float32 [2 * width]``.
        """
        windows, _ = cut_windows(resample(skeleton, times_s)[0], max(1, round(STEP_S * RATE_HZ)))
        mirrored = windows[:, :, list(MIRRORED)] * np.array([-1, 1, 1], np.float32)
        both = torch.from_numpy(np.concatenate([windows, mirrored]))
        return np.asarray(self.network.pooled(both).mean(0).numpy(), np.float32)

    @torch.no_grad()
    def _logits(self, windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Mean of a window and its mirror image: left and right must not matter."""
        mirrored = windows[:, :, list(MIRRORED)] * np.array([-1, 1, 1], np.float32)
        parts = []
        for start in range(0, len(windows), 256):  # a long video has thousands
            part = slice(start, start + 256)
            both = [self.network(torch.from_numpy(x[part].copy()))[0] for x in (windows, mirrored)]
            parts.append(torch.stack([x.log_softmax(1) for x in both]).mean(0))
        return torch.cat(parts).numpy()


def log_prior(activities: Sequence[str]) -> npt.NDArray[np.float64]:
    """How common each activity is ``[A]``, as a logarithm, up to a constant.

    ``demonstrations.csv`` counts the demonstration videos of it in public lists of exercises; two
    are added to each, so that one in no list is rare and not impossible.
    """
    with DEMONSTRATIONS.open(newline="", encoding="utf-8") as file:
        videos = {row["activity"]: int(row["videos"]) for row in csv.DictReader(file)}
    counts = [videos.get(slug, 0) + 2 for slug in activities]
    return np.asarray(COMMONNESS * np.log(counts))


def _softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
