"""Scores of clips from their views, and the metrics of the splits."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from torch import nn

from benchmark import score
from benchmark.data import ClipDataset, normalise_batch
from benchmark.predictions import (
    EVALUATION_SPLITS,
    Predictions,
    read_predictions,
    write_predictions,
)
from benchmark.score import average_views, predict
from musclemap_data.errors import UserError
from tests.benchmark.conftest import make_row, write_dataset

CPU = torch.device("cpu")


class Brightness(nn.Module):
    """Scores that follow the brightness of the view."""

    modalities = ("rgb",)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        assert not self.training
        means = batch["rgb"].mean(dim=(1, 2, 3, 4))
        return means[:, None] * torch.linspace(-1, 1, 20)


@pytest.fixture
def dataset(dataset_dir, tiny) -> ClipDataset:
    return ClipDataset(
        dataset_dir, EVALUATION_SPLITS, ["rgb"], tiny(test_views=3, rate=4), train=False
    )


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.floats(-20, 20), st.randoms())
def test_equal_views_give_exactly_their_value(counts, logit, random):
    """A constant score must stay constant, or ties break by rounding and the mAP is luck."""
    indices = np.repeat(np.arange(len(counts)), counts)
    value = 1 / (1 + np.exp(-logit))
    mean = average_views(np.full((len(indices), 20), value), indices, len(counts))
    assert (mean == np.float32(value)).all()
    varied = np.array([[random.random()] for _ in indices])
    mean = average_views(varied, indices, len(counts))
    for clip in range(len(counts)):
        assert mean[clip, 0] == pytest.approx(varied[indices == clip].mean(), abs=1e-6)


def test_scores_do_not_depend_on_the_order_of_the_views(dataset, tiny, monkeypatch):
    straight = predict(Brightness(), dataset, tiny(test_views=3), device=CPU)
    assert straight.views.max() == 3
    assert straight.views.min() < 3
    forwards = score.evaluation_batches
    monkeypatch.setattr(
        score,
        "evaluation_batches",
        lambda *args, **options: [batch[::-1] for batch in forwards(*args, **options)[::-1]],
    )
    backwards = predict(Brightness(), dataset, tiny(test_views=3), device=CPU)
    np.testing.assert_array_equal(straight.scores, backwards.scores)


def test_scores_are_mean_probabilities_whatever_the_batches(dataset, tiny):
    model = Brightness().train()
    scores = predict(model, dataset, tiny(), device=CPU).scores
    with_workers = predict(model, dataset, tiny(batch_size=7, workers=2), device=CPU).scores
    np.testing.assert_allclose(scores, with_workers, atol=1e-6)
    expected = np.zeros((len(dataset.clips), 20))
    counts = np.zeros(len(dataset.clips))
    for index, (clip, _) in enumerate(dataset.items):
        logit = model.eval()(normalise_batch({"rgb": dataset[index]["rgb"][None]}))
        expected[clip] += torch.sigmoid(logit)[0].numpy()
        counts[clip] += 1
    np.testing.assert_allclose(scores, expected / counts[:, None], atol=1e-6)


def test_scores_that_are_not_finite_name_a_clip(dataset, tiny):
    class Broken(Brightness):
        def forward(self, batch):
            return super().forward(batch) * float("inf")

    with pytest.raises(UserError, match=r"score of clip val_known-.* is not finite"):
        predict(Broken(), dataset, tiny(), device=CPU)


def predictions_of(dataset: ClipDataset, seed: int = 0) -> Predictions:
    labels = dataset.labels()
    noise = np.random.default_rng(seed).random(labels.shape)
    scores = ((labels + 2 * noise) / 3).astype(np.float32)
    return Predictions(dataset.clips, scores, np.ones(len(labels), int))


def all_deals(scores, labels, activities) -> np.ndarray:
    """``[deals, 20]``: scikit-learn's AP for every way to deal the label sets to the activities."""
    names, first, member = np.unique(activities, return_index=True, return_inverse=True)
    values = []
    for deal in itertools.permutations(range(len(names))):
        dealt = labels[first][list(deal)][member]
        values.append(
            [
                average_precision_score(dealt[:, region], scores[:, region])
                if dealt[:, region].any()
                else np.nan
                for region in range(20)
            ]
        )
    return np.array(values)


def test_metrics_follow_the_stated_rules(dataset):
    predictions = predictions_of(dataset)
    result = score.score_predictions(predictions, {"val_known": 6, "test_known": 10})
    json.dumps(asdict(result), allow_nan=False)
    for split, values in result.splits.items():
        rows = [clip.split == split for clip in dataset.clips]
        labels, scores = predictions.labels[rows], predictions.scores[rows]
        present = labels.any(axis=0)
        assert values.regions == present.sum()
        assert values.trivial_regions == labels.all(axis=0).sum()
        expected = average_precision_score(labels[:, present], scores[:, present])
        assert values.map == pytest.approx(expected)
        assert values.constant_map == pytest.approx(labels[:, present].mean())
        assert sum(value is not None for value in values.per_region_ap.values()) == present.sum()
        low, high = values.map_interval
        assert low <= values.map <= high
        # With few activities all deals can be listed: the chance level is their mean.
        activities = [clip.activity for clip in predictions.of_split(split).clips]
        dealt = all_deals(scores, labels, activities)
        dealt_map = np.nanmean(dealt, axis=1)
        assert values.chance.mean == pytest.approx(dealt_map.mean(), abs=0.01)
        assert values.excess == pytest.approx(expected - values.chance.mean)
        share = np.mean(dealt_map >= expected - 1e-12)
        assert values.chance.p == pytest.approx(share, abs=0.04)
        for number, level in enumerate(values.per_region_chance.values()):
            assert (level is None) == (not present[number])
            if level is not None:
                assert level.mean == pytest.approx(dealt[:, number].mean(), abs=0.02)
    known, new = result.splits["test_known"], result.splits["test_new"]
    assert known.coverage == pytest.approx(0.9)
    assert new.coverage is None
    assert (known.left_out, new.left_out) == ("videos", "activities")
    assert (known.groups, new.groups) == (3, 3)
    assert (known.videos, new.activities) == (3, 3)
    assert result.means["test"].map == pytest.approx((known.map + new.map) / 2)
    expected = (known.chance.mean + new.chance.mean) / 2
    assert result.means["test"].chance.mean == pytest.approx(expected)
    assert result.means["test"].excess == pytest.approx((known.excess + new.excess) / 2)
    assert 0 < result.threshold < 1
    assert set(new.per_activity) == {"lunge", "reach", "crawl"}


