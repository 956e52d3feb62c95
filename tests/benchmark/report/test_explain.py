"""Grad-CAM against its formula written out, and on pictures where the right place is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.models import MODELS
from benchmark.models.mvit import MViT, MViTClassifier
from benchmark.report.explain import explain_clips, fit_map, grad_cam, overlay
from benchmark.run import Run
from musclemap_data.errors import UserError

SIZE, FRAMES = 64, 4
INPUT_OF = {
    "transm3e": lambda model: model.video.backbone.blocks[-1].attention,
    "mvit_v2_s": lambda model: model.backbone.blocks[-1].attention,
}
OUTPUT_OF = {
    "c2d": lambda model: model.stages[-1],
    "i3d": lambda model: model.stages[-1],
    "slow": lambda model: model.stages[-1],
    "slowfast": lambda model: model.slow_stages[-1],
    "swin3d_s": lambda model: model.network.norm,
}


def make_model(name: str, tiny) -> nn.Module:
    torch.manual_seed(0)
    settings = tiny(frames=FRAMES, crop_size=SIZE, jitter_min=SIZE, jitter_max=SIZE,
                    test_short_side=SIZE, model_width=32, model_depth=4)  # fmt: skip
    return MODELS[name](settings).eval()


def random_batch(clips: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "rgb": torch.randn(clips, 3, FRAMES, SIZE, SIZE, generator=generator),
        "skeleton": torch.rand(clips, 1, FRAMES, 17, 3, generator=generator),
    }


def written_out(model: nn.Module, name: str, batch, region: int) -> np.ndarray:
    """Eq. 1 and 2 of the paper, one channel and one place at a time, for one clip."""
    kept = []

    def keep(features):
        features.retain_grad()
        kept.append(features)

    if name in INPUT_OF:
        hook = INPUT_OF[name](model).register_forward_pre_hook(lambda _, inputs: keep(inputs[1]))
    else:
        hook = OUTPUT_OF[name](model).register_forward_hook(lambda _, inputs, output: keep(output))
    model(batch)[0, region].backward()
    hook.remove()
    features, gradient = kept[0][0].detach().double(), kept[0].grad[0].double()
    if name in OUTPUT_OF and name != "swin3d_s":  # channels first
        features, gradient = features.movedim(0, -1), gradient.movedim(0, -1)
    frames, height, width, channels = features.shape
    result = np.zeros((frames, height, width))
    for k in range(channels):
        alpha = gradient[..., k].sum().item() / (frames * height * width)
        for t in range(frames):
            for y in range(height):
                for x in range(width):
                    result[t, y, x] += alpha * features[t, y, x, k].item()
    return np.maximum(result, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*INPUT_OF, *OUTPUT_OF])
def test_is_the_formula_written_out(name, tiny):
    model, batch = make_model(name, tiny), random_batch()
    maps = [grad_cam(model, batch, region) for region in range(6)]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    region = max(range(6), key=lambda region: maps[region].max())
    assert maps[region].dtype == torch.float32
    assert maps[region].max() > 0
    for clip in range(2):
        alone = {key: values[clip : clip + 1] for key, values in batch.items()}
        expected = written_out(model, name, alone, region)
        assert maps[region][clip].shape == expected.shape
        assert maps[region][clip].numpy() == pytest.approx(expected, rel=1e-3, abs=1e-9)


def test_equals_class_activation_maps_behind_mean_and_linear_layer(tiny):
    """Sec. 3.1 of the paper: there alpha_k is the weight of channel k over the places."""
    model, batch = make_model("c2d", tiny), random_batch()
    kept = []
    hook = model.stages[-1].register_forward_hook(lambda _, inputs, output: kept.append(output))
    with torch.no_grad():
        model(batch)
    hook.remove()
    features = kept[0]
    places = features[0, 0].numel()
    expected = torch.einsum("c,bcthw->bthw", model.head.weight[3] / places, features).relu()
    torch.testing.assert_close(grad_cam(model, batch, 3), expected, rtol=1e-4, atol=1e-8)


def test_frozen_weights_have_a_map_too(tiny):
    model, batch = make_model("mvit_v2_s", tiny), random_batch()
    before = grad_cam(model, batch, 0)
    with torch.no_grad():
        assert torch.equal(grad_cam(model.requires_grad_(False), batch, 0), before)


SMALL, SQUARE = 32, 8


def squares(clips: int, generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noise, half of it with a bright square; whether it is there, and its upper left corner."""
    video = 0.3 * torch.randn(clips, 3, FRAMES, SMALL, SMALL, generator=generator)
    there = torch.arange(clips) % 2 == 0
    corners = torch.randint(0, SMALL - SQUARE, (clips, 2), generator=generator)
    for clip in range(clips):
        y, x = corners[clip]
        video[clip, :, :, y : y + SQUARE, x : x + SQUARE] += 2.0 * there[clip]
    return video, there.float(), corners


