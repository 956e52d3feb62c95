"""Our MViTv2 against torchvision's, and what only ours has: many class tokens."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.video import mvit as reference

from benchmark.models.kernels import biased_attention, depthwise_conv3d
from benchmark.models.mvit import (
    MViT,
    MViTClassifier,
    from_torchvision,
    load_pretrained,
    load_torchvision,
    mvit_v2_b,
    mvit_v2_s,
    stage_depths,
)
from benchmark.settings import Settings
from musclemap_data.errors import UserError
from tests.benchmark.models.reference_mvit import torchvision_mvit


def _pair(width: int, depth: int, frames: int, size: int) -> tuple[nn.Module, MViTClassifier]:
    """torchvision's model and ours with the same random weights, no parameter left at 0 or 1."""
    torch.manual_seed(0)
    theirs = torchvision_mvit(width, depth, frames, size, classes=20)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    backbone = MViT(frames=frames, crop_size=size, width=width, depth=depth, drop_path=0.0)
    load_torchvision(backbone, theirs.state_dict())
    ours = MViTClassifier(backbone, classes=20, dropout=0.0)
    ours.head.load_state_dict(
        {name[7:]: value for name, value in theirs.state_dict().items() if name.startswith("head")}
    )
    return theirs, ours


def _check_parity(theirs: nn.Module, ours: MViTClassifier, video: Tensor) -> None:
    theirs.train()
    ours.train()
    expected, got = theirs(video), ours({"rgb": video})
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
    weights = torch.randn_like(expected)
    (expected * weights).sum().backward()
    (got * weights).sum().backward()
    gradients = from_torchvision(
        {name: parameter.grad for name, parameter in theirs.named_parameters()}
    )
    largest = max(gradient.abs().max() for gradient in gradients.values())
    for name, parameter in ours.backbone.named_parameters():
        assert parameter.grad is not None, name
        difference = (parameter.grad - gradients.pop(name)).abs().max()
        assert difference <= 1e-4 * largest, name
    # What we leave out is what never reaches the class token.
    assert all(gradient.abs().max() == 0 for gradient in gradients.values())
    torch.testing.assert_close(ours.head.weight.grad, theirs.head[1].weight.grad)


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("depth", [2, 6])
def test_logits_and_gradients_equal_torchvisions(batch_size, depth):
    theirs, ours = _pair(width=16, depth=depth, frames=8, size=64)
    _check_parity(theirs, ours, torch.randn(batch_size, 3, 8, 64, 64))


@pytest.mark.slow
def test_logits_and_gradients_equal_torchvisions_at_full_size():
    theirs, ours = _pair(width=96, depth=16, frames=16, size=224)
    official = reference.mvit_v2_s(num_classes=20)  # the configuration is the official one
    assert {name: value.shape for name, value in official.state_dict().items()} == {
        name: value.shape for name, value in theirs.state_dict().items()
    }
    _check_parity(theirs, ours, torch.randn(1, 3, 16, 224, 224))


def test_the_form_for_gpus_gives_the_same_numbers(monkeypatch):
    torch.manual_seed(0)
    model = MViT(frames=4, crop_size=64, width=16, depth=4, tokens=3, drop_path=0.0)
    video = torch.randn(2, 3, 4, 64, 64)
    on_cpu = model(video)
    on_cpu.sum().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # takes the other branch
    other = model(video)
    other.sum().backward()
    torch.testing.assert_close(on_cpu, other, atol=1e-5, rtol=1e-4)
    for expected, parameter in zip(gradients, model.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected, atol=1e-4, rtol=1e-3)


def test_attention_with_appended_bias_is_attention_with_a_bias():
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, length, 8) for length in (700, 500, 500))
    features, places = torch.randn(2, 3, 700, 5), torch.randn(500, 5)
    scores = query @ key.transpose(-1, -2) / 8**0.5 + features @ places.T
    expected = scores.softmax(-1) @ value
    got = biased_attention(query, features, key, places, value)  # several blocks of queries
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("frames", [1, 3])
def test_depthwise_convolution_and_its_gradients(dtype, stride, frames):
    torch.manual_seed(0)
    features = torch.randn(2, frames, 7, 7, 6).to(dtype).requires_grad_()
    weight = torch.randn(6, 1, 3, 3, 3).to(dtype).requires_grad_()
    got = depthwise_conv3d(features, weight, stride)
    exact = nn.functional.conv3d(
        features.double().permute(0, 4, 1, 2, 3),
        weight.double(),
        stride=(1, stride, stride),
        padding=1,
        groups=6,
    ).permute(0, 2, 3, 4, 1)
    direction = torch.randn_like(exact)
    tolerance = (
        {"atol": 1e-4, "rtol": 1e-4} if dtype == torch.float32 else {"atol": 0.3, "rtol": 0.05}
    )
    torch.testing.assert_close(got.double(), exact, **tolerance)
    expected = torch.autograd.grad((exact * direction).sum(), (features, weight))
    found = torch.autograd.grad((got * direction.to(dtype)).sum(), (features, weight))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **tolerance)


