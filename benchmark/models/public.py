"""Public weights: which there are, and their publishers' names turned into ours.

Nothing is downloaded here: ``--pretrained MODEL=PATH`` reads a file that the user has, in the form
in which its publisher gives it. Public weights are of full size, so they fit preset ``base``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from musclemap_data.errors import UserError

PYTORCHVIDEO, PYSLOWFAST, TORCHVISION = "PyTorchVideo", "PySlowFast", "torchvision"
LICENCES = {PYTORCHVIDEO: "Apache-2.0", PYSLOWFAST: "Apache-2.0", TORCHVISION: "BSD-3-Clause"}
"""Of the publishers' repositories. None states a licence of the weights apart from it, and the
videos that they were trained on (Kinetics) have terms of their own."""


@dataclass(frozen=True)
class PublicWeights:
    """A file of weights that a model can start from.

    Attributes:
        model: a key of ``MODELS``.
        url: where the publisher has it; its last part is the file's name.
        trained_on: the data set.
        recipe: settings of the input that it was trained with.
        source: where that stands: a configuration file of the publisher, or a page.
        size_mb: as the publisher states it; None where not stated.
        sha256: the first digits of the file's checksum, as the publisher's name of the file states
            them; None where not stated.
    """

    model: str
    publisher: str
    url: str
    trained_on: str
    recipe: Mapping[str, int | float]
    source: str
    size_mb: float | None = None
    sha256: str | None = None

    @property
    def file(self) -> str:
        """The name of the file."""
        return self.url.rpartition("/")[2]

    @property
    def licence(self) -> str:
        """Of the publisher's repository, see ``LICENCES``."""
        return LICENCES[self.publisher]


_PTV = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics"
_PYSF = "https://dl.fbaipublicfiles.com/pyslowfast/model_zoo/mvitv2/pysf_video_models"
_TV = "https://download.pytorch.org/models"
_K400 = "Kinetics-400"
_EIGHT = {"frames": 8, "rate": 8}
_SWIN_SOURCE = "github.com/SwinTransformer/Video-Swin-Transformer"

PUBLIC_WEIGHTS: Sequence[PublicWeights] = (
    *(
        PublicWeights(
            model, PYTORCHVIDEO, f"{_PTV}/{name}_8x8_R50.pyth", _K400, recipe,
            f"SlowFast: configs/Kinetics/pytorchvideo/{name}_8x8_R50.yaml",
        )
        for model, name, recipe in (
            ("c2d", "C2D", _EIGHT),
            ("i3d", "I3D", _EIGHT),
            ("slow", "SLOW", _EIGHT),
            ("slowfast", "SLOWFAST", {"frames": 32, "rate": 2}),
        )
    ),
    PublicWeights(
        "mvit_v2_s", TORCHVISION, f"{_TV}/mvit_v2_s-ae3be167.pth", _K400,
        {"frames": 16, "rate": 4}, "SlowFast: configs/Kinetics/MVITv2_S_16x4.yaml",
        131.884, "ae3be167",
    ),
    PublicWeights(
        "mvit_v2_s", PYSLOWFAST, f"{_PYSF}/MViTv2_S_16x4_k400_f302660347.pyth", _K400,
        {"frames": 16, "rate": 4}, "SlowFast: configs/Kinetics/MVITv2_S_16x4.yaml",
    ),
    PublicWeights(
        "mvit_v2_b", PYSLOWFAST, f"{_PYSF}/MViTv2_B_32x3_k400_f304025456.pyth", _K400,
        {"frames": 32, "rate": 3, "drop_path": 0.3},
        "SlowFast: configs/Kinetics/MVITv2_B_32x3.yaml",
    ),
    PublicWeights(
        "swin3d_s", TORCHVISION, f"{_TV}/swin3d_s-da41c237.pth", _K400,
        {"frames": 32, "rate": 2}, _SWIN_SOURCE, 218.288, "da41c237",
    ),
    PublicWeights(
        "swin3d_b", TORCHVISION, f"{_TV}/swin3d_b_1k-24f7c7c6.pth", _K400,
        {"frames": 32, "rate": 2}, _SWIN_SOURCE, 364.134, "24f7c7c6",
    ),
    PublicWeights(
        "swin3d_b", TORCHVISION, f"{_TV}/swin3d_b_22k-7c6ae6fa.pth", "ImageNet-22k, Kinetics-400",
        {"frames": 32, "rate": 2}, _SWIN_SOURCE, 364.134, "7c6ae6fa",
    ),
    PublicWeights(
        "transm3e", TORCHVISION, f"{_TV}/mvit_v2_s-ae3be167.pth", _K400,
        {"frames": 16, "rate": 4}, "docs/transm3e.md: the video stream alone", 131.884, "ae3be167",
    ),
)  # fmt: skip
"""What each model can start from; the other models have no public weights of this form."""


# --- 3D ResNets ----------------------------------------------------------------------------------

