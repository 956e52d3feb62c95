"""Baselines that name the activity, or have prototypes of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from benchmark.checkpoint import load_weights, save_weights
from benchmark.models import MODELS
from benchmark.models.activity import LabelTable, balanced, movement
from benchmark.run import Run
from benchmark.settings import Settings

TINY = Settings.from_preset("tiny", epochs=1, activity_temperature=1000.0)
POSES = torch.randn(4, 17, 2, generator=torch.Generator().manual_seed(1))
LABELS = torch.zeros(4, 20)
for _activity, _regions in enumerate([(0, 1), (0, 2), (3,), (3, 4)]):
    LABELS[_activity, list(_regions)] = 1


def clip(activity: int, number: int, frames: int = 6) -> dict[str, torch.Tensor]:
    """A person around a pose of the activity, moving a little."""
    generator = torch.Generator().manual_seed(100 * activity + number)
    noise = torch.randn(1, frames, 17, 2, generator=generator)
    skeleton = torch.cat([POSES[activity] + 0.3 * noise, torch.ones(1, frames, 17, 1)], -1)
    return {
        "skeleton": skeleton,
        "activity": torch.tensor(1000 - 7 * activity),
        "muscles": LABELS[activity],
    }


class Clips(SimpleNamespace):
    """As much of a ``ClipDataset`` as fitting needs."""

    def __init__(self, counts: list[int]) -> None:
        items = [clip(a, number) for a, count in enumerate(counts) for number in range(count)]
        super().__init__(items=items, settings=TINY)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, torch.Tensor]:
        return self.items[key[1]]


def fitted(name: str, counts: list[int]) -> torch.nn.Module:
    model = MODELS[name](TINY)
    model.fit(Clips(counts))
    return model.eval()


def seen(activity: int, first: int = 50, count: int = 8) -> dict[str, torch.Tensor]:
    clips = [clip(activity, number) for number in range(first, first + count)]
    return {"skeleton": torch.stack([each["skeleton"] for each in clips])}


def test_the_labels_of_the_named_activity_are_inherited():
    hard, soft = fitted("activity", [5] * 4), fitted("activity-soft", [5] * 4)
    for activity in range(4):
        certain = hard(seen(activity)).sigmoid()
        torch.testing.assert_close(certain, LABELS[activity].expand(8, -1), atol=2e-3, rtol=0)
        shares = soft(seen(activity)).sigmoid()
        # Softened: a region of the less likely activities is still above one of none.
        assert (shares[:, LABELS[activity] == 1] > 0.5).all()
        assert (shares[:, LABELS.any(0)] > shares[:, [10]]).all()
    assert MODELS["activity-soft"](TINY).temperature == TINY.activity_temperature


def test_the_table_is_the_share_of_the_posterior():
    table = LabelTable()
    table.sets = LABELS
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    posterior = (logits / 3).softmax(-1)[0]
    share = table(logits, 3.0).sigmoid()[0]
    assert share[0] == pytest.approx(float(posterior[0] + posterior[1]), abs=1e-5)
    assert share[4] == pytest.approx(float(posterior[3]), abs=1e-5)
    assert table(logits, 0.0).sigmoid()[0].round().tolist() == LABELS[0].tolist()


def test_prototypes_find_the_regions():
    model = fitted("prototype", [5] * 4)
    for activity in range(4):
        logits = model(seen(activity))
        assert (logits[:, 0] > 0).all() == (activity < 2)
        assert (logits[:, 3] > 0).all() == (activity >= 2)
    assert len(model(seen(0))[:, 10].unique()) == 1  # no activity uses it


@pytest.mark.parametrize("name", ["activity", "activity-soft", "prototype"])
def test_an_activity_with_many_clips_counts_no_more(name):
    """The same clips ten times are the same model."""
    few, many = MODELS[name](TINY), MODELS[name](TINY)
    clips = Clips([4, 4, 4, 4])
    few.fit(clips)
    clips.items += [item for item in clips.items if item["activity"] == 1000] * 9
    many.fit(clips)
    for activity in range(4):
        torch.testing.assert_close(few(seen(activity)), many(seen(activity)), atol=1e-3, rtol=1e-3)


def test_weights_give_every_activity_the_same_sum():
    weights = balanced(torch.tensor([7, 7, 7, 2]))
    assert weights.tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])


@pytest.mark.parametrize("name", ["activity", "activity-soft", "prototype"])
def test_what_was_fitted_is_saved_and_loaded_whatever_its_size(name, tmp_path):
    model = fitted(name, [3] * 4)
    save_weights(tmp_path / "model.safetensors", model)
    again = MODELS[name](TINY)
    load_weights(tmp_path / "model.safetensors", again)
    assert torch.equal(again(seen(2)), model(seen(2)))


def test_statistics_of_movement_leave_out_what_was_not_seen():
    skeleton = clip(0, 0)["skeleton"][None]  # [1, 1, 6, 17, 3]
    hidden = skeleton.clone()
    hidden[0, 0, 3] = 0.0  # a frame without anybody
    kept = skeleton[:, :, [0, 1, 2, 4, 5]]
    left, right = movement(hidden), movement(kept)
    assert torch.allclose(left.view(17, 6)[:, :4], right.view(17, 6)[:, :4], atol=1e-6)
    nobody = torch.zeros(1, 1, 6, 17, 3)
    assert not movement(nobody).any()
    together = torch.cat([skeleton, nobody], 1)  # a second person who is never seen
    torch.testing.assert_close(movement(together), movement(skeleton))
    still = skeleton[:, :, :1].expand(-1, -1, 6, -1, -1)
    assert movement(still).view(17, 6)[:, 2:].abs().max() < 1e-3


def test_they_run_and_are_scored_like_any_model(dataset_dir, tiny, tmp_path):
    record = Run(dataset_dir, "activity-soft", tiny(), runs_dir=tmp_path).complete()
    assert record.modalities == ("skeleton",) and record.training is None
    assert record.scores.splits["test_new"].map is not None
