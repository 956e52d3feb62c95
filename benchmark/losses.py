"""Losses for multi-label muscle-region scores.

Every loss takes raw logits. The authors' early code applied softmax before binary cross entropy
("focal loss"), which makes the 20 regions compete; an exercise activates several regions at once,
so each region gets its own sigmoid here.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LOSSES = ("bce", "asymmetric")


class TrainingOutput(NamedTuple):
    """What a model with extra losses returns in training mode (plain logits in eval mode).

    Attributes:
        logits: ``[batch, 20]`` scores before the sigmoid.
        distillation: scalar, already weighted (for MCTKD: 0.9 T^2 times the mean KL); add it as is.
        second_logits: ``[batch, 20]`` logits of the second stream's own head, to be trained with
            the same labels as ``logits``; None when that stream is frozen.
    """

    logits: Tensor
    distillation: Tensor
    second_logits: Tensor | None = None


def bce_loss(logits: Tensor, muscles: Tensor) -> Tensor:
    """Mean binary cross entropy over batch and regions.

    Args:
        logits: ``[batch, 20]``.
        muscles: ``[batch, 20]``, 1 for an active region, 0 otherwise; or a grade between them:
            the probability that the loss pulls towards.
    """
    return F.binary_cross_entropy_with_logits(logits, muscles.to(logits.dtype))


def asymmetric_loss(
    logits: Tensor,
    muscles: Tensor,
    *,
    gamma_negative: float = 4.0,
    gamma_positive: float = 1.0,
    margin: float = 0.05,
) -> Tensor:
    """Asymmetric loss of Ridnik et al. (ICCV 2021, eq. 4-7), mean over batch and regions.

    A positive costs ``-(1 - p)^gamma_positive log p``, a negative
    ``-p_m^gamma_negative log(1 - p_m)`` with ``p_m = max(p - margin, 0)``. The original sums over
    the batch; the mean is taken so that the learning rate does not depend on the batch size.

    Args:
        logits: ``[batch, 20]``.
        muscles: ``[batch, 20]``, 1 for an active region, 0 otherwise.
        margin: probability below which a negative costs nothing.
    """
    muscles = muscles.to(logits.dtype)
    probability = logits.sigmoid()
    # log p from the logit, not from p: p underflows to 0 where its logarithm is still finite.
    positive = (1 - probability) ** gamma_positive * F.logsigmoid(logits)
    shifted = (probability - margin).clamp(min=0)
    negative = shifted**gamma_negative * torch.log1p(-shifted)
    # Without a margin 1 - p underflows for large logits; the logit form does not.
    if margin == 0:
        negative = probability**gamma_negative * F.logsigmoid(-logits)
    return -(muscles * positive + (1 - muscles) * negative).mean()


def classification_loss(logits: Tensor, muscles: Tensor, loss: str = "bce") -> Tensor:
    """The named loss of ``logits`` against ``muscles``, both ``[batch, 20]``; see ``LOSSES``.

    Logits in 16 bits (autocast) are widened first: eight bits of mantissa would round the loss.

    Raises:
        ValueError: there is no such loss.
    """
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    if loss == "bce":
        return bce_loss(logits, muscles)
    if loss == "asymmetric":
        return asymmetric_loss(logits, muscles)
    raise ValueError(f"loss is {loss!r}; allowed: {', '.join(LOSSES)}")


def training_loss(output: Tensor | TrainingOutput, muscles: Tensor, loss: str = "bce") -> Tensor:
    """The scalar to minimise for whatever a model returned in training mode.

    Classification loss, plus the (already weighted) distillation term, plus the second stream's
    own classification loss when that stream trains alongside.

    Args:
        output: logits ``[batch, 20]`` or a ``TrainingOutput``.
        muscles: ``[batch, 20]``.
        loss: one of ``LOSSES``.
    """
    if not isinstance(output, TrainingOutput):
        return classification_loss(output, muscles, loss)
    total = classification_loss(output.logits, muscles, loss) + output.distillation
    if output.second_logits is not None:
        total = total + classification_loss(output.second_logits, muscles, loss)
    return total
