"""Baselines that think in activities: any claim about regions must beat these.

Labels belong to activities, so the activity, not the clip, is the sample. Three scorers read the
same plain statistics of the skeleton (:func:`movement`) and are fitted in one go:

* ``activity``: name the activity, inherit its labels. A linear discriminant whose classes are the
  training activities, all equally likely.
* ``activity-soft``: the same, but each region gets the share of the softened posterior
  ``softmax(logits / T)`` that lies on activities which use it.
* ``prototype``: no activity is named. Each region has two prototypes, the mean over the activities
  that use it and over those that do not; a clip scores by the difference of its distances.

All are balanced over activities: one with many clips counts as much as one with few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmark.models.graph import skeleton_mask
from benchmark.settings import Settings

if TYPE_CHECKING:
    from benchmark.data import ClipDataset

REGIONS = 20
FEATURES = 6 * 17
SHRINKAGE = 0.2
"""Share of the pooled variances, in place of the covariances, in the discriminant (a plain choice;
Friedman 1989 picks it by cross-validation)."""
SUREST = 60.0
"""Logits of regions end here, so that all are finite."""


def movement(skeleton: Tensor) -> Tensor:
    """Plain statistics of a view: where each joint is, how far it strays, how fast it moves.

    Mean, standard deviation and mean absolute step of x and y of each joint over the frames in
    which it was seen, then the mean over the people that were seen.

    Args:
        skeleton: ``[batch, M, frames, 17, 3]``, see :mod:`benchmark.models.graph`.

    Returns:
        ``float32 [batch, 102]``; 0 where nothing was seen.
    """
    seen = skeleton_mask(skeleton).view(*skeleton.shape[:-1], 1).float()  # [B, M, T, 17, 1]
    points = skeleton[..., :2].float() * seen
    count = seen.sum(2)
    mean = points.sum(2) / count.clamp(min=1)
    square = ((points - mean.unsqueeze(2)) * seen).square().sum(2) / count.clamp(min=1)
    both = seen[:, :, 1:] * seen[:, :, :-1]
    steps = (points[:, :, 1:] - points[:, :, :-1]).abs() * both
    speed = steps.sum(2) / both.sum(2).clamp(min=1)
    each = torch.cat([mean, square.sqrt(), speed], -1).flatten(2)  # [B, M, 102]
    people = (count.sum((2, 3)) > 0).float().unsqueeze(-1)
    features: Tensor = (each * people).sum(1) / people.sum(1).clamp(min=1)
    return features


def balanced(activities: Tensor) -> Tensor:
    """Weights of clips that give every activity the same sum, and 1 in all; float64.

    Args:
        activities: ``int64 [clips]``, any numbers.
    """
    _, member, count = torch.unique(activities, return_inverse=True, return_counts=True)
    weights: Tensor = 1.0 / (count[member].double() * len(count))
    return weights


class Fitted(nn.Module):
    """A module of buffers whose sizes depend on the training activities.

    It loads whatever sizes were saved: how many activities there were is not a setting.
    """

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        for name, buffer in self.named_buffers(recurse=False):
            if (saved := state_dict.get(prefix + name)) is not None:
                setattr(self, name, saved.new_empty(saved.shape).to(buffer))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class LabelTable(Fitted):
    """From logits of activities to logits of regions, by the label sets of the activities.

    The probability of a region is the share of ``softmax(logits / temperature)`` that lies on
    activities which use it.
    """

    sets: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("sets", torch.zeros(0, REGIONS))

    def forward(self, logits: Tensor, temperature: float) -> Tensor:
        """``[batch, activities]`` -> ``[batch, 20]``; temperature 0: of the likeliest alone."""
        if temperature == 0:
            chosen: Tensor = self.sets[logits.argmax(-1)].logit()
            return chosen.clamp(-SUREST, SUREST)
        # In logarithms: the regions of an unlikely activity still differ from those of none.
        posterior = (logits / temperature).log_softmax(-1).unsqueeze(-1)
        used = (posterior + self.sets.log()).logsumexp(1)
        unused = (posterior + (1 - self.sets).log()).logsumexp(1)
        return (used - unused).clamp(-SUREST, SUREST)


class Discriminant(Fitted):
    """A linear discriminant of activities that are all equally likely (Fisher 1936).

    The covariance within activities is shrunk towards its diagonal.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(0, FEATURES))
        self.register_buffer("bias", torch.zeros(0))

    def fit(self, features: Tensor, member: Tensor) -> None:
        """Learn from ``float64 [clips, features]`` of activities ``int64 [clips]`` (0 to K - 1)."""
        means = _means(features, member)
        apart = (features - means[member]) * balanced(member)[:, None].sqrt()
        covariance = apart.T @ apart
        variance = covariance.diagonal()
        shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * variance.diag()
        shrunk += _floor(variance).diag()
        weight = torch.linalg.solve(shrunk, means.T).T
        self.weight, self.bias = (
            weight.to(self.weight),
            (-0.5 * (weight * means).sum(1)).to(self.bias),
        )

    def forward(self, features: Tensor) -> Tensor:
        """``[batch, features]`` -> logits ``[batch, activities]``."""
        return features @ self.weight.T + self.bias


