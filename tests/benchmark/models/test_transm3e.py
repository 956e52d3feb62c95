"""TransM3E's parts against slow, literal transcriptions, and the whole against its promises."""

import importlib
import math
import re
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmark.checkpoint import save_weights
from benchmark.losses import TrainingOutput, training_loss
from benchmark.models import MODELS
from benchmark.models.transm3e import (
    MCTF,
    MCTKD,
    CLSFusion,
    RegionHeads,
    TransM3E,
    load_teacher,
    token_cosine,
    token_divergence,
    transm3e_teacher,
)
from benchmark.protocols.ablation import ABLATIONS
from musclemap_data.errors import UserError
from tests.benchmark.models.overfit import QUICK, TINY, fits, random_batch
from tests.conftest import REPOSITORY

SMALLEST = replace(TINY, frames=4, crop_size=64, model_width=16, joint_channels=8)
# --- MCTKD ---------------------------------------------------------------------------------------


def test_a_region_head_hears_its_own_token_alone():
    heads = RegionHeads(8)
    tokens = torch.randn(2, 20, 8)
    before = heads(tokens)
    tokens[:, 3] += 1
    changed = (heads(tokens) != before).any(0)
    assert changed.tolist() == [region == 3 for region in range(20)]


def test_the_cosine_of_tokens_leaves_out_a_token_with_itself():
    tokens = torch.randn(3, 5, 16)
    unit = tokens / tokens.norm(dim=-1, keepdim=True)
    pairs = [(unit[:, a] * unit[:, b]).sum(-1) for a in range(5) for b in range(5) if a != b]
    torch.testing.assert_close(token_cosine(tokens), torch.stack(pairs).mean(0))
    assert token_cosine(torch.ones(1, 20, 4)).item() == pytest.approx(1)
    assert token_cosine(torch.eye(20)[None]).item() == pytest.approx(0, abs=1e-6)


def test_region_heads_stand_beside_the_head_on_the_mean():
    torch.manual_seed(0)
    settings = replace(SMALLEST, dropout=0.0, drop_path=0.0, region_heads=True)
    model, batch = MODELS["transm3e"](settings), random_batch(SMALLEST, 2)
    training_loss(model.train()(batch), batch["muscles"]).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
    model.eval()
    tokens, *_ = model.fuse(batch)
    own = model(batch) - model.head(tokens.mean(1))
    torch.testing.assert_close(own, (tokens * model.region_heads.weight).sum(-1))
    with pytest.raises(UserError, match="region_heads needs a token a region"):
        MODELS["transm3e"](replace(settings, multi_token=False))


def test_at_a_high_temperature_mctkd_is_a_squared_error():
    """docs/transm3e.md: 0.9 T^2 KL at T = 10 is nearly 0.45 times the centred squared error."""
    torch.manual_seed(0)
    receiver, sender = torch.randn(64, 20, 384), torch.randn(64, 20, 384)
    loss = 0.9 * 10.0**2 * token_divergence(receiver, sender, 10.0).mean()
    difference = sender - receiver
    centred = (difference - difference.mean(-1, keepdim=True)).square().mean()
    assert 0.449 < float(loss / centred) < 0.457
    moved = 0.9 * 10.0**2 * token_divergence(receiver + 3, sender, 10.0).mean()
    assert float(moved) == pytest.approx(float(loss), rel=1e-3)  # centred


def test_token_divergence_is_its_formula():
    torch.manual_seed(0)
    receiver, sender, temperature = torch.randn(2, 3, 5), torch.randn(2, 3, 5), 2.5
    for clip in range(2):
        total = 0.0
        for token in range(3):
            p = [math.exp(value / temperature) for value in sender[clip, token].tolist()]
            q = [math.exp(value / temperature) for value in receiver[clip, token].tolist()]
            total += sum(
                (pd / sum(p)) * math.log((pd / sum(p)) / (qd / sum(q)))
                for pd, qd in zip(p, q, strict=True)
            )
        got = token_divergence(receiver, sender, temperature)[clip]
        assert got.item() == pytest.approx(total / 3, rel=1e-4)


def _states(widths: list[int], clips: int = 2) -> list[Tensor]:
    return [torch.randn(clips, 20, width, requires_grad=True) for width in widths]


