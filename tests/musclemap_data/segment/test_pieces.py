"""Which pieces of time are one exercise: pauses, gaps and halves of repetitions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from musclemap_data.segment.pieces import Kind, Piece, belong_together, runs, without_short
from musclemap_data.segment.stretches import LONGEST_S, find_stretches
from tests.musclemap_data.segment.courses import FPS, STANDING, kept, nobody, squats


def together(*pieces: tuple[Kind, float]) -> list[tuple[bool, int]]:
    """(exercise or not, how many pieces) of each group; pieces as (kind, seconds)."""
    made, first = [], 0
    for kind, seconds in pieces:
        stop = first + round(seconds * 10)
        made.append(Piece(first, stop, kind, "", 0.0, 0.0, 0.0))
        first = stop
    return [(exercise, len(group)) for exercise, group in belong_together(made, fps=10)]


def test_a_short_rest_belongs_to_the_exercise_around_it_and_a_long_one_divides_it():
    assert together((Kind.REPEATS, 3), (Kind.RESTS, 1.8), (Kind.REPEATS, 3)) == [(True, 3)]
    assert together((Kind.REPEATS, 3), (Kind.RESTS, 2.2), (Kind.REPEATS, 3)) == [
        (True, 1), (False, 1), (True, 1),
    ]  # fmt: skip


def test_a_rest_at_an_end_belongs_to_it_where_it_is_shorter():
    assert together((Kind.RESTS, 0.8), (Kind.REPEATS, 3)) == [(True, 2)]
    assert together((Kind.RESTS, 1.2), (Kind.REPEATS, 3)) == [(False, 1), (True, 1)]


def test_a_pose_that_asks_for_strength_joins_movements_and_a_moment_of_movement_in_a_rest_is_none():
    assert together((Kind.MOVES, 1), (Kind.HOLDS, 5), (Kind.MOVES, 1)) == [(True, 3)]
    assert together((Kind.RESTS, 4), (Kind.REPEATS, 1.5), (Kind.RESTS, 4)) == [(False, 3)]
    assert together((Kind.MOVES, 2)) == [(False, 1)]


def test_every_way_to_divide_the_time_is_compared():
    """Against all ways, of pieces drawn by chance."""
    draw = np.random.default_rng(0)
    kinds, says = list(Kind), {Kind.REPEATS: 1, Kind.HOLDS: 1, Kind.MOVES: -0.5, Kind.RESTS: -1}
    for _ in range(20):
        drawn = [(kinds[draw.integers(4)], float(draw.integers(3, 40)) / 10) for _ in range(6)]
        values = []
        for number in range(2**6):
            path = [number >> n & 1 for n in range(6)]
            gain = sum(says[kind] * s for (kind, s), here in zip(drawn, path, strict=True) if here)
            values.append(gain - sum(a != b for a, b in pairwise(path)))
        groups = together(*drawn)
        path = [exercise for exercise, count in groups for _ in range(count)]
        gain = sum(says[kind] * s for (kind, s), here in zip(drawn, path, strict=True) if here)
        assert gain - (len(groups) - 1) == pytest.approx(max(values))


def clips(course: np.ndarray) -> list[tuple[float, float]]:
    """Start and end of what is proposed in a course without cuts; pieces of one are joined."""
    found: list[tuple[float, float]] = []
    for s in find_stretches(course, FPS, [(0, len(course))]):
        if s.left_out:
            continue
        if found and found[-1][1] == s.first / FPS and s.stop / FPS - found[-1][0] > LONGEST_S:
            found[-1] = (found[-1][0], s.stop / FPS)
        else:
            found.append((s.first / FPS, s.stop / FPS))
    return found


def test_a_set_with_a_pause_after_each_squat_is_one_clip():
    course = np.concatenate([squats(1, 2.5), kept(STANDING, 1.2)] * 3)
    assert clips(course) == [(0, len(course) / FPS)]


def test_a_long_rest_between_two_sets_is_left_out():
    course = np.concatenate([squats(3, 6), kept(STANDING, 6), squats(3, 6)])
    first, second = clips(course)
    assert first == pytest.approx((0, 6), abs=1.5) and second == pytest.approx((12, 18), abs=1.5)


@pytest.mark.parametrize("unseen_s", [0.4, 0.9])
def test_a_person_who_is_lost_for_a_moment_goes_on(unseen_s):
    course = squats(5, 9)
    course[40 : 40 + round(unseen_s * FPS)] = nobody(unseen_s)
    before = course.copy()
    assert clips(course) == [(0, len(course) / FPS)]
    assert np.array_equal(course, before, equal_nan=True)  # what was seen stays what was seen


def test_a_shot_that_begins_and_ends_within_a_repetition_is_a_clip_as_it_is():
    course = squats(5, 10)[round(1.4 * FPS) : -round(1.3 * FPS)]
    assert clips(course) == [(0, len(course) / FPS)]


def test_short_runs_join_the_longer_neighbour():
    line = np.array([0] * 5 + [1] * 2 + [2] * 9 + [0] * 3)
    assert runs(without_short(line, 3)) == [(0, 0, 5), (2, 5, 16), (0, 16, 19)]
