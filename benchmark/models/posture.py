"""Posture: the activity, and not the clip, is the sample.

    skeleton -> posture features z (angles, directions, heights, moment arms and how they vary)
    region r: softmax over the activities k of training of cos_r(z, prototype_k) / T
              -> mean label of r under that posterior
    mixed with the logits of a small network of region tokens over the joints near each region

Labels belong to activities, so a data set of ten thousand clips and forty activities is forty
samples. A network of graph convolutions fits the forty by heart. Here almost nothing is fitted: the
features are fixed, a prototype is the mean over an activity's clips, and the posterior is soft, so
that a new activity borrows the labels of all that look like it. Each region compares only what its
own joints do. docs/method.md says what was tried, what helped and what did not.

Every part has a setting: ``posture_features``, ``posterior_mix``, ``posterior_temperature``,
``region_focus``, ``balance_activities``, ``skeleton_noise``; ``frames`` and ``rate`` say how dense.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from benchmark.clips import activity_number
from benchmark.models.activity import Fitted
from benchmark.models.norm import sum_over_processes
from benchmark.models.weights import start_from
from benchmark.settings import Settings
from musclemap_data.skeleton import JOINT_COUNT, MIRRORED

if TYPE_CHECKING:
    from benchmark.data import ClipDataset

REGIONS = 20

_NOSE, _SHOULDERS, _ELBOWS, _WRISTS = (0,), (5, 6), (7, 8), (9, 10)
_HIPS, _KNEES, _ANKLES = (11, 12), (13, 14), (15, 16)
_BODY = (*_NOSE, *range(5, JOINT_COUNT))  # eyes and ears say nothing that the nose does not
_ARM = (*_SHOULDERS, *_ELBOWS, *_WRISTS)
_LEG = (*_HIPS, *_KNEES, *_ANKLES)

REGION_JOINTS: tuple[tuple[int, ...], ...] = (
    (*_NOSE, *_SHOULDERS),  # neck and head
    _ARM, _ARM, _ARM, _ARM,  # chest, shoulder, biceps, triceps
    (*_ELBOWS, *_WRISTS),  # forearms
    (*_NOSE, *_SHOULDERS, *_ELBOWS),  # upper back
    _ARM,  # latissimus
    (*_SHOULDERS, *_HIPS), (*_SHOULDERS, *_HIPS),  # obliques, upper abdominis
    (*_SHOULDERS, *_HIPS, *_KNEES),  # lower abdominis
    (*_NOSE, *_SHOULDERS, *_HIPS),  # lower back
    _LEG, _LEG,  # hamstring, quadriceps
    (*_KNEES, *_ANKLES),  # calves
    _LEG, _LEG,  # inner and outer thigh
    (*_SHOULDERS, *_HIPS, *_KNEES),  # gluteus
    (*_KNEES, *_ANKLES),  # feet and ankles
    (*_ELBOWS, *_WRISTS),  # wrists
)  # fmt: skip
"""Joints that a region moves or holds, in the order of the regions: the anatomical mask."""

_BONES = (
    (5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16),
    (5, 11), (6, 12), (0, 5), (0, 6),
)  # fmt: skip
_ANGLES = (  # the middle joint's
    (5, 7, 9), (6, 8, 10), (11, 13, 15), (12, 14, 16), (11, 5, 7), (12, 6, 8), (5, 11, 13),
    (6, 12, 14),
)  # fmt: skip
_LEVERS = (  # horizontal distance of an end from its root: the lever of gravity
    (9, 5), (10, 6), (15, 11), (16, 12), (13, 11), (14, 12), (5, 11), (6, 12), (9, 11), (10, 12),
    (15, 9), (16, 10), (0, 11), (0, 12),
)  # fmt: skip
_SHORTEST = 0.05  # a bone that looks shorter (in torso lengths) has no direction


class _Signals:
    """Signals over time, each with the joints it needs; then their mean and spread."""

    def __init__(self, skeleton: Tensor) -> None:
        self.seen = (skeleton[..., 2] > 0).float()  # [people, frames, 17]
        place = torch.nan_to_num(skeleton[..., :2].float())
        self.place = place * self.seen[..., None]
        self.values: list[Tensor] = []
        self.known: list[Tensor] = []

    def here(self, *joints: tuple[int, ...]) -> Tensor:
        """``[people, frames, K]``: 1 where the k-th joint of each tuple is seen."""
        product = self.seen[:, :, list(joints[0])]
        for more in joints[1:]:
            product = product * self.seen[:, :, list(more)]
        return product

    def add(self, values: Tensor, known: Tensor, *, mean: bool = True, spread: bool = True) -> None:
        """Moments over the known frames of signals ``[people, frames, K]``, both mask and all."""
        count = known.sum(1)
        centre = (values * known).sum(1) / count.clamp(min=1)
        variance = ((values - centre[:, None]).square() * known).sum(1) / count.clamp(min=1)
        if mean:
            self.values.append(centre)
            self.known.append((count > 0).float())
        if spread:
            # The epsilon keeps the gradient of a still joint finite.
            self.values.append((variance + 1e-8).sqrt())
            self.known.append((count > 0).float())


def posture_features(skeleton: Tensor, *, anatomy: bool = True) -> tuple[Tensor, Tensor]:
    """What a body does in a clip, in numbers that need no training.

    The mean and the spread over time of: the place of each joint; with ``anatomy`` also the
    direction of each bone, the cosine of each joint's angle, the lever of gravity (how far a limb's
    end is beside its root), and the height of each joint over the lowest one. And the mean speed of
    each joint. All lengths are in torso lengths.

    Args:
        skeleton: ``[people, frames, 17, 3]``; what joints with score 0 hold does not matter.
        anatomy: without it, places and speeds alone.

    Returns:
        Features and their mask (0: none of its frames were seen), both ``float32 [people, F]``.
    """
    signals = _Signals(skeleton)
    place, body = signals.place, list(_BODY)
    frames = skeleton.shape[1]

    def both(known: Tensor) -> Tensor:  # one flag for x and y
        return known.repeat_interleave(2, -1)

    signals.add(place[:, :, body].flatten(2), both(signals.here(_BODY)))
    step = (place[:, 1:, body] - place[:, :-1, body]).abs().flatten(2)
    seen = signals.seen[:, :, body]
    # A step of a clip sampled twice as densely is half as long; 16 steps are the unit.
    signals.add(step * frames / 16, both(seen[:, 1:] * seen[:, :-1]), spread=False)
    if anatomy:
        first, second = zip(*_BONES, strict=True)
        bone = place[:, :, list(second)] - place[:, :, list(first)]
        direction = bone / bone.norm(dim=-1, keepdim=True).clamp(min=_SHORTEST)
        signals.add(direction.flatten(2), both(signals.here(first, second)))
        ends = list(zip(*_ANGLES, strict=True))
        a, middle, b = (place[:, :, list(joint)] for joint in ends)
        one, other = a - middle, b - middle
        length = one.norm(dim=-1) * other.norm(dim=-1)
        cosine = (one * other).sum(-1) / length.clamp(min=_SHORTEST**2)
        signals.add(cosine, signals.here(*ends))
        end, root = zip(*_LEVERS, strict=True)
        lever = (place[:, :, list(end), 0] - place[:, :, list(root), 0]).abs()
        signals.add(lever, signals.here(end, root))
        low = place[..., 1].masked_fill(signals.seen == 0, -torch.inf).amax(-1, keepdim=True)
        height = low.nan_to_num(neginf=0.0) - place[:, :, body, 1]
        signals.add(height, seen)
    return torch.cat(signals.values, 1), torch.cat(signals.known, 1)


def _feature_joints(anatomy: bool) -> list[tuple[int, ...]]:
    """The joints of every feature, in the order of ``posture_features``."""
    twice: list[tuple[int, ...]] = [(joint,) for joint in _BODY for _ in range(2)]
    joints = twice * 3
    if anatomy:
        joints += [bone for bone in _BONES for _ in range(2)] * 2
        joints += [*_ANGLES] * 2
        joints += [*_LEVERS] * 2
        joints += [(joint,) for joint in _BODY] * 2
    return joints


def region_weights(focus: float, *, anatomy: bool = True) -> Tensor:
    """How much each feature counts for each region, ``float32 [20, F]``.

    1 for a feature of the region's own joints, ``1 - focus`` for one of others; between them by the
    share of its joints. Weights of squared differences.
    """
    share = [
        [
            sum(joint in own for joint in feature) / len(feature)
            for feature in _feature_joints(anatomy)
        ]
        for own in REGION_JOINTS
    ]
    return 1 - focus + focus * torch.tensor(share)


def mirrored(skeleton: Tensor) -> Tensor:
    """``[..., 17, 3]`` with left and right exchanged."""
    other = skeleton[..., list(MIRRORED), :].clone()
    other[..., 0] = -other[..., 0]
    return other


def disturbed(skeleton: Tensor, strength: float) -> Tensor:
    """A training clip as another camera and a worse pose estimator would give it.

    Drawn for each person from PyTorch's generator, which the trainer seeds by step: turned in the
    picture and about the vertical, a part of the clip at another speed, joints that tremble and lie
    beside their place, joints never seen, left and right arms or legs exchanged.

    Args:
        skeleton: ``[people, frames, 17, 3]`` in torso lengths.
        strength: 0 changes nothing, 1 is strong.

    Returns:
        The same shape; a joint that is absent stays absent.
    """
    if strength == 0:
        return skeleton
    people, frames = skeleton.shape[:2]
    device = skeleton.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(people, *shape, device=device)

    def normal(*shape: int) -> Tensor:
        return torch.randn(people, *shape, device=device)

    share = 1 - 0.5 * strength * uniform(1)
    first = uniform(1) * (1 - share)
    moments = (first + share * torch.linspace(0, 1, frames, device=device)) * (frames - 1)
    rows = moments.round().long()[:, :, None, None].expand_as(skeleton)
    moved = skeleton.gather(1, rows)
    for pairs in (((5, 6), (7, 8), (9, 10)), ((11, 12), (13, 14), (15, 16))):
        order = list(range(JOINT_COUNT))
        for left, right in pairs:
            order[left], order[right] = right, left
        swap = uniform() < 0.1 * strength
        moved = torch.where(swap[:, None, None, None], moved[:, :, order], moved)
    place, score = torch.nan_to_num(moved[..., :2]), moved[..., 2:]
    place = (
        place
        * torch.stack([1 - 0.3 * strength * uniform(), torch.ones_like(first[:, 0])], 1)[
            :, None, None
        ]
    )
    angle = 0.2 * strength * normal()
    cosine, sine = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    place = torch.einsum("nij,ntkj->ntki", turn.to(place.dtype), place)
    place = place + 0.03 * strength * (normal(1, JOINT_COUNT, 2) + normal(frames, JOINT_COUNT, 2))
    kept = uniform(1, JOINT_COUNT, 1) >= 0.1 * strength
    return torch.cat([place, score * kept], -1)


class RegionTokens(nn.Module):
    """A token for each region, made of the features of its own joints; a linear score each.

    Args:
        weights: ``[20, F]``, the anatomical mask.
        width: of a token.
        dropout: on the tokens.
    """

    mask: Tensor

    def __init__(self, weights: Tensor, width: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("mask", weights.sqrt(), persistent=False)
        self.embed = nn.Linear(weights.shape[1], width)
        self.region = nn.Parameter(0.02 * torch.randn(REGIONS, width))
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.Parameter(0.02 * torch.randn(REGIONS, width))
        self.bias = nn.Parameter(torch.zeros(REGIONS))

    def forward(self, features: Tensor) -> Tensor:
        """Standardised features ``[people, F]`` -> logits ``[people, 20]``."""
        tokens = torch.relu(self.embed(features[:, None] * self.mask) + self.region)
        logits: Tensor = (self.dropout(tokens) * self.heads).sum(-1) + self.bias
        return logits


class Posture(Fitted):
    """Soft posteriors over the activities of training, mixed with region tokens; see the file.

    Args:
        anatomy: use all posture features, not places and speeds alone.
        mix: share of the posterior in the probability; 0 and 1 leave the other part out.
        temperature: T; small means that the activity that looks most alike decides.
        focus: 0 to 1, how much a region looks at its own joints only.
        balance: every activity counts the same, however many clips it has.
        noise: strength of ``disturbed`` in training.
        width: of the region tokens.
        dropout: on the region tokens.
    """

    modalities: tuple[str, ...] = ("skeleton",)
    weights: Tensor
    numbers: Tensor
    sets: Tensor
    clips: Tensor
    sums: Tensor
    seen: Tensor
    squares: Tensor

    def __init__(
        self,
        *,
        anatomy: bool = True,
        mix: float = 0.7,
        temperature: float = 0.3,
        focus: float = 0.7,
        balance: bool = True,
        noise: float = 0.0,
        width: int = 32,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.anatomy, self.mix, self.temperature = anatomy, mix, temperature
        self.balance, self.noise = balance, noise
        weights = region_weights(focus, anatomy=anatomy)
        count = weights.shape[1]
        self.register_buffer("weights", weights, persistent=False)
        # One row an activity of training: its number, labels, clips; sums over views of its clips.
        self.register_buffer("numbers", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("sets", torch.zeros(0, REGIONS))
        self.register_buffer("clips", torch.zeros(0))
        for name in ("sums", "seen", "squares"):
            self.register_buffer(name, torch.zeros(0, count))
        self.tokens = RegionTokens(weights, width, dropout)

    def fit(self, training: ClipDataset) -> None:
        """Learn from the list of training clips which activities there are; no clip is read."""
        numbers = torch.tensor([activity_number(clip.activity) for clip in training.clips])
        self.fit_activities(numbers, torch.from_numpy(training.labels()))

    def fit_activities(self, activities: Tensor, muscles: Tensor) -> None:
        """As :meth:`fit`, from the activity's number ``[clips]`` and labels ``[clips, 20]``."""
        device = self.weights.device
        numbers, member, counts = activities.unique(return_inverse=True, return_counts=True)
        sets = torch.zeros(len(numbers), REGIONS).index_add_(0, member, muscles.float())
        self.numbers, self.clips = numbers.to(device), counts.float().to(device)
        self.sets = (sets / counts[:, None]).to(device)
        shape = (len(numbers), self.weights.shape[1])
        self.sums, self.seen, self.squares = torch.zeros(3, *shape, device=device).unbind()

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """``batch["skeleton"]`` ``[batch, M, frames, 17, 3]`` -> logits ``[batch, 20]``.

        In training the prototypes are summed up with ``batch["activity"]`` ``[batch]``.
        """
        skeleton = batch["skeleton"]
        present = skeleton[..., 2].flatten(2).amax(2) > 0  # [batch, M]
        people = skeleton.flatten(0, 1)
        if self.training:
            features, known = self._features(disturbed(people, self.noise))
            rows = self._rows(batch["activity"]) if len(self.numbers) else None
            if rows is not None:
                member = rows.repeat_interleave(present.shape[1])
                self._learn(features, known, member, present.flatten())
            logits = self._mean(self.tokens(self._standard(features, known)), present)
            return logits if rows is None else self._balanced(logits, rows)
        mix = self.mix if bool((self.seen > 0).any()) else 0.0
        probability = torch.zeros(len(people), REGIONS, device=people.device)
        for side in (people, mirrored(people)):  # what a mirror changes has nothing to do with it
            features = self._standard(*self._features(side))
            if mix < 1:
                probability = probability + (1 - mix) * self.tokens(features).sigmoid() / 2
            if mix > 0:
                probability = probability + mix * self._posterior(features) / 2
        return self._mean(probability, present).clamp(1e-6, 1 - 1e-6).logit()

    def _features(self, skeleton: Tensor) -> tuple[Tensor, Tensor]:
        return posture_features(skeleton, anatomy=self.anatomy)

    @staticmethod
    def _mean(values: Tensor, present: Tensor) -> Tensor:
        """Mean over the people that were seen ``[batch * M, 20]``; over all where nobody was."""
        weight = torch.where(present.any(1, keepdim=True), present, True).to(values.dtype)
        values = values.view(*present.shape, -1)
        return (values * weight[..., None]).sum(1) / weight.sum(1, keepdim=True)

    def _rows(self, activities: Tensor) -> Tensor:
        """The row of each clip's activity, int64 ``[batch]``; -1 for one not of training."""
        same = activities[:, None] == self.numbers
        return torch.where(same.any(1), same.int().argmax(1), -1)

    @torch.no_grad()
    def _learn(self, features: Tensor, known: Tensor, rows: Tensor, present: Tensor) -> None:
        """Add the clips of a batch, of all processes, to the sums of their activities."""
        member = nn.functional.one_hot(rows.clamp(min=0), len(self.numbers)).to(features.dtype)
        member = member * (present & (rows >= 0))[:, None]
        for buffer, values in (
            (self.sums, features * known), (self.seen, known),
            (self.squares, features.square() * known),
        ):  # fmt: skip
            buffer += sum_over_processes(member.T @ values)

    def _prototypes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Means of activities ``[K, F]``, the mean of these and a clip's spread, both ``[F]``."""
        has = self.seen > 0
        means = self.sums / self.seen.clamp(min=1)
        middle = (means * has).sum(0) / has.sum(0).clamp(min=1)
        count = self.seen.sum(0).clamp(min=1)
        variance = self.squares.sum(0) / count - (self.sums.sum(0) / count).square()
        spread = torch.where(has.any(0), variance.clamp(min=0).sqrt(), 1.0)
        return torch.where(has, means, middle), middle, spread

    def _standard(self, features: Tensor, known: Tensor) -> Tensor:
        """Relative to the middle of the activities, in units of the spread; 0 where unknown."""
        _, middle, spread = self._prototypes()
        # A feature that hardly varies in training must not shout in a new clip.
        return (features - middle) / (spread + 0.05) * known

    def _posterior(self, features: Tensor) -> Tensor:
        """Probability of each region ``[people, 20]`` from the activities that look alike."""
        means, middle, spread = self._prototypes()
        used = self.seen.amax(1) > 0
        prototypes = ((means - middle) / (spread + 0.05))[used]
        labels, clips = self.sets[used], self.clips[used]
        share = torch.ones_like(clips) if self.balance else clips
        prior = (labels * share[:, None]).sum(0) / share.sum()

        def gained(rows: Tensor, without: Tensor | None = None) -> Tensor:
            likeness = self._likeness(rows, prototypes) / self.temperature + share.log()
            if without is not None:
                likeness = likeness.masked_fill(without, -torch.inf)
            return torch.einsum("nrk,kr->nr", likeness.softmax(-1), labels) - prior

        unit = features.new_ones(())
        if len(prototypes) > 1:  # what the known activities gain when each is new to the others
            own = torch.eye(len(prototypes), dtype=torch.bool, device=features.device)[:, None]
            unit = gained(prototypes, own).std().clamp(min=1e-4)
        odds = prior.clamp(0.01, 0.99).logit()
        return (odds + gained(features) / unit).sigmoid()

    def _likeness(self, features: Tensor, prototypes: Tensor) -> Tensor:
        """Cosine of each clip and activity for each region ``[people, 20, K]``."""
        products = torch.einsum("nf,rf,kf->nrk", features, self.weights, prototypes)
        one = (features.square() @ self.weights.T).clamp(min=1e-12).sqrt()
        other = (prototypes.square() @ self.weights.T).clamp(min=1e-12).sqrt()
        return products / one[..., None] / other.T

    def _balanced(self, logits: Tensor, rows: Tensor) -> Tensor:
        """The same logits, with gradients by which every activity counts the same."""
        if not self.balance:
            return logits
        weight = self.clips.mean() / self.clips[rows]
        weight = torch.where(rows >= 0, weight, 1.0)[:, None]
        return logits.detach() + weight * (logits - logits.detach())


def posture(settings: Settings) -> Posture:
    """Posture with ``settings.joint_channels`` channels in a region token."""
    model = Posture(
        anatomy=settings.posture_features,
        mix=settings.posterior_mix,
        temperature=settings.posterior_temperature,
        focus=settings.region_focus,
        balance=settings.balance_activities,
        noise=settings.skeleton_noise,
        width=settings.joint_channels,
        dropout=settings.dropout,
    )
    start_from(model, settings)
    return model