def test_mctkd_is_zero_for_equal_tokens_and_positive_otherwise():
    torch.manual_seed(0)
    mctkd, present = MCTKD([8, 16], [8, 16]), torch.ones(2, dtype=torch.bool)
    states = _states([8, 16])
    assert mctkd(states, states, present).abs().item() < 1e-6
    assert mctkd(states, _states([8, 16]), present).item() > 1e-4


@pytest.mark.parametrize("widths", [[8, 16], [4, 12]])  # compared as they are; projected
@pytest.mark.parametrize("allowed", [False, True])
def test_mctkd_moves_the_sender_only_when_told_to(widths, allowed):
    torch.manual_seed(0)
    mctkd = MCTKD([8, 16], widths, gradient_to_sender=allowed)
    receivers, senders = _states([8, 16]), _states(widths)
    mctkd(receivers, senders, torch.ones(2, dtype=torch.bool)).backward()
    assert all(state.grad.abs().max() > 0 for state in receivers)
    assert all((state.grad is not None) == allowed for state in senders)


def test_mctkd_averages_over_batch_and_blocks():
    torch.manual_seed(0)
    receivers, senders = _states([8, 8, 8]), _states([8, 8, 8])
    present = torch.tensor([True, True])
    each = [
        token_divergence(receiver, sender, 10.0).mean()
        for receiver, sender in zip(receivers, senders, strict=True)
    ]
    dense, sparse = MCTKD([8] * 3, [8] * 3), MCTKD([8] * 3, [8] * 3, "sparse")
    torch.testing.assert_close(dense(receivers, senders, present), sum(each) / 3)
    torch.testing.assert_close(sparse(receivers, senders, present), each[-1])
    assert MCTKD([8] * 3, [8] * 3, "none")(receivers, senders, present).item() == 0


def test_mctkd_leaves_out_clips_without_the_second_modality():
    torch.manual_seed(0)
    receivers, senders = _states([8]), _states([8])
    mctkd = MCTKD([8], [8])
    got = mctkd(receivers, senders, torch.tensor([False, True]))
    alone = mctkd([receivers[0][1:]], [senders[0][1:]], torch.tensor([True]))
    torch.testing.assert_close(got, alone / 2)  # the mean over both clips
    assert mctkd(receivers, senders, torch.tensor([False, False])).item() == 0


def test_mctkd_gives_every_clip_its_gradient_however_the_batch_is_parted():
    """Each part divided by its own count once: a clip among absent ones weighed more."""
    torch.manual_seed(0)
    mctkd = MCTKD([8, 12], [4, 12])
    receivers, senders = _states([8, 12], 8), _states([4, 12], 8)
    present = torch.tensor([True, False, False, True, False, False, True, True])
    gradients = []
    for accumulate in (1, 4, 8):
        mctkd.zero_grad()
        for state in receivers:
            state.grad = None
        total = 0.0
        for rows in torch.arange(8).chunk(accumulate):
            parts = [[state[rows] for state in states] for states in (receivers, senders)]
            loss = mctkd(*parts, present[rows]) * len(rows) / 8
            loss.backward()
            total += loss.item()
        found = [state.grad.clone() for state in receivers]
        found += [each.grad.clone() for each in mctkd.parameters()]
        gradients.append([torch.tensor(total), *found])
    for others in gradients[1:]:
        torch.testing.assert_close(others, gradients[0], atol=1e-7, rtol=1e-5)
    assert all(state[~present].eq(0).all() for state in gradients[0][1:3])


@pytest.mark.parametrize("blocks, others", [(4, 10), (16, 10), (16, 16), (3, 1)])
def test_mctkd_pairs_blocks_in_order_and_last_with_last(blocks, others):
    pairs = MCTKD([8] * blocks, [8] * others).pairs
    assert [index for index, _ in pairs] == list(range(blocks))
    partners = [partner for _, partner in pairs]
    assert partners == sorted(partners) and partners[-1] == others - 1 and partners[0] >= 0
    if blocks == others:
        assert partners == list(range(blocks))


def test_an_unknown_mode_names_the_allowed_ones():
    with pytest.raises(ValueError, match=r"'all'.*dense, sparse, none"):
        MCTKD([8], [8], "all")  # type: ignore[arg-type]


# --- MCTF ----------------------------------------------------------------------------------------


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """One attention of one clip, token by token."""
    rows = []
    for one in query:
        scores = torch.stack([(one * other).sum() / math.sqrt(len(one)) for other in key])
        weights = scores.exp() / scores.exp().sum()
        rows.append(sum(weight * row for weight, row in zip(weights, value, strict=True)))
    return torch.stack(rows)


