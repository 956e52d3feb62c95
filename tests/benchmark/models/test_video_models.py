"""The video baselines: parameter counts, torchvision parity, shapes, which modality they read."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision.models.video import swin3d_b, swin3d_s

from benchmark.losses import training_loss
from benchmark.models import MODELS
from benchmark.models.resnet3d import ResNet3D
from benchmark.models.slowfast import SlowFast
from benchmark.models.swin3d import Swin3D, load_torchvision
from benchmark.models.video import video_input
from benchmark.settings import Settings
from musclemap_data.errors import UserError

SMALLEST = Settings.from_preset("tiny", frames=8, crop_size=48, model_width=16)
NETWORKS = ("c2d", "i3d", "slow", "slowfast", "mvit_v2_s", "mvit_v2_b", "swin3d_s", "swin3d_b")

# Millions of parameters with a 400-class head, as published for Kinetics-400.
PUBLISHED = {
    "c2d": 24.3,
    "i3d": 28.0,
    "slow": 32.5,
    "slowfast": 34.6,
    "mvit_v2_s": 34.5,
    "swin3d_s": 49.8,
    "swin3d_b": 88.0,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_the_published_ones(name):
    with torch.device("meta"):
        model = MODELS[name](Settings())
    (head,) = (
        layer
        for layer in model.modules()
        if isinstance(layer, nn.Linear) and layer.out_features == 20
    )
    count = sum(parameter.numel() for parameter in model.parameters())
    count += (400 - 20) * (head.in_features + 1)
    assert count / 1e6 == pytest.approx(PUBLISHED[name], rel=0.005)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_trains_every_parameter(name):
    torch.manual_seed(0)
    model = MODELS[name](SMALLEST).train()
    video = torch.randn(2, 3, 8, 48, 48)
    logits = model({"rgb": video})
    assert logits.shape == (2, 20)
    training_loss(logits, (torch.rand(2, 20) > 0.5).float()).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
    logits = model.eval()({"rgb": video})
    torch.testing.assert_close(model({"rgb": video[1:]}), logits[1:], atol=1e-5, rtol=1e-4)


def _sees_time(model: nn.Module, before_pooling: bool) -> bool:
    """Whether the order of frames matters to a network."""
    torch.manual_seed(0)
    video = torch.randn(1, 3, 8, 48, 48)
    order = torch.tensor([1, 0, 3, 2, 5, 4, 7, 6] if before_pooling else [0, 1, 4, 5, 2, 3, 6, 7])
    model.eval()
    for layer in model.modules():  # blocks start as their shortcuts: wake them
        if isinstance(layer, nn.BatchNorm3d):
            nn.init.ones_(layer.weight)
    return not torch.allclose(model({"rgb": video}), model({"rgb": video[:, :, order]}), atol=1e-5)


def test_only_c2d_is_blind_to_the_order_of_frame_pairs():
    for before_pooling in (True, False):
        assert not _sees_time(MODELS["c2d"](SMALLEST), before_pooling)
        for name in ("i3d", "slow", "slowfast"):
            assert _sees_time(MODELS[name](SMALLEST), before_pooling), name


@pytest.mark.parametrize("frames", [4, 5, 16])
def test_resnets_take_any_number_of_frames(frames):
    video = {"rgb": torch.randn(1, 3, frames, 32, 32)}
    for name in ("c2d", "i3d", "slow", "slowfast"):
        assert MODELS[name](SMALLEST).eval()(video).shape == (1, 20)


def test_flow_and_differences_are_read_from_their_own_key():
    flow = ResNet3D(
        (1, (1,), (1,), (1,), (1,)),
        pool_after_first=False,
        width=8,
        blocks=(1, 1, 1, 1),
        in_channels=2,
        modality="flow",
    )
    assert flow.modalities == ("flow",)
    assert flow.eval()({"flow": torch.randn(1, 2, 4, 32, 32)}).shape == (1, 20)
    both = SlowFast(width=8, blocks=(1, 1, 1, 1), in_channels=2, modality="flow")
    assert both.eval()({"flow": torch.randn(1, 2, 4, 32, 32)}).shape == (1, 20)
    swin = Swin3D(width=16, depths=(1, 1, 1, 1), in_channels=2, modality="flow")
    assert swin({"flow": torch.randn(1, 2, 4, 32, 32)}).shape == (1, 20)
    assert video_input(SMALLEST) == ("rgb", 3)


@pytest.mark.parametrize(
    "build, theirs", [("swin3d_s", swin3d_s), ("swin3d_b", swin3d_b)], ids=["s", "b"]
)
def test_swin_is_torchvisions_official_configuration(build, theirs):
    with torch.device("meta"):
        ours, official = MODELS[build](Settings()).network, theirs(num_classes=20)
    shapes = {name: value.shape for name, value in ours.state_dict().items()}
    expected = {
        name.replace("head.", "head.1."): value.shape
        for name, value in official.state_dict().items()
    }
    assert shapes == expected


def test_swin_with_torchvisions_weights_gives_torchvisions_logits(tmp_path):
    torch.manual_seed(0)
    theirs = Swin3D(width=32, depths=(1, 2, 2, 1), dropout=0.0).network
    theirs.head = theirs.head[1]  # now exactly torchvision's module
    path = tmp_path / "swin.pth"
    torch.save(theirs.state_dict(), path)
    ours = Swin3D(width=32, depths=(1, 2, 2, 1))
    load_torchvision(ours, path)
    ours.network.head[1].load_state_dict(theirs.head.state_dict())
    video = torch.randn(1, 3, 8, 64, 64)
    torch.testing.assert_close(
        ours.eval()({"rgb": video}), theirs.eval()(video), atol=1e-5, rtol=1e-5
    )
    with pytest.raises(UserError, match="does not fit"):
        load_torchvision(Swin3D(width=32, depths=(1, 1, 2, 1)), path)


@pytest.mark.parametrize("name", ["slow", "stgcn"])
def test_own_weights_come_back_from_a_file_or_are_refused(name, tmp_path):
    from safetensors.torch import save_file

    torch.manual_seed(0)
    trained = MODELS[name](SMALLEST)
    path = tmp_path / "model.safetensors"
    save_file(trained.state_dict(), path)
    started = MODELS[name](replace(SMALLEST, pretrained=str(path)))
    for key, value in trained.state_dict().items():
        assert torch.equal(started.state_dict()[key], value), key
    with pytest.raises(UserError, match="no pretrained weights at"):
        MODELS[name](replace(SMALLEST, pretrained=str(tmp_path / "absent.pth")))
    with pytest.raises(UserError, match="does not fit"):
        MODELS["i3d"](replace(SMALLEST, pretrained=str(path)))