def test_the_threshold_comes_from_validation_alone(dataset):
    predictions = predictions_of(dataset)
    before = score.score_predictions(predictions).threshold
    test_rows = [clip.split.startswith("test") for clip in dataset.clips]
    predictions.scores[test_rows] = 0.5
    assert score.score_predictions(predictions).threshold == before


def test_empty_splits_and_splits_without_positives(dataset):
    predictions = predictions_of(dataset)
    kept = [index for index, clip in enumerate(dataset.clips) if clip.split != "test_new"]
    some = Predictions(
        [dataset.clips[index] for index in kept], predictions.scores[kept], predictions.views[kept]
    )
    result = score.score_predictions(some, {"test_new": 7})
    json.dumps(asdict(result), allow_nan=False)
    empty = result.splits["test_new"]
    assert (empty.clips, empty.coverage, empty.map, empty.regions) == (0, 0.0, None, 0)
    assert empty.chance is None and set(empty.per_region_chance.values()) == {None}
    assert result.means["test"].map is None
    assert result.means["test"].chance is None
    assert result.means["test"].map_interval is None
    assert result.means["val"].map is not None

    class NoLabels(Predictions):
        @property
        def labels(self):
            return np.zeros((len(self.clips), 20), bool)

        def of_split(self, split):
            part = super().of_split(split)
            return NoLabels(part.clips, part.scores, part.views)

    nothing = score.score_predictions(
        NoLabels(predictions.clips, predictions.scores, predictions.views)
    )
    json.dumps(asdict(nothing), allow_nan=False)
    assert nothing.threshold is None
    assert nothing.splits["val_known"].map is None
    assert nothing.splits["val_known"].chance is None
    assert nothing.splits["val_known"].clips == 6


def test_clips_of_an_activity_with_different_labels_have_no_chance_level(dataset):
    predictions = predictions_of(dataset)
    clips = list(predictions.clips)
    row = next(index for index, clip in enumerate(clips) if clip.split == "test_new")
    clips[row] = replace(clips[row], muscles=tuple(not active for active in clips[row].muscles))
    result = score.score_predictions(replace(predictions, clips=clips))
    odd = result.splits["test_new"]
    assert odd.chance is None and odd.excess is None and odd.map is not None
    assert result.means["test"].chance is None
    assert result.splits["test_known"].chance is not None


def test_a_score_says_how_many_clips_had_a_skeleton(tmp_path, tiny):
    """The path without a skeleton is another one; the share tells which of them a score is of."""
    rows = {
        "test_known": [make_row(f"k{number}", "hop", "test_known") for number in range(3)],
        "test_new": [make_row(f"n{number}", "kick", "test_new") for number in range(4)],
    }
    nobody = rows["test_new"][1]
    nobody["skeleton"] = np.zeros_like(nobody["skeleton"])
    data = write_dataset(tmp_path / "data", rows)

    class Both(Brightness):
        modalities = ("rgb", "skeleton")

    dataset = ClipDataset(data, EVALUATION_SPLITS, Both.modalities, tiny(), train=False)
    predictions = predict(Both(), dataset, tiny(), device=CPU)
    assert predictions.skeletons.tolist() == [clip.clip_id != "n1" for clip in predictions.clips]
    splits = score.score_predictions(predictions).splits
    assert (splits["test_known"].skeletons, splits["test_new"].skeletons) == (1.0, 0.75)
    assert splits["val_new"].skeletons is None
    write_predictions(tmp_path / "predictions.parquet", predictions)
    again = read_predictions(tmp_path / "predictions.parquet")
    np.testing.assert_array_equal(again.skeletons, predictions.skeletons)
    pictures = ClipDataset(data, EVALUATION_SPLITS, ["rgb"], tiny(), train=False)
    without = predict(Brightness(), pictures, tiny(), device=CPU)
    assert without.skeletons is None
    assert score.score_predictions(without).splits["test_new"].skeletons is None


def test_predictions_can_be_scored_again_from_the_file(dataset, tmp_path):
    predictions = predictions_of(dataset)
    write_predictions(tmp_path / "predictions.parquet", predictions)
    table = pq.read_table(tmp_path / "predictions.parquet")
    assert table.num_rows == len(dataset.clips)
    np.testing.assert_array_equal(np.array(table["scores"].to_pylist()), predictions.scores)
    np.testing.assert_array_equal(np.array(table["muscles"].to_pylist()), predictions.labels)
    assert table["clip_id"].to_pylist() == [clip.clip_id for clip in dataset.clips]
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.parquet"]
