"""Losses against their formulas, written out element by element."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark.losses import (
    TrainingOutput,
    asymmetric_loss,
    bce_loss,
    classification_loss,
    training_loss,
)

LOGITS = st.lists(st.floats(min_value=-12, max_value=12, allow_nan=False), min_size=20, max_size=20)


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


@given(LOGITS, st.lists(st.booleans(), min_size=20, max_size=20))
def test_bce_is_the_mean_negative_log_likelihood(logits, labels):
    expected = 0.0
    for logit, label in zip(logits, labels, strict=True):
        expected -= math.log(_sigmoid(logit) if label else _sigmoid(-logit))
    got = bce_loss(torch.tensor([logits]), torch.tensor([labels]))
    assert got.item() == pytest.approx(expected / 20, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("margin", [0.0, 0.05])
@given(LOGITS, st.lists(st.booleans(), min_size=20, max_size=20))
def test_asymmetric_loss_is_its_formula(margin, logits, labels):
    expected = 0.0
    for logit, label in zip(logits, labels, strict=True):
        p = _sigmoid(logit)
        shifted = max(p - margin, 0)
        if label:
            expected -= (1 - p) * math.log(p)
        else:
            complement = 1 - shifted if margin else _sigmoid(-logit)
            expected -= shifted**4 * math.log(complement)
    got = asymmetric_loss(
        torch.tensor([logits], dtype=torch.float64), torch.tensor([labels]), margin=margin
    )
    assert got.item() == pytest.approx(expected / 20, rel=1e-6, abs=1e-9)


def test_asymmetric_loss_without_focus_or_margin_is_bce():
    logits, labels = torch.randn(5, 20), (torch.rand(5, 20) > 0.5).float()
    plain = asymmetric_loss(logits, labels, gamma_negative=0, gamma_positive=0, margin=0)
    torch.testing.assert_close(plain, bce_loss(logits, labels))


@pytest.mark.parametrize("loss", ["bce", "asymmetric"])
def test_extreme_logits_stay_finite(loss):
    logits = torch.tensor([[200.0, -200.0] * 10], requires_grad=True)
    labels = torch.tensor([[0.0, 1.0] * 10])  # all wrong
    value = classification_loss(logits, labels, loss)
    value.backward()
    assert value.isfinite() and logits.grad.isfinite().all()


def test_an_unknown_loss_names_the_allowed_ones():
    with pytest.raises(ValueError, match=r"'focal'.*bce, asymmetric"):
        classification_loss(torch.zeros(1, 20), torch.zeros(1, 20), "focal")


def test_training_loss_adds_every_part_once():
    logits, second, labels = torch.randn(3, 20), torch.randn(3, 20), torch.rand(3, 20).round()
    distillation = torch.tensor(0.7)
    plain = bce_loss(logits, labels)
    assert training_loss(logits, labels) == plain
    assert training_loss(TrainingOutput(logits, distillation), labels) == plain + 0.7
    torch.testing.assert_close(
        training_loss(TrainingOutput(logits, distillation, second), labels),
        plain + 0.7 + bce_loss(second, labels),
    )