# PySlowFast's names -> PyTorchVideo's parts of a pathway.
_PARTS = {
    "branch1_conv": "shortcut.0",
    "branch1_norm": "shortcut.1",
    **{f"branch2.conv_{part}": f"branch.{number}.0" for number, part in enumerate("abc")},
    **{f"branch2.norm_{part}": f"branch.{number}.1" for number, part in enumerate("abc")},
    "branch1": "shortcut.0",
    "branch1_bn": "shortcut.1",
    **{f"branch2.{part}": f"branch.{number}.0" for number, part in enumerate("abc")},
    **{f"branch2.{part}_bn": f"branch.{number}.1" for number, part in enumerate("abc")},
}
_LAYER = {"conv": "0", "norm": "1", "bn": "1", "conv_fast_to_slow": "0", "conv_f2s": "0"}
_PTV_NAME = re.compile(
    r"blocks\.(?P<block>\d+)\.(?:multipathway_blocks\.(?P<path>[01])\.)?"
    r"(?:(?P<layer>conv|norm)|res_blocks\.(?P<number>\d+)\.(?P<part>[a-z0-9_.]+?)"
    r"|multipathway_fusion\.(?P<fuse>conv_fast_to_slow|norm))\.(?P<end>[a-z_]+)"
)
_PYSF_NAME = re.compile(
    r"s(?P<block>\d)(?:\.pathway(?P<path>[01])_(?:stem\.(?P<layer>conv|bn)"
    r"|res(?P<number>\d+)\.(?P<part>[a-z0-9_.]+?))|_fuse\.(?P<fuse>conv_f2s|bn))\.(?P<end>[a-z_]+)"
)
_HEAD = re.compile(r"blocks\.\d+\.proj\..*|head\..*")


def resnet_names(weights: Mapping[str, Tensor], two_paths: bool) -> Mapping[str, Tensor]:
    """Weights of C2D, I3D, Slow or SlowFast under our names, shapes as they are, without the head.

    Weights that already have our names are given back as they are.

    Args:
        weights: the state dict of PyTorchVideo (``blocks.0.conv.weight``) or PySlowFast
            (``s1.pathway0_stem.conv.weight``).
        two_paths: SlowFast.

    Raises:
        UserError: a name is of neither.
    """
    for pattern in (_PTV_NAME, _PYSF_NAME):
        if any(pattern.fullmatch(name) for name in weights):
            break
    else:
        return weights
    found = {name: pattern.fullmatch(name) for name in weights if not _HEAD.fullmatch(name)}
    strange = [name for name, match in found.items() if match is None]
    if strange:
        raise UserError(f"{strange[0]} is no weight of a ResNet of {PYTORCHVIDEO} or {PYSLOWFAST}")
    # PyTorchVideo counts the pooling after the first stage of C2D and I3D as a block of its own.
    stages = sorted({int(match["block"]) for match in found.values() if match and match["part"]})
    renamed = {}
    for name, match in found.items():
        assert match is not None  # noqa: S101  (checked above)
        block, part = int(match["block"]), match["part"]
        way = ("slow_", "fast_")[int(match["path"] or 0)] if two_paths else ""
        if part is not None:
            if part not in _PARTS:
                raise UserError(f"{name} is no weight of a bottleneck")
            ours = f"{way}stages.{stages.index(block)}.{match['number']}.{_PARTS[part]}"
        elif match["fuse"] is not None:
            stage = block - (1 if pattern is _PYSF_NAME else 0)
            ours = f"laterals.{stage}.{_LAYER[match['fuse']]}"
        else:
            ours = f"{way}stem.0.{_LAYER[match['layer']]}"
        renamed[f"{ours}.{match['end']}"] = weights[name]
    return renamed


# --- MViTv2 --------------------------------------------------------------------------------------

_MVIT_STEMS = {
    "patch_embed.proj": "embedding",
    "norm": "norm",
}
_MVIT_INNER = {
    "norm1": "norm1",
    "norm2": "norm2",
    "proj": "widen",
    "mlp.fc1": "mlp.0",
    "mlp.fc2": "mlp.2",
    "attn.proj": "attention.project",
    **{f"attn.pool_{short}": f"attention.pool_{long}"
       for short, long in (("q", "query"), ("k", "key"), ("v", "value"))},
    **{f"attn.norm_{short}": f"attention.pool_{long}.norm"
       for short, long in (("q", "query"), ("k", "key"), ("v", "value"))},
}  # fmt: skip


def mvit_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """PySlowFast's MViTv2 under our names, shapes as they are; the classification head is left out.

    Raises:
        UserError: a name is not of such a model.
    """
    renamed: dict[str, Tensor] = {}
    for name, value in weights.items():
        stem, _, end = name.rpartition(".")
        _, _, place = name.partition("blocks.")
        index, _, inner = place.partition(".")
        inner_stem = inner.rpartition(".")[0]
        if name.startswith("head."):
            continue
        if name == "cls_token":
            renamed["class_tokens"] = value[0]
        elif stem in _MVIT_STEMS:
            renamed[f"{_MVIT_STEMS[stem]}.{end}"] = value
        elif inner_stem == "attn.qkv":
            for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                renamed[f"blocks.{index}.attention.{part}.{end}"] = third
        elif inner.startswith("attn.rel_pos_") and inner[-1] in "thw":
            table = "thw".index(inner[-1])
            renamed[f"blocks.{index}.attention.position.tables.{table}"] = value
        elif inner_stem in _MVIT_INNER:
            renamed[f"blocks.{index}.{_MVIT_INNER[inner_stem]}.{end}"] = value
        else:
            raise UserError(f"{name} is no weight of PySlowFast's MViTv2")
    return renamed
