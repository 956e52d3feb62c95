"""TransM3E's ablations, random clips, and the question whether a model can learn eight clips."""

import math
from typing import Any

import torch
from torch import Tensor

from benchmark.losses import training_loss
from benchmark.models import MODELS
from benchmark.settings import Settings

TINY = Settings.from_preset("tiny")
# Half the size and frames, and nothing that makes learning by heart harder: seconds.
QUICK: dict[str, Any] = {"frames": 4, "crop_size": 64, "dropout": 0.0}


def random_batch(settings: Settings, clips: int) -> dict[str, Tensor]:
    """Videos of coarse random pictures, random skeletons, random labels."""
    frames, size = settings.frames, settings.crop_size
    coarse = torch.rand(clips, 3, frames, 4, 4) * 2 - 1
    skeleton = torch.randn(clips, 1, frames, 17, 3)
    skeleton[..., 2] = torch.rand(clips, 1, frames, 17) * 0.9 + 0.1
    return {
        "rgb": torch.nn.functional.interpolate(coarse, (frames, size, size)),
        "rgb_diff": torch.rand(clips, 3, frames, size, size),
        "skeleton": skeleton,
        "muscles": (torch.rand(clips, 20) > 0.5).float(),
    }


def fits(settings: Settings, steps: int, batch: dict[str, Tensor] | None = None) -> bool:
    """Whether eight clips are ranked without a mistake (mAP 1.0) within so many steps."""
    torch.manual_seed(0)
    model = MODELS["transm3e"](settings)
    for module in model.modules():
        if hasattr(module, "momentum"):
            module.momentum = 0.5  # so few steps: running statistics must keep up to be scored by
    batch = batch or random_batch(settings, 8)
    active = batch["muscles"] > 0
    optimiser = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad], lr=1e-3
    )
    for step in range(steps):
        loss = training_loss(model.train()(batch), batch["muscles"])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step % 2:
            with torch.no_grad():
                logits = model.eval()(batch)
            worst_active = logits.masked_fill(~active, math.inf).amin(0)
            best_inactive = logits.masked_fill(active, -math.inf).amax(0)
            if (worst_active > best_inactive).all():
                return True
    return False
