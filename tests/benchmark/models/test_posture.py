"""Posture: its features, its posterior over activitys, and what each of its settings does."""

from itertools import islice

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.data import normalise_skeleton
from benchmark.losses import bce_loss
from benchmark.metrics import average_precision, mean_over_regions
from benchmark.models import MODELS
from benchmark.models.posture import (
    REGION_JOINTS,
    Posture,
    disturbed,
    mirrored,
    posture_features,
    region_weights,
)
from benchmark.settings import Settings
from musclemap_data.catalog import load_activities, load_muscles
from musclemap_data.sample.sequences import draw_sequences
from musclemap_data.skeleton import JOINTS


def random_skeletons(clips: int, frames: int = 12) -> Tensor:
    skeleton = torch.randn(clips, 1, frames, 17, 3)
    skeleton[..., 2] = 1
    return skeleton


def of_activities(clips: int) -> tuple[Tensor, Tensor]:
    """Clips of three activities in turn, each around its own pose, and their labels."""
    poses = 2 * torch.randn(3, 1, 1, 17, 3, generator=torch.Generator().manual_seed(3))
    poses = poses + mirrored(poses)  # a mirrored clip is of the same activity
    muscles = torch.zeros(3, 20)
    muscles[0, :7] = muscles[1, 5:12] = muscles[2, 12:] = 1
    which = torch.arange(clips) % 3
    skeleton = poses[which] + 0.1 * torch.randn(clips, 1, 12, 17, 3)
    skeleton[..., 2] = 1
    return skeleton, muscles[which]


def fitted(skeleton: Tensor, muscles: Tensor, **arguments: float) -> Posture:
    torch.manual_seed(0)
    model = Posture(width=8, **arguments)
    activities = muscles.argmax(1)
    model.fit_activities(activities, muscles)
    model.train()
    for part in range(0, len(muscles), 4):
        model({"skeleton": skeleton[part : part + 4], "activity": activities[part : part + 4]})
    return model.eval()


# --- features ------------------------------------------------------------------------------------


def test_every_region_has_joints_of_its_side_of_the_body():
    joints = {
        muscle.slug: {JOINTS[joint].rpartition("_")[2] for joint in own}
        for muscle, own in zip(load_muscles(), REGION_JOINTS, strict=True)
    }
    for slug in ("biceps", "triceps", "shoulder", "chest", "latissimus"):
        assert joints[slug] == {"shoulder", "elbow", "wrist"}
    for slug in ("hamstring", "quadriceps", "inner_thigh", "outer_thigh"):
        assert joints[slug] == {"hip", "knee", "ankle"}
    assert joints["calves"] == joints["feet_ankles"] == {"knee", "ankle"}
    assert joints["wrists"] == joints["forearms"] == {"elbow", "wrist"}


@pytest.mark.parametrize("anatomy", [True, False])
def test_each_feature_has_a_weight_of_each_region(anatomy):
    features, known = posture_features(random_skeletons(2)[:, 0], anatomy=anatomy)
    weights = region_weights(0.7, anatomy=anatomy)
    assert features.shape == known.shape == (2, weights.shape[1])
    assert weights.min() == pytest.approx(0.3) and weights.max() == pytest.approx(1.0)
    assert (region_weights(0.0, anatomy=anatomy) == 1).all()


def test_what_counts_fully_for_a_region_is_moved_by_its_own_joints_alone():
    """A moved ankle changes nothing that counts fully for the forearms, and a moved wrist does."""
    torch.manual_seed(0)
    skeleton = random_skeletons(1)[:, 0]
    forearms = region_weights(1.0)[5] == 1
    before = posture_features(skeleton)[0]
    for joint, counts in (("left_ankle", False), ("left_wrist", True)):
        moved = skeleton.clone()
        moved[:, :, JOINTS.index(joint), 0] += 1
        changed = (posture_features(moved)[0] - before).abs()[0] > 1e-6
        assert changed.any()
        assert bool((changed & forearms).any()) == counts


