"""The split of a clip depends on the id of its video and on nothing else."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musclemap_data.catalog import NEW_SPLITS, SPLITS
from musclemap_data.errors import UserError
from musclemap_data.splits import (
    SHARES_PERCENT,
    SIDES_NAME,
    SPLIT_VERSION,
    Side,
    held_out,
    partition_of,
    split_of,
)

Row = tuple[str, bool]
rows_strategy = st.lists(st.tuples(st.text(min_size=1, max_size=12), st.booleans()), max_size=40)


def assign(rows: list[Row]) -> dict[Row, str | None]:
    return {(key, new): split_of(key, new=new) for key, new in rows}


def test_the_assignment_of_this_version_is_fixed() -> None:
    # Written down once: if this fails, every published split has changed. Raise both names.
    assert (SPLIT_VERSION, SIDES_NAME) == ("open-2", "open-1")
    expected = {
        "dQw4w9WgXcQ": "test",
        "-3Ck7V6iqPk": "train",
        "u4Xauw54ITs": "train",
        "8-QcL1k5n6k": "test",
        "rec_0001": "val",
        "channel:UC123": "test",
        "é": "train",
        "a b": "train",
    }
    assert {key: partition_of(key) for key in expected} == expected


@given(rows_strategy, rows_strategy, st.randoms(use_true_random=False))
def test_shuffling_adding_and_removing_rows_moves_no_other(
    rows: list[Row], added: list[Row], shuffler: random.Random
) -> None:
    before = assign(rows)
    grown = rows + added
    shuffler.shuffle(grown)
    after = assign(grown)
    assert all(after[row] == split for row, split in before.items())
    kept = grown[: len(grown) // 2]
    assert all(after[row] == split for row, split in assign(kept).items())


@given(st.text(min_size=1), st.booleans())
def test_split_agrees_with_side_and_novelty(key: str, new: bool) -> None:
    split, side = split_of(key, new=new), partition_of(key)
    if new and side == "train":
        assert split is None
    else:
        assert split in SPLITS and (split in NEW_SPLITS) == new
        assert split is not None and split.split("_")[0] == side


def test_shares_are_as_stated() -> None:
    assert sum(SHARES_PERCENT.values()) == 100
    counts = Counter(partition_of(f"video-{i}") for i in range(20_000))
    for side, percent in SHARES_PERCENT.items():
        # Four standard deviations of a binomial of 20,000 are below 1.5%.
        assert counts[side] / 200 == pytest.approx(percent, abs=1.5)


def test_case_counts_and_versions_are_unrelated() -> None:
    keys = [f"abc{i}" for i in range(500)]
    assert any(partition_of(k) != partition_of(k.upper()) for k in keys)
    same = sum(partition_of(k) == partition_of(k, version="other") for k in keys)
    # Chance agreement of two independent draws: .5^2 + .15^2 + .35^2 = 39.5%.
    assert 150 < same < 250


def test_an_empty_id_is_refused() -> None:
    with pytest.raises(ValueError, match="video_key is empty"):
        partition_of("")


@given(st.text(min_size=1), st.sampled_from(["val", "test"]))
def test_a_new_activity_is_scored_on_its_own_side_or_not_at_all(key: str, side: Side) -> None:
    split = split_of(key, new=True, side=side)
    assert split == (None if partition_of(key) == "train" else f"{side}_new")


def test_known_activities_have_no_side_of_their_own() -> None:
    for i in range(50):
        assert split_of(f"v{i}", new=False, side="val") == split_of(f"v{i}", new=False)


def test_versions_of_the_list_of_new_activities() -> None:
    assert set(held_out().values()) == {"val", "test"}
    assert set(held_out("open-1").values()) == {None}
    assert set(held_out()) < set(held_out(videos=True))
    with pytest.raises(UserError, match=r"no split 'open-9'; there are open-1, open-2"):
        held_out("open-9")
