"""Frozen encoders in the form of the transformers library, from a folder on this machine.

VideoMAE, V-JEPA 2, TimeSformer and ViViT see a view as a video; Hiera, DINOv2, CLIP and SigLIP see
its frames one by one, and the mean counts. Nothing is fetched and no pickle is opened.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from benchmark.settings import SettingValue
from musclemap_data.errors import UserError

PREPROCESSORS = ("video_preprocessor_config.json", "preprocessor_config.json")


@dataclass(frozen=True)
class Preprocessing:
    """How an encoder wants its pictures: mean and spread of R, G, B from 0 to 1; sizes in px."""

    mean: tuple[float, float, float]
    spread: tuple[float, float, float]
    crop: int
    short_side: int


class PublishedEncoder(nn.Module):
    """Features of a view by a published network.

    Args:
        network: a transformers model.
        preprocessing: as its folder has it.
        frames: that it sees at once; None where it looks at pictures one by one.
    """

    modalities: tuple[str, ...] = ("rgb",)
    mean: Tensor
    spread: Tensor

    def __init__(self, network: Any, preprocessing: Preprocessing, frames: int | None) -> None:
        super().__init__()
        self.network, self.preprocessing, self.frames = network, preprocessing, frames
        for name, values in (("mean", preprocessing.mean), ("spread", preprocessing.spread)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        self.head = nn.Identity()

    def changes(self, frames: int) -> dict[str, SettingValue]:
        """The settings that it needs; ``frames`` are those of a view of still pictures."""
        return {
            "frames": self.frames or frames,
            "crop_size": self.preprocessing.crop,
            "test_short_side": self.preprocessing.short_side,
            "modality": "rgb",
            "normalise": False,
        }

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """``batch["rgb"]`` ``[batch, 3, frames, S, S]`` from 0 to 1 -> ``[batch, width]``."""
        pictures = batch["rgb"].transpose(1, 2)  # [B, T, 3, S, S]
        pictures = (pictures - self.mean) / self.spread
        if self.frames is not None:
            features = self._encode(pictures)
        else:
            features = self._encode(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2]).mean(1)
        return torch.as_tensor(self.head(features))

    def _encode(self, pictures: Tensor) -> Tensor:
        network = self.network
        if hasattr(network, "get_image_features"):  # the space that it shares with texts
            return _vector(network.get_image_features(pixel_values=pictures))
        given: dict[str, object] = {network.main_input_name: pictures}
        if network.config.model_type == "vjepa2":
            given["skip_predictor"] = True
        found: Tensor = network(**given).last_hidden_state
        return found.flatten(1, -2).mean(1)


def _vector(found: Any) -> Tensor:
    """A vector an item: transformers 5 wraps it, 4 does not."""
    return found if isinstance(found, Tensor) else torch.as_tensor(found.pooler_output)


def is_published(folder: Path) -> bool:
    """Whether a folder holds a model in the form of the transformers library."""
    return (folder / "config.json").is_file() and "model_type" in _read_json(folder / "config.json")


def load_encoder(folder: Path) -> PublishedEncoder:
    """Read an encoder from a folder with ``config.json``, ``model.safetensors``, the preprocessor.

    Raises:
        UserError: transformers is not installed, a file is missing or cannot be read, the model
            would run code of its own, or there is no such architecture.
    """
    network = _load("AutoModel", folder, use_safetensors=True).eval().requires_grad_(False)
    config = network.config
    frames = getattr(config, "num_frames", None) or getattr(config, "frames_per_clip", None)
    return PublishedEncoder(
        network, read_preprocessing(folder, _read_json(folder / "config.json")), frames
    )


def _load(kind: str, folder: Path, **options: Any) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            f"{folder} needs the transformers library: pip install 'musclemap[transformers]'"
        ) from error
    about = _read_json(folder / "config.json")
    if "auto_map" in about:
        raise UserError(
            f"{folder} is a model that brings Python code of its own ({about['auto_map']}). "
            "MuscleMap does not run it: use a model whose architecture transformers has itself"
        )
    try:
        return getattr(transformers, kind).from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **options
        )
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise UserError(
            f"{folder} cannot be read by transformers ({kind}): {first}. Weights have to be "
            "safetensors files"
        ) from error


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    return found if isinstance(found, dict) else {}


def read_preprocessing(folder: Path, config: Mapping[str, Any]) -> Preprocessing:
    """What the preprocessor's file says, the sizes else from the network's ``config``.

    Raises:
        UserError: there is no such file, or it lacks mean and spread or any size.
    """
    path = next((folder / name for name in PREPROCESSORS if (folder / name).is_file()), None)
    if path is None:
        raise UserError(
            f"{folder} has no {' or '.join(PREPROCESSORS)}: it says how pictures are scaled. "
            "Put it beside config.json"
        )
    about = _read_json(path)
    size = about.get("size")
    short = _side(size, "shortest_edge") or _side(size, "height")
    cropped = _side(about.get("crop_size"), "height") if about.get("do_center_crop", True) else None
    crop = (
        cropped
        or _side(size, "height")
        or short
        or _side(config.get("image_size") or config.get("crop_size"), "height")
    )
    mean, spread = _colours(about.get("image_mean")), _colours(about.get("image_std"))
    if crop is None or mean is None or spread is None:
        raise UserError(f"{path} lacks image_mean and image_std of three colours, or a size")
    return Preprocessing(mean, spread, crop, max(crop, short or crop))


def _colours(values: Any) -> tuple[float, float, float] | None:
    if not isinstance(values, list) or len(values) != 3:
        return None
    red, green, blue = map(float, values)
    return red, green, blue


def _side(size: Any, name: str) -> int | None:
    """A length in px from ``224``, ``[224, 224]`` or ``{name: 224}``."""
    if isinstance(size, dict):
        size = size.get(name)
    elif isinstance(size, list):
        size = size[0] if size else None
    return size if isinstance(size, int) and size > 0 else None


# --- texts ---------------------------------------------------------------------------------------


def embed_texts(folder: Path, texts: Mapping[str, str]) -> dict[str, npt.NDArray[np.float32]]:
    """The embeddings [D] of texts by a model that knows pictures and texts (CLIP, SigLIP).

    Args:
        folder: as for :func:`load_encoder`, with the files of its tokenizer.
        texts: name -> what is said of it.

    Raises:
        UserError: as :func:`load_encoder`; or the model knows no texts.
    """
    network = _load("AutoModel", folder, use_safetensors=True).eval()
    if not hasattr(network, "get_text_features"):
        raise UserError(f"{folder} knows no texts: take a CLIP or SigLIP")
    # SigLIP was trained on texts of one padded length, CLIP takes any.
    padding = "max_length" if "siglip" in network.config.model_type else True
    tokens = _load("AutoTokenizer", folder)(
        list(texts.values()), padding=padding, truncation=True, return_tensors="pt"
    )
    with torch.inference_mode():
        found = _vector(network.get_text_features(**tokens)).float().numpy()
    return dict(zip(texts, found, strict=True))


def read_texts(path: Path) -> dict[str, str]:
    """A CSV file with the columns ``name`` and ``text``.

    Raises:
        UserError: it cannot be read, or a name stands twice.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(row["name"], row["text"]) for row in csv.DictReader(file)]
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as texts: it needs the columns name and text ({error!r})"
        ) from error
    if len(dict(rows)) != len(rows) or not rows:
        raise UserError(f"{path} has no texts, or a name twice")
    return dict(rows)
