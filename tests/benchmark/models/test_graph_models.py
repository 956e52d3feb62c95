"""The skeleton models and the constant ones: masking, shapes, learning."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmark.losses import training_loss
from benchmark.models import MODELS
from benchmark.models.graph import (
    PARENTS,
    skeleton_features,
    skeleton_mask,
    spatial_adjacency,
)
from benchmark.models.norm import MaskedBatchNorm
from benchmark.settings import Settings
from musclemap_data.skeleton import JOINTS

TINY = Settings.from_preset("tiny", joint_channels=8)
GRAPH_MODELS = ("stgcn", "ctrgcn", "hdgcn")
SKELETON_MODELS = (*GRAPH_MODELS, "posture")


def random_skeletons(clips: int, people: int = 1, frames: int = 12) -> Tensor:
    skeleton = torch.randn(clips, people, frames, 17, 3)
    skeleton[..., 2] = torch.rand(clips, people, frames, 17) * 0.9 + 0.1
    return skeleton


# --- the graph -----------------------------------------------------------------------------------


def test_the_graph_is_the_coco_body():
    names = {(JOINTS[child], JOINTS[parent]) for child, parent in enumerate(PARENTS)}
    assert ("left_wrist", "left_elbow") in names
    assert ("right_ankle", "right_knee") in names
    for child, parent in enumerate(PARENTS):  # left joints hang on left joints or the nose
        if child and parent:
            assert JOINTS[child].split("_")[0] == JOINTS[parent].split("_")[0]
    adjacency = spatial_adjacency()
    assert adjacency.shape == (3, 17, 17)
    # The graph is one piece: after enough steps every joint has heard of every other.
    reach = torch.linalg.matrix_power((adjacency.sum(0) > 0).float(), 16)
    assert (reach > 0).all()
    # A joint gathers a mean from each partition that has any joint.
    sums = adjacency.sum(1)
    assert torch.allclose(sums[sums > 0], torch.ones(int((sums > 0).sum())))


def test_streams_are_differences_and_need_both_ends():
    skeleton = random_skeletons(1, frames=3)
    elbow, shoulder = JOINTS.index("left_elbow"), JOINTS.index("left_shoulder")
    features = skeleton_features(skeleton, ("joint", "bone", "motion"))[0]
    joints = skeleton[0, 0].permute(2, 0, 1)
    torch.testing.assert_close(features[:3], joints)
    torch.testing.assert_close(
        features[3:5, :, elbow], joints[:2, :, elbow] - joints[:2, :, shoulder]
    )
    torch.testing.assert_close(features[5:, 1:], joints[:2, 1:] - joints[:2, :-1])
    assert (features[5:, 0] == 0).all()

    skeleton[0, 0, 1, shoulder, 2] = 0
    features = skeleton_features(skeleton, ("bone", "motion"))[0]
    assert (features[:2, 1, elbow] == 0).all()  # its parent is gone
    assert (features[2:, 1:, shoulder] == 0).all()  # gone in one of the two frames
    with pytest.raises(ValueError, match="velocity"):
        skeleton_features(skeleton, ("velocity",))


def test_masked_batch_norm_is_batch_norm_of_the_present():
    torch.manual_seed(0)
    norm, plain = MaskedBatchNorm(5), torch.nn.BatchNorm1d(5)
    features = torch.randn(4, 5, 6, 17)
    mask = (torch.rand(4, 1, 6, 17) > 0.3).float()
    present = mask[:, 0] > 0
    for _ in range(3):
        got = norm(features + 100 * (1 - mask), mask)  # what absent joints hold does not matter
        expected = plain(features.permute(0, 2, 3, 1)[present])
        torch.testing.assert_close(got.permute(0, 2, 3, 1)[present], expected)
        assert (got * (1 - mask) == 0).all()
    torch.testing.assert_close(norm.running_mean, plain.running_mean)
    torch.testing.assert_close(norm.running_var, plain.running_var)
    norm.eval()
    plain.eval()
    got = norm(features, mask).permute(0, 2, 3, 1)[present]
    torch.testing.assert_close(got, plain(features.permute(0, 2, 3, 1)[present]))


def test_a_batch_without_anybody_leaves_the_statistics_alone():
    norm = MaskedBatchNorm(3)
    norm(torch.randn(2, 3, 4, 17), torch.zeros(2, 1, 4, 17))
    assert (norm.running_mean == 0).all() and (norm.running_var == 1).all()


# --- the models ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SKELETON_MODELS)
def test_absent_joints_have_no_influence(name):
    torch.manual_seed(0)
    model = MODELS[name](TINY)
    skeleton = random_skeletons(3, people=2)
    skeleton[0, 0, :, 5, 2] = 0  # a joint never seen
    skeleton[1, 0, 2:7, :, 2] = 0  # a person lost for some frames
    skeleton[2, 1, :, :, 2] = 0  # a second person never there
    absent = skeleton[..., 2] == 0
    other = skeleton.clone()
    other[..., :2][absent] = torch.nan
    for mode in (False, True):
        one, two = copy.deepcopy(model).train(mode), copy.deepcopy(model).train(mode)
        torch.manual_seed(1)
        expected = one({"skeleton": skeleton})
        torch.manual_seed(1)
        got = two({"skeleton": other})
        torch.testing.assert_close(got, expected)
        assert got.isfinite().all()


@pytest.mark.parametrize("name", SKELETON_MODELS)
def test_an_absent_person_is_as_if_not_there(name):
    torch.manual_seed(0)
    model = MODELS[name](TINY).eval()
    alone = random_skeletons(2)
    nobody = torch.zeros_like(alone)
    got = model({"skeleton": torch.cat([alone, nobody], 1)})
    torch.testing.assert_close(got, model({"skeleton": alone}))


@pytest.mark.parametrize("name", SKELETON_MODELS)
def test_nobody_at_all_is_finite_also_in_training(name):
    model = MODELS[name](TINY).train()
    logits = model({"skeleton": torch.zeros(2, 1, 12, 17, 3)})
    logits.sum().backward()
    assert logits.shape == (2, 20) and logits.isfinite().all()
    for parameter in model.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()


@pytest.mark.parametrize("name", SKELETON_MODELS)
def test_present_joints_do_have_influence(name):
    torch.manual_seed(0)
    model = MODELS[name](TINY).eval()
    skeleton = random_skeletons(1)
    before = model({"skeleton": skeleton})
    skeleton[0, 0, :, 9, 0] += 1
    assert (model({"skeleton": skeleton}) - before).abs().max() > 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPH_MODELS)
def test_a_few_steps_fit_a_few_clips(name):
    torch.manual_seed(0)
    model = MODELS[name](Settings.from_preset("tiny", joint_channels=8, dropout=0.0))
    batch = {"skeleton": random_skeletons(6)}
    muscles = (torch.rand(6, 20) > 0.5).float()
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(25):
        loss = training_loss(model(batch), muscles)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


# --- constants -----------------------------------------------------------------------------------


def test_random_scores_repeat_with_the_seed_and_the_activity():
    """Consistent within an activity, as the scores of a model without any idea would be."""
    batch = {"activity": torch.tensor([7, 2**55, 7, 8])}
    one = MODELS["random"](Settings.from_preset("tiny", seed=3))
    two = MODELS["random"](Settings.from_preset("tiny", seed=3))
    other = MODELS["random"](Settings.from_preset("tiny", seed=4))
    first = one(batch)
    assert torch.equal(first, two(batch))
    assert not torch.equal(first, other(batch))
    assert torch.equal(first, one(batch))  # whatever was scored before
    assert torch.equal(first[0], first[2])
    assert torch.equal(first[[1]], one({"activity": batch["activity"][[1]]}))
    assert len(first.unique()) == 60
    assert (first - other(batch)).abs().min() > 0


def test_all_ones_is_constant():
    model = MODELS["all-ones"](TINY)
    model.fit_labels(torch.zeros(5, 20))
    assert torch.equal(model({"muscles": torch.zeros(3, 20)}), torch.ones(3, 20))


def test_label_prior_learns_the_frequencies_and_saves_them():
    model = MODELS["label-prior"](TINY)
    muscles = (torch.arange(20)[None] <= torch.arange(1000)[:, None] % 20).float()
    model.fit_labels(muscles)
    probability = model({"muscles": torch.zeros(2, 20)}).sigmoid()
    torch.testing.assert_close(probability[0], muscles.mean(0), atol=1e-3, rtol=0)
    assert probability.logit().isfinite().all()  # also for the region that is always active
    again = MODELS["label-prior"](TINY)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.logits, model.logits)
    with pytest.raises(ValueError, match=r"\(3, 7\).*\[clips, 20\]"):
        model.fit_labels(torch.zeros(3, 7))


def test_every_model_names_what_it_reads(tmp_path):
    (tmp_path / "texts.csv").write_text("squat,1,0\nplank,0,1\n")
    settings = replace(TINY, texts=str(tmp_path / "texts.csv"))
    for name, build in MODELS.items():
        modalities = build(settings).modalities
        assert set(modalities) <= {"rgb", "rgb_diff", "flow", "skeleton", "features"}, name


def test_absent_means_score_zero():
    skeleton = torch.ones(1, 1, 2, 17, 3)
    skeleton[0, 0, 1, 3, 2] = 0
    mask = skeleton_mask(skeleton)
    assert mask.shape == (1, 1, 2, 17) and mask.sum() == 33 and mask[0, 0, 1, 3] == 0