def test_angles_and_levers_are_those_of_the_body():
    """An arm bent at a right angle, its forearm level."""
    skeleton = torch.zeros(1, 4, 17, 3)
    skeleton[..., 2] = 1
    skeleton[:, :, JOINTS.index("left_elbow"), :2] = torch.tensor([0.0, 0.6])
    skeleton[:, :, JOINTS.index("left_wrist"), :2] = torch.tensor([0.5, 0.6])
    alone = [JOINTS.index(f"left_{part}") for part in ("shoulder", "elbow", "wrist")]
    skeleton[..., 2] = 0
    skeleton[:, :, alone, 2] = 1
    values, known = (each[0] for each in posture_features(skeleton))
    found = values[known > 0].tolist()
    assert any(value == pytest.approx(0.5, abs=1e-5) for value in found)  # the forearm's lever
    angles = slice(26 * 2 + 26 + 24 * 2, 26 * 2 + 26 + 24 * 2 + 8)
    assert known[angles].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]  # only the elbow has all three
    assert values[angles][0] == pytest.approx(0.0, abs=1e-5)


def test_features_hardly_depend_on_how_densely_a_motion_is_sampled():
    times = torch.linspace(0, 2 * torch.pi, 97)[:-1]
    dense = torch.zeros(1, 96, 17, 3)
    dense[..., 0] = torch.sin(times)[None, :, None] + torch.arange(17) / 17
    dense[..., 1] = torch.cos(times)[None, :, None] * torch.arange(17) / 17
    dense[..., 2] = 1
    one, other = posture_features(dense)[0], posture_features(dense[:, ::2])[0]
    torch.testing.assert_close(one, other, atol=0.03, rtol=0.03)


# --- the posterior -------------------------------------------------------------------------------


def test_a_cold_posterior_is_the_nearest_activity_and_a_hot_one_knows_nothing():
    skeleton, muscles = of_activities(24)
    new, truth = of_activities(6)
    cold = fitted(skeleton, muscles, mix=1.0, temperature=1e-3)
    assert ((cold({"skeleton": new}) > cold.sets[:3].mean(0).logit(1e-2)) == truth.bool()).all()
    hot = fitted(skeleton, muscles, mix=1.0, temperature=1e4)
    nearly = hot({"skeleton": new}).sigmoid()
    soft = fitted(skeleton, muscles, mix=1.0, temperature=0.3)({"skeleton": new}).sigmoid()
    assert nearly.std(0).max() < soft.std(0).max()


def test_prototypes_are_the_means_of_the_clips_of_a_label_set():
    skeleton, muscles = of_activities(9)
    model = fitted(skeleton, muscles)
    features, _ = posture_features(skeleton[:, 0])
    for row in range(3):
        mine = (muscles == model.sets[row]).all(1)
        assert model.clips[row] == 3
        torch.testing.assert_close(
            model.sums[row] / model.seen[row], features[mine].mean(0), atol=1e-4, rtol=1e-4
        )


def test_clips_of_a_frequent_activity_move_no_prototype_of_another():
    skeleton, muscles = of_activities(12)
    more, labels = (
        torch.cat([skeleton, *[skeleton[::3]] * 5]),
        torch.cat([muscles, *[muscles[::3]] * 5]),
    )
    new, _ = of_activities(6)
    few, many = fitted(skeleton, muscles, mix=1.0), fitted(more, labels, mix=1.0)
    few_means, many_means = few._prototypes()[0][:3], many._prototypes()[0][:3]
    torch.testing.assert_close(few_means, many_means, atol=1e-3, rtol=1e-3)
    unbalanced = fitted(more, labels, mix=1.0, balance=False)
    other = unbalanced({"skeleton": new}) - many({"skeleton": new})
    assert other.abs().max() > 0.1  # without balance the frequent one is more probable


