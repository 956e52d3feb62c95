"""Starting weights from a file: read safely, checked name by name, never silently skipped."""

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.settings import Settings, nearest_name
from musclemap_data.errors import UserError


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` or a PyTorch file, of any shapes.

    ``weights_only`` is set, so no code in the file is run.

    Raises:
        UserError: no such file, or not a flat mapping from names to tensors.
    """
    if not path.is_file():
        raise UserError(f"no pretrained weights at {path}; give the path of a file, or none")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file raises almost anything
        raise UserError(
            f"{path} cannot be read as PyTorch weights: {error}. Nothing but tensors is read: a "
            "Caffe2 file (.pkl) or a whole pickled model is refused"
        ) from error
    for key in ("model_state", "state_dict"):  # PyTorchVideo and PySlowFast, others
        if isinstance(weights, Mapping) and isinstance(weights.get(key), Mapping):
            weights = weights[key]
    if not isinstance(weights, Mapping) or not all(
        isinstance(value, Tensor) for value in weights.values()
    ):
        raise UserError(f"{path} holds no state dict (a mapping from names to tensors)")
    return dict(weights)


def load_exactly(model: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Loads weights whose names and shapes are the model's; a head (``head.*``) may differ or lack.

    Raises:
        UserError: any other weight is missing, unknown or of another shape; up to three are named.
    """
    own = model.state_dict()
    kept = {
        name: value
        for name, value in weights.items()
        if not (name.startswith("head.") and (name not in own or own[name].shape != value.shape))
    }
    wrong = [f"{name} is missing" for name in own if name not in kept and name[:5] != "head."]
    for name, value in kept.items():
        if name not in own:
            wrong.append(f"{name} is unknown to the model")
        elif own[name].shape != value.shape:
            wrong.append(f"{name} is {tuple(value.shape)}, the model has {tuple(own[name].shape)}")
    if wrong:
        raise UserError(
            f"{source} does not fit this model ({len(wrong)} differences): {'; '.join(wrong[:3])}. "
            "Public weights are of full size: they need preset base"
        )
    model.load_state_dict(kept, strict=False)


def weights_for(text: str | None, model: str, known: Collection[str]) -> str | None:
    """The path that ``--pretrained`` gives a model: one for all, or one a model.

    Args:
        text: ``PATH``, or ``MODEL=PATH,MODEL=PATH``; models that are not named start from nothing.
        model: whose path is wanted.
        known: all models. A text whose first ``=`` does not follow one of them is a path.

    Raises:
        UserError: a part of a list names no model, or names one twice.
    """
    if text is None or text.partition("=")[0] not in known:
        return text
    paths: dict[str, str] = {}
    for part in text.split(","):
        name, separator, path = part.partition("=")
        if not separator or not path or name not in known or name in paths:
            raise UserError(
                f"{part!r} in the setting pretrained is not MODEL=PATH with a model that is "
                f"named once{nearest_name(name, known)}"
            )
        paths[name] = path
    return paths.get(model)


def start_from(model: nn.Module, settings: Settings) -> None:
    """Loads ``settings.pretrained``, weights this benchmark saved for the same model, if given."""
    if settings.pretrained is not None:
        path = Path(settings.pretrained)
        load_exactly(model, read_weights(path), str(path))
