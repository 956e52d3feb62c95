"""Weights under their publishers' names: read, turned into ours, and computing the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from typer.testing import CliRunner

from benchmark.models import MODELS
from benchmark.models.mvit import MViT, load_pretrained
from benchmark.models.public import PUBLIC_WEIGHTS, mvit_names, resnet_names
from benchmark.models.weights import read_weights, weights_for
from benchmark.settings import Settings
from cli import app
from musclemap_data.errors import UserError
from tests.benchmark.models.reference_mvit import torchvision_mvit

SMALL = replace(
    Settings.from_preset("tiny"), frames=8, crop_size=32, model_width=24, model_depth=5, dropout=0.0
)
WIDTH, BLOCKS = 16, (1, 1, 2, 1)
# As PyTorchVideo's hub builds them: kernels along time of the stem and of each stage's blocks, and
# whether a pooling follows the first stage (it counts as a block, so the later numbers shift).
KERNELS = {
    "c2d": (1, ((1,), (1,), (1,), (1,)), True),
    "i3d": (5, ((3,), (3, 1), (3, 1), (1, 3)), True),
    "slow": (1, ((1,), (1,), (3,), (3,)), False),
}


class Publisher:
    """A network with PyTorchVideo's names, written from its definitions; it makes its weights."""

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}
        self.random = torch.Generator().manual_seed(0)

    def conv(self, name: str, x: Tensor, out: int, kernel, stride=(1, 1, 1)) -> Tensor:
        shape = (out, x.shape[1], *kernel)
        if f"{name}.weight" not in self.weights:
            scale = (shape[1] * kernel[0] * kernel[1] * kernel[2]) ** -0.5
            self.weights[f"{name}.weight"] = torch.randn(shape, generator=self.random) * scale
        padding = [size // 2 for size in kernel]
        return F.conv3d(x, self.weights[f"{name}.weight"], None, stride, padding)

    def norm(self, name: str, x: Tensor) -> Tensor:
        for end in ("weight", "bias", "running_mean", "running_var"):
            self.weights.setdefault(
                f"{name}.{end}", torch.rand(x.shape[1], generator=self.random) + 0.5
            )
        self.weights.setdefault(f"{name}.num_batches_tracked", torch.tensor(7))
        mean, variance, weight, bias = (
            self.weights[f"{name}.{end}"]
            for end in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, variance, weight, bias)

    def stem(self, name: str, x: Tensor, out: int, kernel: int) -> Tensor:
        x = self.norm(f"{name}.norm", self.conv(f"{name}.conv", x, out, (kernel, 7, 7), (1, 2, 2)))
        return F.max_pool3d(x.relu(), (1, 3, 3), (1, 2, 2), (0, 1, 1))

    def stage(self, name: str, x: Tensor, inner: int, kernels, blocks: int, stride: int) -> Tensor:
        for number in range(blocks):
            at = f"{name}.res_blocks.{number}"
            step = (1, stride, stride) if number == 0 else (1, 1, 1)
            out = self.conv(
                f"{at}.branch2.conv_a", x, inner, (kernels[number % len(kernels)], 1, 1)
            )
            out = self.norm(f"{at}.branch2.norm_a", out).relu()
            out = self.conv(f"{at}.branch2.conv_b", out, inner, (1, 3, 3), step)
            out = self.norm(f"{at}.branch2.norm_b", out).relu()
            out = self.conv(f"{at}.branch2.conv_c", out, 4 * inner, (1, 1, 1))
            out = self.norm(f"{at}.branch2.norm_c", out)
            if number == 0:
                x = self.conv(f"{at}.branch1_conv", x, 4 * inner, (1, 1, 1), step)
                x = self.norm(f"{at}.branch1_norm", x)
            x = (x + out).relu()
        return x

    def head(self, name: str, features: Tensor) -> Tensor:
        self.weights[f"{name}.proj.weight"] = torch.randn(
            400, features.shape[1], generator=self.random
        )
        self.weights[f"{name}.proj.bias"] = torch.zeros(400)
        return features

    def resnet(self, model: str, x: Tensor) -> Tensor:
        stem, stages, pooled = KERNELS[model]
        x = self.stem("blocks.0", x, WIDTH, stem)
        block = 1
        for index, kernels in enumerate(stages):
            stride = 1 if index == 0 else 2
            x = self.stage(f"blocks.{block}", x, WIDTH * 2**index, kernels, BLOCKS[index], stride)
            block += 1
            if index == 0 and pooled:
                x = F.max_pool3d(x, (2, 1, 1))
                block += 1
        return self.head(f"blocks.{block}", x.mean((2, 3, 4)))

    def slowfast(self, video: Tensor) -> Tensor:
        def paths(block: int, part: str = "") -> list[str]:
            return [f"blocks.{block}.multipathway_blocks.{path}{part}" for path in (0, 1)]

        def fuse(block: int, slow: Tensor, fast: Tensor) -> Tensor:
            at = f"blocks.{block}.multipathway_fusion"
            new = self.conv(
                f"{at}.conv_fast_to_slow", fast, 2 * fast.shape[1], (7, 1, 1), (4, 1, 1)
            )
            return torch.cat([slow, self.norm(f"{at}.norm", new).relu()], 1)

        names = paths(0)
        slow = self.stem(names[0], video[:, :, ::4], WIDTH, 1)
        fast = self.stem(names[1], video, WIDTH // 8, 5)
        slow = fuse(0, slow, fast)
        for index in range(4):
            names, stride, inner = paths(index + 1), 1 if index == 0 else 2, WIDTH * 2**index
            slow = self.stage(names[0], slow, inner, ((1, 1, 3, 3)[index],), BLOCKS[index], stride)
            fast = self.stage(names[1], fast, inner // 8, (3,), BLOCKS[index], stride)
            if index < 3:
                slow = fuse(index + 1, slow, fast)
        return self.head("blocks.6", torch.cat([slow.mean((2, 3, 4)), fast.mean((2, 3, 4))], 1))


def as_pyslowfast(weights: dict[str, Tensor], pooled: bool) -> dict[str, Tensor]:
    """The same weights under the names that PySlowFast itself saves."""
    found = {}
    for name, value in weights.items():
        part = name.split(".")
        block = int(part[1])
        if "proj" in part:
            found[f"head.projection.{part[-1]}"] = value
            continue
        stage = block + 1 - (pooled and block > 1)
        path, rest = "0", part[2:]
        if rest[0] == "multipathway_fusion":
            inner = {"conv_fast_to_slow": "conv_f2s", "norm": "bn"}[rest[1]]
            found[f"s{stage}_fuse.{inner}.{rest[2]}"] = value
            continue
        if rest[0] == "multipathway_blocks":
            path, rest = rest[1], rest[2:]
        if rest[0] in ("conv", "norm"):
            layer = "conv" if rest[0] == "conv" else "bn"
            found[f"s1.pathway{path}_stem.{layer}.{rest[1]}"] = value
            continue
        inner = ".".join(rest[2:-1])
        for ours, theirs in (
            ("branch1_conv", "branch1"),
            ("branch1_norm", "branch1_bn"),
            ("branch2.conv_", "branch2."),
        ):
            inner = inner.replace(ours, theirs)
        if "norm_" in inner:
            inner = inner.replace("norm_", "") + "_bn"
        found[f"s{stage}.pathway{path}_res{rest[1]}.{inner}.{rest[-1]}"] = value
    return found


def features(model: torch.nn.Module, video: Tensor) -> Tensor:
    """What the model's head gets."""
    seen = []
    model.head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    model.eval()({"rgb": video})
    return seen[0]


@pytest.mark.parametrize("name", ["c2d", "i3d", "slow", "slowfast"])
def test_a_resnet_with_its_publishers_weights_computes_what_the_publishers_does(name, tmp_path):
    video = torch.randn(1, 3, 8, 32, 32, generator=torch.Generator().manual_seed(1))
    publisher = Publisher()
    make = publisher.slowfast if name == "slowfast" else lambda x: publisher.resnet(name, x)
    expected = make(video)
    path = tmp_path / "R50.pyth"
    pooled = name in ("c2d", "i3d")
    for weights in (publisher.weights, as_pyslowfast(publisher.weights, pooled)):
        torch.save({"model_state": weights, "cfg": "TRAIN:\n  ENABLE: true", "epoch": 3}, path)
        model = MODELS[name](replace(SMALL, pretrained=str(path)))
        with torch.no_grad():
            torch.testing.assert_close(features(model, video), expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(UserError, match="need preset base"):
        MODELS[name](replace(SMALL, model_width=48, pretrained=str(path)))
    odd = {**publisher.weights, "blocks.9.surprise.weight": torch.zeros(1)}
    with pytest.raises(UserError, match=r"blocks\.9\.surprise"):
        resnet_names(odd, name == "slowfast")


# torchvision's part of a block -> PySlowFast's, as slowfast/models/attention.py names it.
TO_PYSLOWFAST = {
    "attn.project.0": "attn.proj", "attn.pool_q.pool": "attn.pool_q",
    "attn.pool_k.pool": "attn.pool_k", "attn.pool_v.pool": "attn.pool_v",
    "attn.pool_q.norm_act.0": "attn.norm_q", "attn.pool_k.norm_act.0": "attn.norm_k",
    "attn.pool_v.norm_act.0": "attn.norm_v", "mlp.0": "mlp.fc1", "mlp.3": "mlp.fc2",
    "project": "proj",
}  # fmt: skip


def test_mvit_in_pyslowfasts_form_is_mvit_in_torchvisions(tmp_path):
    torch.manual_seed(0)
    theirs = torchvision_mvit(width=16, depth=5, frames=8, size=32, classes=400)
    weights = {}
    for name, value in theirs.state_dict().items():
        stem, _, end = name.rpartition(".")
        if name.startswith("blocks."):
            _, index, inner = stem.split(".", 2)
            if ".rel_pos_" in name:
                stem, end = f"blocks.{index}.attn", end
            else:
                stem = f"blocks.{index}.{TO_PYSLOWFAST.get(inner, inner)}"
        if name == "pos_encoding.class_token":
            weights["cls_token"] = value[None, None]
            continue
        stem = stem.replace("conv_proj", "patch_embed.proj").replace("head.1", "head.projection")
        weights[f"{stem}.{end}"] = value
    assert "blocks.0.attn.qkv.weight" in weights and "blocks.1.attn.rel_pos_t" in weights
    states = []
    for number, (content, frames) in enumerate(
        ((theirs.state_dict(), 8), ({"model_state": weights}, 8), ({"model_state": weights}, 4))
    ):
        path = tmp_path / f"{number}.pyth"
        torch.save(content, path)
        backbone = MViT(frames=frames, crop_size=32, width=16, depth=5)
        load_pretrained(backbone, path)
        states.append(backbone.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    table = "blocks.0.attention.position.tables.0"
    assert states[2][table].shape[0] < states[1][table].shape[0]  # 32 frames to 16: interpolated
    with pytest.raises(UserError, match=r"blocks\.0\.attn\.surprise"):
        mvit_names({**weights, "blocks.0.attn.surprise": torch.zeros(1)})


def test_one_path_a_model_or_one_for_all():
    known = ("slow", "slowfast", "mvit_v2_s")
    text = "slow=a/SLOW.pyth,mvit_v2_s=b=c.pth"
    assert weights_for(text, "slow", known) == "a/SLOW.pyth"
    assert weights_for(text, "mvit_v2_s", known) == "b=c.pth"
    assert weights_for(text, "slowfast", known) is None
    assert weights_for("some/odd=path,with.pth", "slow", known) == "some/odd=path,with.pth"
    assert weights_for(None, "slow", known) is None
    for wrong, message in (
        ("slow=a,slowfest=b", "did you mean slowfast"),
        ("slow=a,slow=b", "once"),
        ("slow=", "MODEL=PATH"),
        ("slow=a,b", "MODEL=PATH"),
    ):
        with pytest.raises(UserError, match=message):
            weights_for(wrong, "slow", known)


def test_a_pickle_of_code_is_refused_in_plain_words(tmp_path: Path):
    import pickle

    path = tmp_path / "SLOW_8x8_R50.pkl"
    path.write_bytes(pickle.dumps({"blobs": {"conv1_w": Path("x")}}))
    with pytest.raises(UserError, match="Caffe2"):
        read_weights(path)


def test_the_verb_lists_what_is_known_and_says_what_is_not():
    shown = CliRunner().invoke(app, ["weights"])
    assert shown.exit_code == 0
    for each in PUBLIC_WEIGHTS:
        assert each.model in MODELS
        assert each.file in shown.stdout
        Settings.from_preset("base", **each.recipe)  # settings that exist
        if each.sha256 is not None:
            assert each.sha256 in each.file and len(each.sha256) == 8
    rows = json.loads(CliRunner().invoke(app, ["weights", "--json"]).stdout)
    assert {row["model"] for row in rows} >= {"c2d", "i3d", "slow", "slowfast", "mvit_v2_b"}
    assert next(row for row in rows if row["model"] == "slow")["sha256"] is None
    assert "not stated" in shown.stdout