def test_balancing_changes_gradients_and_no_logit():
    skeleton, muscles = of_activities(4)  # the first twice, the others once
    batch = {"skeleton": skeleton, "activity": muscles.argmax(1)}
    gradients, logits = [], []
    for balance in (True, False):
        torch.manual_seed(0)
        model = Posture(width=8, balance=balance, dropout=0.0).train()
        model.fit_activities(muscles.argmax(1), muscles)
        logits.append(model(batch))
        bce_loss(logits[-1], muscles).backward()
        gradients.append(model.tokens.bias.grad)
    torch.testing.assert_close(logits[0], logits[1])
    errors = (logits[0].detach().sigmoid() - muscles) / muscles.numel()
    weights = torch.tensor([2 / 3, 4 / 3, 4 / 3, 2 / 3])[:, None]
    torch.testing.assert_close(gradients[0], (weights * errors).sum(0))
    torch.testing.assert_close(gradients[1], errors.sum(0))


def test_a_mirrored_clip_gets_the_same_scores():
    skeleton, muscles = of_activities(12)
    model = fitted(skeleton, muscles)
    torch.testing.assert_close(
        model({"skeleton": skeleton}), model({"skeleton": mirrored(skeleton)})
    )


def test_scores_do_not_depend_on_the_labels_of_what_is_scored():
    skeleton, muscles = of_activities(12)
    model = fitted(skeleton, muscles)
    one = model({"skeleton": skeleton, "muscles": muscles})
    torch.testing.assert_close(one, model({"skeleton": skeleton, "muscles": 1 - muscles}))


def test_saved_weights_carry_the_prototypes():
    skeleton, muscles = of_activities(12)
    model = fitted(skeleton, muscles)
    again = Posture(width=8).eval()
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again({"skeleton": skeleton}), model({"skeleton": skeleton}))


# --- augmentation --------------------------------------------------------------------------------


def test_a_disturbed_clip_repeats_with_the_seed_and_invents_no_joint():
    skeleton = random_skeletons(6)[:, 0]
    skeleton[:, :, 9, 2] = 0
    skeleton[:, :, 9, :2] = torch.nan
    assert disturbed(skeleton, 0.0) is skeleton
    torch.manual_seed(1)
    one = disturbed(skeleton, 1.0)
    torch.manual_seed(1)
    assert torch.equal(one, disturbed(skeleton, 1.0))
    assert one.isfinite().all()
    lost = one[..., 2] == 0
    assert (lost[:, :, 9] | lost[:, :, 10]).all()  # the wrists may have been exchanged
    assert 0 < lost.float().mean() < 0.5
    assert (one[..., :2] - skeleton[..., :2]).nan_to_num().abs().max() > 0.1


# --- all of it -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_names_the_muscles_of_people_it_has_not_seen():
    """Ten activities, other people, cameras and mistakes of the pose estimator in the test."""
    table = load_activities()
    names = ["squat", "push_up", "sit_up", "jumping_jack", "plank", "lunge", "glute_bridge",
             "high_knees", "superman", "russian_twist"]  # fmt: skip

    def draw(seed: int, each: int) -> tuple[Tensor, Tensor]:
        drawn = list(islice(draw_sequences(names, seed), each * len(names)))
        normal = [normalise_skeleton(one.skeleton[:, None], 0.3)[:, 0] for one in drawn]
        muscles = np.array([table[one.activity].muscles for one in drawn])
        return torch.tensor(np.array(normal))[:, None], torch.tensor(muscles).float()

    skeleton, muscles = draw(1, 6)
    model = MODELS["posture"](Settings.from_preset("tiny", posterior_mix=1.0))
    activities = torch.arange(len(names)).repeat(6)
    model.fit_activities(activities, muscles)
    model.train()
    model({"skeleton": skeleton, "activity": activities})
    model.eval()
    others, truth = draw(2, 4)
    scores = model({"skeleton": others}).detach().numpy()
    value = mean_over_regions(average_precision(scores, truth.numpy().astype(bool)))
    assert value > 0.75
