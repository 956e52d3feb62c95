"""Skeleton sequences without pictures: exact motion, cameras, and an estimator's mistakes."""

from dataclasses import replace
from itertools import islice
from time import perf_counter

import numpy as np
import pytest

from musclemap_data.sample.mistakes import Mistakes, make_mistakes
from musclemap_data.sample.motions import EXERCISES, perform
from musclemap_data.sample.render import Camera
from musclemap_data.sample.sequences import (
    draw_motion,
    draw_person,
    draw_sequences,
    draw_views,
    joints_at,
)
from musclemap_data.sample.skeleton import coco_joints, euler
from musclemap_data.skeleton import JOINTS, MIRRORED


@pytest.mark.parametrize("activity", list(EXERCISES))
def test_all_moments_at_once_are_the_moments_one_by_one(activity: str) -> None:
    rng = np.random.default_rng(5)
    performance = perform(activity, draw_person(rng), rng, 2.0)
    times = np.linspace(-0.2, performance.seconds + 0.2, 9)
    one_by_one = [coco_joints(performance.size, performance.bones(float(t))) for t in times]
    np.testing.assert_allclose(joints_at(performance, times), np.stack(one_by_one), atol=1e-9)


def test_a_view_is_the_projection_by_the_pinhole_camera_of_the_videos() -> None:
    rng = np.random.default_rng(1)
    joints_m = np.stack([draw_motion("burpee", 5, 12.0, rng) for _ in range(3)])
    views = draw_views(["burpee"] * 3, joints_m, rng)
    seen = views.project(joints_m)
    for row in range(3):
        camera = Camera(
            views.position()[row],
            views.rotation()[row],
            float(views.focal[row] * views.height_px[row]),
            int(views.width[row]),
            int(views.height_px[row]),
        )
        for frame in range(5):
            turned = joints_m[row, frame] @ euler(0.0, float(views.yaw[row]), 0.0).T
            expected = camera.project(turned)
            expected[:, :2] += views.shift[row] * views.height_px[row]
            np.testing.assert_allclose(seen[row, frame], expected, atol=1e-6)


def test_most_people_are_whole_in_the_picture_and_some_are_cropped() -> None:
    sequences = list(islice(draw_sequences(list(EXERCISES), 0, mistakes=Mistakes.none()), 74))
    inside = [
        ((each.skeleton[..., :2] >= 0) & (each.skeleton[..., :2] < [each.width, each.height])).all()
        for each in sequences
    ]
    assert 0.6 < np.mean(inside) < 0.97
    heights = [np.ptp(each.skeleton[..., 1]) / each.height for each in sequences]
    assert min(heights) > 0.03


def test_the_same_seed_gives_the_same_sequences_and_another_one_others() -> None:
    def first(seed: int) -> list[np.ndarray]:
        return [each.skeleton for each in islice(draw_sequences(["squat", "plank"], seed), 3)]

    for one, two in zip(first(3), first(3), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first(3)[0], first(4)[0])


@pytest.fixture
def exact() -> np.ndarray:
    rng = np.random.default_rng(0)
    joints_m = np.stack([draw_motion("lunge", 48, 12.0, rng) for _ in range(40)])
    return draw_views(["lunge"] * 40, joints_m, rng).project(joints_m)


def only(**kind: float) -> Mistakes:
    return replace(Mistakes.none(), **kind)


def test_an_estimator_without_mistakes_says_where_the_joints_are(exact: np.ndarray) -> None:
    said = make_mistakes(exact, np.random.default_rng(1), Mistakes.none())
    np.testing.assert_allclose(said[..., :2], exact[..., :2], rtol=1e-5, atol=1e-3)
    assert (said[..., 2] > 0.9).all()


def test_each_mistake_is_of_its_kind(exact: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    mirrored = exact[:, :, list(MIRRORED), :2]
    turned = make_mistakes(exact, rng, only(turned=1.0))
    np.testing.assert_allclose(turned[..., :2], mirrored, rtol=1e-5, atol=1e-3)

    swapped = make_mistakes(exact, rng, only(swaps=1.0))
    ankles = [JOINTS.index("left_ankle"), JOINTS.index("right_ankle")]
    is_exact = np.isclose(swapped[..., :2], exact[..., :2], atol=1e-2).all((2, 3))
    is_swapped = np.isclose(swapped[:, :, ankles, :2], mirrored[:, :, ankles], atol=1e-2)
    assert (is_exact | is_swapped.all((2, 3))).all()
    assert 0.01 < (~is_exact).mean() < 0.3

    lost = make_mistakes(exact, rng, only(lost_people=1.0))
    gone = np.isnan(lost[..., :2])
    assert 0.01 < gone.mean() < 0.3
    assert (gone.all((2, 3)) == (lost[..., 2] == 0).all(2)).all()

    slid = make_mistakes(exact, rng, only(slides=1.0))
    wrist, elbow = JOINTS.index("left_wrist"), JOINTS.index("left_elbow")
    forearm = np.linalg.norm(exact[:, :, wrist, :2] - exact[:, :, elbow, :2], axis=-1)
    on_the_way = np.linalg.norm(slid[:, :, wrist, :2] - exact[:, :, elbow, :2], axis=-1)
    assert (on_the_way <= forearm + 1e-2).all()
    assert (on_the_way < 0.95 * forearm).mean() > 0.02

    trembling = make_mistakes(exact, rng, only(jitter=0.02))
    extent = np.median(np.hypot(*np.moveaxis(np.ptp(exact[..., :2], axis=2), -1, 0)), axis=1)
    deviation = (trembling[..., :2] - exact[..., :2]).std((1, 2, 3)) / extent
    assert deviation.min() > 0.0 and deviation.max() < 0.03


def test_hidden_joints_follow_their_twin_and_the_others_stay(exact: np.ndarray) -> None:
    said = make_mistakes(exact, np.random.default_rng(1), only(hidden=1.0))
    left, right = JOINTS.index("left_hip"), JOINTS.index("right_hip")
    behind = exact[..., left, 2] - exact[..., right, 2]
    before = np.linalg.norm(exact[:, :, left, :2] - exact[:, :, right, :2], axis=-1)
    after = np.linalg.norm(said[:, :, left, :2] - said[:, :, right, :2], axis=-1)
    hidden = behind > 0.15
    assert hidden.any()
    assert (after[hidden] < before[hidden]).all()
    assert np.isclose(after[abs(behind) < 0.05], before[abs(behind) < 0.05], atol=1e-2).all()
    assert (said[..., left, 2][hidden] < 0.9).all()


@pytest.mark.slow
def test_thousands_of_sequences_take_a_minute() -> None:
    begin = perf_counter()
    list(islice(draw_sequences(list(EXERCISES), 0), 100))
    assert 100 / (perf_counter() - begin) > 2000 / 60 / 4  # idle: far more; four may share a core