def _literal_cls_fusion(fusion: CLSFusion, a: Tensor, b: Tensor) -> Tensor:
    """The six attentions as the paper's text lists them."""
    width = a.shape[-1]

    def part(linear: torch.nn.Linear, tokens: Tensor, which: int) -> Tensor:
        rows = slice(which * width, (which + 1) * width)
        return tokens @ linear.weight[rows].T + linear.bias[rows]

    clips = []
    for one_a, one_b in zip(a, b, strict=True):
        qa, ka, va = (part(fusion.qkv_a, one_a, which) for which in range(3))
        qb, kb, vb = (part(fusion.qkv_b, one_b, which) for which in range(3))
        side_a = _attention(qa, ka, va) + _attention(qa, kb, va) + _attention(qb, ka, va)
        side_b = _attention(qb, kb, vb) + _attention(qb, ka, vb) + _attention(qa, kb, vb)
        joined = torch.cat([side_a, side_b], -1)
        clips.append(joined @ fusion.project.weight.T + fusion.project.bias)
    return torch.stack(clips)


def _random_mctf(width: int) -> MCTF:
    torch.manual_seed(0)
    mctf = MCTF(width).eval()
    with torch.no_grad():
        for parameter in mctf.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return mctf


def test_cls_fusion_is_its_formula():
    fusion = _random_mctf(6).fusion
    a, b = torch.randn(2, 4, 6), torch.randn(2, 4, 6)
    torch.testing.assert_close(fusion(a, b), _literal_cls_fusion(fusion, a, b))
    assert not torch.allclose(fusion(a, b), fusion(b, a))  # each side has its own weights


def test_mctf_is_its_formula():
    mctf = _random_mctf(6)
    a, b = torch.randn(2, 4, 6), torch.randn(2, 4, 6)

    def layer_norm(norm: torch.nn.LayerNorm, tokens: Tensor) -> Tensor:
        centred = tokens - tokens.mean(-1, keepdim=True)
        variance = centred.square().mean(-1, keepdim=True)
        return centred / (variance + norm.eps).sqrt() * norm.weight + norm.bias

    fused = _literal_cls_fusion(mctf.fusion, layer_norm(mctf.norm_a, a), layer_norm(mctf.norm_b, b))
    mixed = (a + b) / 2 + fused
    first, _, second = mctf.mlp
    hidden = layer_norm(mctf.norm, mixed) @ first.weight.T + first.bias
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    torch.testing.assert_close(mctf(a, b), mixed + hidden @ second.weight.T + second.bias)


def test_mctf_keeps_the_mean_when_both_branches_drop():
    mctf = MCTF(8, drop_path=1 - 1e-9).train()
    a, b = torch.randn(2, 4, 8), torch.randn(2, 4, 8)
    torch.testing.assert_close(mctf(a, b), (a + b) / 2)


# --- the model -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_trains_every_parameter_and_scores(name):
    torch.manual_seed(0)
    settings = replace(SMALLEST, **ABLATIONS[name])
    model = MODELS["transm3e"](settings).train()
    batch = random_batch(settings, 2)
    output = model(batch)
    assert isinstance(output, TrainingOutput)
    assert output.logits.shape == (2, 20)
    assert (output.distillation.item() > 0) == (settings.distillation != "none")
    training_loss(output, batch["muscles"]).backward()
    for parameter_name, parameter in model.named_parameters():
        if parameter.requires_grad:  # every one in use: distributed training needs it
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.isfinite().all(), parameter_name
        else:
            assert parameter_name.startswith("teacher.")
    logits = model.eval()({key: batch[key] for key in model.modalities})
    assert logits.shape == (2, 20) and logits.isfinite().all()


@pytest.mark.slow
def test_overfits_eight_clips_in_preset_tiny():
    assert fits(TINY, steps=40)


@pytest.mark.slow
@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_overfits_eight_small_clips(name):
    assert fits(replace(TINY, **QUICK, **ABLATIONS[name]), steps=60)


def test_a_missing_skeleton_means_the_video_alone():
    torch.manual_seed(0)
    model = MODELS["transm3e"](SMALLEST).eval()
    batch = random_batch(SMALLEST, 3)
    full = model(batch)
    alone = model({"rgb": batch["rgb"]})
    batch["skeleton"][1] = 0
    partly = model(batch)
    torch.testing.assert_close(partly[1], alone[1])
    torch.testing.assert_close(partly[[0, 2]], full[[0, 2]])  # the others are scored as before
    assert (full - alone).abs().min(1).values.max() > 0
    batch["skeleton"][..., :2] = torch.nan
    batch["skeleton"][..., 2] = 0
    torch.testing.assert_close(model(batch), alone)