@pytest.mark.slow
def test_a_network_that_finds_squares_looks_at_them():
    torch.manual_seed(0)
    backbone = MViT(frames=FRAMES, crop_size=SMALL, width=16, depth=2, tokens=20, drop_path=0.0)
    model = MViTClassifier(backbone, dropout=0.0)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(100):
        video, there, _ = squares(8, generator)
        logits = model({"rgb": video})[:, 0]
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(logits, there).backward()
        optimizer.step()
    model.eval()
    video, there, corners = squares(32, generator)
    with torch.no_grad():
        assert ((model({"rgb": video})[:, 0] > 0) == there.bool()).float().mean() > 0.9
    heat = fit_map(grad_cam(model, {"rgb": video}, 0), (FRAMES, SMALL, SMALL))
    inside = []
    for clip in torch.nonzero(there)[:, 0].tolist():
        y, x = corners[clip].tolist()
        box = heat[clip, :, y : y + SQUARE, x : x + SQUARE]
        inside.append(box.sum() / heat[clip].sum())
    by_chance = (SQUARE / SMALL) ** 2
    assert np.mean(inside) > 2 * by_chance


def test_the_hot_place_moves_with_the_picture(tiny):
    """A head set by hand to the features of one place finds the same thing elsewhere, later."""
    model = make_model("c2d", tiny)
    model.pool = nn.Identity()  # keep every frame
    video = torch.zeros(2, 3, FRAMES, 160, 160)  # 5 x 5 places
    video[0, :, :, 32:64, 32:64] = 3.0  # place 1, 1 in all frames
    video[1, :, 2:, 96:128, 64:96] = 3.0  # place 3, 2 in the second half
    kept = []
    hook = model.stages[-1].register_forward_hook(lambda _, inputs, output: kept.append(output))
    with torch.no_grad():
        model({"rgb": video})
        hook.remove()
        here = kept[0][0, :, :, 1, 1].mean(-1)
        elsewhere = kept[0][0].flatten(2).mean((1, 2))
        model.head.weight[5] = here - elsewhere
    first, second = grad_cam(model, {"rgb": video}, 5)
    assert first.flatten(1).argmax(1).tolist() == [1 * 5 + 1] * FRAMES
    assert second.flatten(1).argmax(1)[2:].tolist() == [3 * 5 + 2] * 2
    assert second[2:, 3, 2].min() > second[:2].max()


def test_maps_are_fitted_to_the_pictures():
    maps = torch.zeros(2, 2, 4, 4)
    maps[0, 1, 3, 0] = 7.0
    heat = fit_map(maps, (8, 32, 32))
    assert heat.shape == (2, 8, 32, 32)
    assert heat[0].max() == pytest.approx(1.0)
    t, y, x = np.unravel_index(heat[0].argmax(), heat[0].shape)
    assert (t >= 4, y >= 24, x < 8) == (True, True, True)
    assert not heat[1].any()
    frames = np.full((8, 32, 32, 3), 90, np.uint8)
    shown = overlay(frames, heat[0])
    assert shown.dtype == np.uint8
    assert (shown[heat[0] == 0] == 90).all()
    assert (shown[t, y, x] != 90).any()


def test_clips_of_a_run(dataset_dir, tiny, tmp_path):
    Run(dataset_dir, "c2d", tiny(epochs=0), runs_dir=tmp_path, name="c2d").complete()
    ids = ["test_new-reach-1", "test_known-hop-0"]
    first, second = explain_clips(tmp_path / "c2d", dataset_dir, ids, 3)
    assert [first.clip.clip_id, second.clip.clip_id] == ids
    assert first.frames.shape == (4, 32, 32, 3)
    assert first.heat.shape == (4, 32, 32)
    assert 0 <= first.heat.min() <= first.heat.max() <= 1
    assert first.frame_numbers.max() < first.clip.frames
    with pytest.raises(UserError, match=r"clips nowhere are not in"):
        explain_clips(tmp_path / "c2d", dataset_dir, ["nowhere"], 3)


def test_models_without_pictures_are_explained_away(dataset_dir, tiny, tmp_path):
    Run(dataset_dir, "stgcn", tiny(epochs=0), runs_dir=tmp_path, name="stgcn").complete()
    with pytest.raises(UserError, match="needs a video model"):
        explain_clips(tmp_path / "stgcn", dataset_dir, ["test_known-hop-0"], 3)