def test_permuting_class_tokens_permutes_the_outputs():
    torch.manual_seed(0)
    model = MViT(frames=4, crop_size=64, width=16, depth=4, tokens=20).eval()
    video = torch.randn(2, 3, 4, 64, 64)
    order = torch.randperm(20)
    before = model(video)
    assert (before[:, 0] - before[:, 1]).abs().max() > 1e-3  # tokens do differ
    with torch.no_grad():
        model.class_tokens.copy_(model.class_tokens[order])
    torch.testing.assert_close(model(video), before[:, order], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("frames, size", [(8, 112), (6, 100), (3, 37)])
def test_any_input_size_works(frames, size):
    model = MViT(frames=frames, crop_size=size, width=8, depth=5, tokens=2)
    assert model(torch.randn(1, 3, frames, size, size)).shape == (1, 2, 64)


def test_another_input_size_than_built_for_is_refused():
    model = MViT(frames=4, crop_size=32, width=8, depth=1)
    with pytest.raises(ValueError, match=r"\(4, 64, 64\).*built for \(4, 32, 32\)"):
        model(torch.randn(1, 3, 4, 64, 64))


def test_stage_depths_of_the_paper_and_of_small_models():
    assert stage_depths(16) == (1, 2, 11, 2)
    assert stage_depths(24) == (2, 3, 16, 3)
    for depth in range(1, 40):
        assert sum(stage_depths(depth)) == depth
        assert min(stage_depths(depth)) >= 1


@pytest.mark.parametrize("build, millions", [(mvit_v2_s, 34.5), (mvit_v2_b, 51.2)])
def test_parameter_counts_with_400_classes(build, millions):
    with torch.device("meta"):
        model = build(Settings())
    head = model.head.in_features * 400 + 400
    count = sum(p.numel() for p in model.backbone.parameters()) + head
    assert count / 1e6 == pytest.approx(millions, rel=0.005)


def test_drop_path_drops_patches_and_tokens_of_a_sample_together_and_keeps_the_mean():
    torch.manual_seed(0)
    model = MViT(frames=2, crop_size=32, width=8, depth=2, drop_path=0.5).train()
    scale = model.blocks[-1].drop_path.scale(torch.zeros(4000, 3, 8))
    assert set(scale.unique().tolist()) == {0.0, 2.0}
    assert scale.mean().item() == pytest.approx(1, abs=0.1)
    assert model.blocks[0].drop_path.probability == 0
    assert model.eval().blocks[-1].drop_path.scale(torch.zeros(4, 3, 8)) is None


def test_checkpointing_changes_no_gradient():
    def gradients(checkpointing: bool) -> list[Tensor]:
        torch.manual_seed(0)
        model = MViT(
            frames=4, crop_size=32, width=8, depth=3, drop_path=0.5, checkpointing=checkpointing
        )
        model(torch.ones(2, 3, 4, 32, 32)).square().sum().backward()
        return [parameter.grad for parameter in model.parameters()]

    for one, other in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(one, other)


def test_bf16_autocast_stays_near_fp32():
    torch.manual_seed(0)
    model = MViT(frames=4, crop_size=64, width=16, depth=4, tokens=2).eval()
    video = torch.randn(1, 3, 4, 64, 64)
    with torch.no_grad():
        exact = model(video)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(video)
    assert (rough.float() - exact).abs().max() < 0.15 * exact.abs().max()


# --- weights -------------------------------------------------------------------------------------


def test_weights_of_another_input_size_are_interpolated_and_tokens_differ():
    theirs = torchvision_mvit(width=16, depth=4, frames=8, size=64, classes=20)
    backbone = MViT(frames=4, crop_size=96, width=16, depth=4, tokens=20)
    load_torchvision(backbone, theirs.state_dict())
    table = theirs.state_dict()["blocks.0.attn.rel_pos_h"]
    resized = backbone.blocks[0].attention.position.tables[1]
    torch.testing.assert_close(resized[0], table[0])
    torch.testing.assert_close(resized[-1], table[-1])
    spread = backbone.class_tokens.std(0).mean()
    assert 0.005 < spread < 0.05
    torch.testing.assert_close(
        backbone.class_tokens.mean(0), theirs.pos_encoding.class_token, atol=0.03, rtol=0
    )


@pytest.mark.parametrize("depth, width", [(5, 16), (4, 8)])
def test_weights_of_another_model_are_refused(depth, width):
    theirs = torchvision_mvit(width=16, depth=4, frames=4, size=32, classes=20)
    backbone = MViT(frames=4, crop_size=32, width=width, depth=depth)
    with pytest.raises(UserError):
        load_torchvision(backbone, theirs.state_dict())


def test_pretrained_weights_come_from_a_file(tmp_path):
    theirs = torchvision_mvit(width=16, depth=4, frames=4, size=32, classes=400)
    path = tmp_path / "weights.pth"
    torch.save(theirs.state_dict(), path)
    backbone = MViT(frames=4, crop_size=32, width=16, depth=4)
    load_pretrained(backbone, path)
    torch.testing.assert_close(backbone.embedding.weight, theirs.conv_proj.weight)
    with pytest.raises(UserError, match="no pretrained weights at"):
        load_pretrained(backbone, tmp_path / "absent.pth")
    torch.save({"some.other.net": torch.zeros(1)}, path)
    with pytest.raises(UserError, match=r"some\.other\.net"):
        load_pretrained(backbone, path)


@pytest.mark.slow
def test_the_graph_compiles_in_one_piece():
    torch.manual_seed(0)
    model = MViT(frames=4, crop_size=32, width=8, depth=3, tokens=2).eval()
    video = torch.randn(1, 3, 4, 32, 32)
    compiled = torch.compile(model, backend="eager", fullgraph=True)  # a graph break is an error
    torch.testing.assert_close(compiled(video), model(video), atol=1e-5, rtol=1e-4)