def test_training_survives_a_batch_without_any_skeleton():
    torch.manual_seed(0)
    model = MODELS["transm3e"](SMALLEST).train()
    batch = random_batch(SMALLEST, 2)
    batch["skeleton"].zero_()
    output = model(batch)
    assert output.distillation.item() == 0
    training_loss(output, batch["muscles"]).backward()
    for parameter in model.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()


@pytest.mark.parametrize("drop", [0.0, 0.5, 1.0])
def test_the_skeleton_is_left_out_of_the_fusion_for_a_share_of_the_clips(drop):
    """So scoring without a skeleton is a path that training takes."""
    torch.manual_seed(0)
    settings = replace(SMALLEST, dropout=0.0, drop_path=0.0, skeleton_drop=drop)
    model = MODELS["transm3e"](settings).train()
    batch = random_batch(settings, 16)
    batch["skeleton"][3].zero_()
    reached = []
    model.match_width.register_forward_hook(lambda _, __, out: reached.append(out))
    output = model(batch)
    (gradient,) = torch.autograd.grad(output.logits.sum(), reached[0], retain_graph=True)
    fused = gradient.flatten(1).abs().amax(1) > 0
    assert not fused[3]
    expected = {0.0: 15, 1.0: 0}
    assert fused.sum() == expected[drop] if drop in expected else 2 < fused.sum() < 13
    # The skeleton is left out of the fusion alone: it still teaches, and learns.
    assert output.distillation.item() > 0
    training_loss(output, batch["muscles"]).backward()
    weight = model.match_width.weight.grad
    assert weight is not None and (weight.abs().max() > 0) == (drop < 1)
    assert model.teacher.head.weight.grad.abs().max() > 0
    # Scoring draws nothing.
    model.eval()
    assert torch.equal(model(batch), model(batch))
    assert not torch.equal(model(batch), model({"rgb": batch["rgb"]}))


def test_dropping_the_skeleton_in_training_is_the_path_without_it():
    """The same numbers as from the video alone, apart from batch statistics that it has none of."""
    torch.manual_seed(0)
    settings = replace(SMALLEST, dropout=0.0, drop_path=0.0, skeleton_drop=1.0)
    model = MODELS["transm3e"](settings)
    batch = random_batch(settings, 3)
    dropped = model.train()(batch).logits
    torch.testing.assert_close(dropped, model.eval()({"rgb": batch["rgb"]}))


def test_absent_joints_have_no_influence():
    torch.manual_seed(0)
    model = MODELS["transm3e"](SMALLEST).eval()
    batch = random_batch(SMALLEST, 2)
    batch["skeleton"][0, 0, 1:, 4:9, 2] = 0
    before = model(batch)
    batch["skeleton"][..., :2][batch["skeleton"][..., 2] == 0] = 1e3
    torch.testing.assert_close(model(batch), before)


def test_the_rgb_difference_variant_scores_from_rgb_alone():
    model = MODELS["transm3e"](replace(SMALLEST, variant="rgb-diff")).eval()
    assert model.modalities == ("rgb", "rgb_diff")
    batch = random_batch(SMALLEST, 1)
    assert torch.equal(model(batch), model({"rgb": batch["rgb"]}))


def test_distillation_is_weighted_by_the_squared_temperature():
    torch.manual_seed(0)
    model = MODELS["transm3e"](replace(SMALLEST, dropout=0.0)).train()
    batch = random_batch(SMALLEST, 2)
    states = {}
    model.mctkd.register_forward_hook(lambda _, __, out: states.update(divergence=out))
    output = model(batch)
    torch.testing.assert_close(output.distillation, 0.9 * 10.0**2 * states["divergence"])


def test_a_frozen_teacher_stays_as_it_is():
    torch.manual_seed(0)
    video = MODELS["transm3e"](SMALLEST).video
    teacher = transm3e_teacher(SMALLEST)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    model = TransM3E(video, teacher, freeze_teacher=True).train()
    batch = random_batch(SMALLEST, 2)
    output = model(batch)
    assert output.second_logits is None
    training_loss(output, batch["muscles"]).backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    for name, value in teacher.state_dict().items():  # running statistics included
        assert torch.equal(value, before[name]), name