def _means(features: Tensor, member: Tensor) -> Tensor:
    """The mean of each activity, ``[K, features]``."""
    count = torch.bincount(member).to(features)[:, None]
    return features.new_zeros(len(count), features.shape[1]).index_add_(0, member, features) / count


def _floor(variance: Tensor) -> Tensor:
    """What keeps a feature that never varies from deciding everything."""
    return torch.full_like(variance, 1e-3 * float(variance.mean()) + 1e-8)


class ByActivity(nn.Module):
    """Name the activity, inherit its labels.

    Args:
        temperature: softens the posterior of the activities; 0 takes the likeliest alone.
    """

    modalities: tuple[str, ...] = ("skeleton",)

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.discriminant = Discriminant()
        self.table = LabelTable()

    def fit(self, training: ClipDataset) -> None:
        """Learn the activities of the training clips and their labels."""
        features, member, sets = read_movements(training)
        self.discriminant.fit(features, member)
        self.table.sets = sets.to(self.table.sets)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Logits ``[batch, 20]``."""
        logits: Tensor = self.table(
            self.discriminant(movement(batch["skeleton"])), self.temperature
        )
        return logits


class Prototypes(nn.Module):
    """Two prototypes a region: the mean of the activities that use it, and of those that do not.

    The logit is half the difference of the squared distances, features measured in standard
    deviations within activities, over the number of features. A region that all or none of the
    training activities use gets the same score for every clip.
    """

    modalities: tuple[str, ...] = ("skeleton",)
    weight: Tensor
    bias: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(REGIONS, FEATURES))
        self.register_buffer("bias", torch.zeros(REGIONS))

    def fit(self, training: ClipDataset) -> None:
        """Learn from the training clips, every activity with the same weight."""
        features, member, sets = read_movements(training)
        means = _means(features, member)
        apart = (features - means[member]) * balanced(member)[:, None].sqrt()
        variance = apart.square().sum(0)
        variance = variance + _floor(variance)
        use, rest = sets, 1 - sets  # [K, 20]
        with_, without = (
            (part.T @ means) / part.sum(0)[:, None].clamp(min=1e-9) for part in (use, rest)
        )
        both = (use.sum(0) > 0) & (rest.sum(0) > 0)
        weight = (with_ - without) / variance / len(variance)
        bias = -0.5 * (weight * (with_ + without)).sum(1)
        self.weight.copy_(torch.where(both[:, None], weight, 0.0))
        self.bias.copy_(torch.where(both, bias, sets.mean(0).logit().clamp(-SUREST, SUREST)))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Logits ``[batch, 20]``."""
        return movement(batch["skeleton"]) @ self.weight.T + self.bias


def read_movements(training: ClipDataset) -> tuple[Tensor, Tensor, Tensor]:
    """What the baselines learn from, read clip by clip: one view a clip and epoch.

    Returns:
        ``float64 [views, 102]`` :func:`movement`; ``int64 [views]`` which activity, 0 to K - 1;
        ``float64 [K, 20]`` its label set, the mean where clips of an activity differ.
    """
    from benchmark.loader import collate

    features, numbers, labels = [], [], []
    for epoch in range(max(1, training.settings.epochs)):
        for index in range(len(training)):
            item = training[epoch, index]
            features.append(movement(collate([item])["skeleton"]).double())
            numbers.append(item["activity"])
            labels.append(item["muscles"].double())
    _, member = torch.unique(torch.stack(numbers), return_inverse=True)
    return torch.cat(features), member, _means(torch.stack(labels), member)


def activity(settings: Settings) -> ByActivity:
    """The labels of the likeliest activity."""
    return ByActivity(temperature=0)


def activity_soft(settings: Settings) -> ByActivity:
    """The labels of all activities, by a posterior with ``settings.activity_temperature``."""
    return ByActivity(settings.activity_temperature)


def prototype(settings: Settings) -> Prototypes:
    """Two prototypes a region."""
    return Prototypes()