def test_the_video_can_be_the_sender():
    torch.manual_seed(0)
    video = MODELS["transm3e"](SMALLEST).video
    model = TransM3E(video, transm3e_teacher(SMALLEST), sender="video").train()
    batch = random_batch(SMALLEST, 2)
    (gradient,) = torch.autograd.grad(
        model(batch).distillation, model.video.backbone.class_tokens, allow_unused=True
    )
    assert gradient is None
    (gradient,) = torch.autograd.grad(model(batch).distillation, model.teacher.stream.class_tokens)
    assert gradient.abs().max() > 0
    with pytest.raises(ValueError, match="cannot receive"):
        TransM3E(video, transm3e_teacher(SMALLEST), sender="video", freeze_teacher=True)
    with pytest.raises(ValueError, match=r"'both'.*second, video"):
        TransM3E(video, transm3e_teacher(SMALLEST), sender="both")  # type: ignore[arg-type]


@pytest.mark.parametrize("variant", ["skeleton", "rgb-diff"])
def test_a_teacher_trained_alone_fits_into_the_model(variant, tmp_path):
    settings = replace(SMALLEST, variant=variant)
    teacher = transm3e_teacher(settings)
    batch = random_batch(settings, 2)
    assert teacher(batch).shape == (2, 20)
    model = MODELS["transm3e"](settings)
    save_weights(tmp_path / "teacher.safetensors", teacher)
    load_teacher(model, tmp_path / "teacher.safetensors")
    torch.testing.assert_close(model.eval().teacher(batch), teacher.eval()(batch))


@pytest.mark.parametrize("variant", ["skeleton", "rgb-diff"])
def test_without_mct_there_is_one_token_of_a_kind(variant):
    settings = replace(SMALLEST, variant=variant, multi_token=False)
    model = MODELS["transm3e"](settings)
    assert model.video.backbone.class_tokens.shape[0] == 2  # one classifies, one receives
    video = model.video(random_batch(settings, 2))
    assert video.classification.shape[1] == video.distillation.shape[1] == 1
    assert {state.shape[1] for state in video.states} == {1}
    second = model.teacher.stream(random_batch(settings, 2))
    assert second.classification.shape[1] == second.distillation.shape[1] == 1


def test_settings_reach_the_model():
    def build(**changes) -> TransM3E:
        return MODELS["transm3e"](replace(SMALLEST, **changes))

    assert not build().freeze_teacher and build(variant="rgb-diff").freeze_teacher
    assert build(freeze_teacher=True).freeze_teacher
    assert not build(variant="rgb-diff", freeze_teacher=False).freeze_teacher
    assert build(sender="video").sender == "video"
    assert not build().mctkd.gradient_to_sender
    assert build(gradient_to_sender=True).mctkd.gradient_to_sender
    assert build(checkpointing=True).video.backbone.checkpointing
    assert build(skeleton_drop=0.4).skeleton_drop == 0.4
    assert build().skeleton_drop == 0.25
    for refused in ({"freeze_teacher": True}, {"variant": "rgb-diff"}):
        with pytest.raises(UserError, match="freeze_teacher=false, or sender=second"):
            build(sender="video", **refused)


def test_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = MODELS["transm3e"](replace(SMALLEST, checkpointing=checkpointing, drop_path=0.5))
        batch = random_batch(SMALLEST, 2)
        torch.manual_seed(1)  # dropout and drop path are drawn again alike
        training_loss(model.train()(batch), batch["muscles"]).backward()
        gradients.append({name: each.grad for name, each in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name


@pytest.mark.slow
def test_the_training_graph_compiles_in_one_piece():
    torch.manual_seed(0)
    model = MODELS["transm3e"](replace(SMALLEST, dropout=0.0, skeleton_drop=0.0)).train()
    batch = random_batch(SMALLEST, 2)
    compiled = torch.compile(model, backend="eager", fullgraph=True)  # a graph break is an error
    for got, expected in zip(compiled(batch), model(batch), strict=True):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-3)


def test_the_document_names_code_that_exists():
    text = (REPOSITORY / "docs" / "transm3e.md").read_text()
    places = re.findall(r"`([a-z0-9_]+)\.py::([A-Za-z0-9_.]+)`", text)
    assert len(places) > 15
    for file, name in places:
        (path,) = (REPOSITORY / "benchmark").rglob(f"{file}.py")
        module = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
