"""Tools lie in the hands and under the feet, are seen, and change nothing where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from musclemap_data.catalog import SYNTHETIC_PREFIX
from musclemap_data.sample.motions import EXERCISES, perform
from musclemap_data.sample.plan import SAMPLE_SIZES, ClipPlan, VideoPlan
from musclemap_data.sample.skeleton import BONE_INDEX, Dimensions
from musclemap_data.sample.tools import (
    SIDES,
    TOOLS,
    ball,
    palms,
    rod,
    tools_of,
    turned,
    turned_faces,
)
from musclemap_data.sample.video import SyntheticVideo

SIZE = replace(SAMPLE_SIZES["tiny"], clip_s=1.0, pause_s=0.0)


def video(*activities: str, seed: int = 3) -> SyntheticVideo:
    clips = tuple(ClipPlan(activity, "test_known") for activity in activities)
    return SyntheticVideo(VideoPlan(f"{SYNTHETIC_PREFIX}tools", (seed, 5), clips), SIZE)


def test_only_activities_that_the_sample_does_not_film_have_a_tool():
    assert set(TOOLS) <= {name for name, exercise in EXERCISES.items() if not exercise.filmed}


@pytest.mark.parametrize("profile", [rod(1.0, 0.1), ball(0.3)], ids=["rod", "ball"])
def test_a_solid_is_closed_and_its_faces_look_outwards(profile):
    points = turned(profile, np.array([1.0, 2.0, 3.0]), np.array([0.3, 1.0, -0.2]))
    a, b, c = (points[corner] for corner in turned_faces(len(profile)).T)
    volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
    expected = np.pi * 0.1**2 if len(profile) == 4 else 4 / 3 * np.pi * 0.3**3
    assert volume == pytest.approx(expected, rel=0.12)  # of few sides, so a little smaller


@pytest.mark.parametrize("activity", TOOLS)
@pytest.mark.parametrize("seed", range(4))
def test_a_tool_keeps_its_form_and_stays_above_the_floor(activity: str, seed: int):
    size = Dimensions()
    performance = perform(activity, size, np.random.default_rng(seed), 1.0, as_filmed=True)
    parts = tools_of(activity, performance)
    assert parts
    for part in parts:
        assert part.faces.min() == 0
        for time_s in np.linspace(0, performance.seconds, 7):
            points = part.vertices(performance.bones(float(time_s)), float(time_s))
            assert points.shape == (part.faces.max() + 1, 3)
            assert np.isfinite(points).all()
            assert points[:, 1].min() > -0.12  # a weight may dip a little into the floor


@pytest.mark.parametrize("activity", ["barbell_squat", "bench_press", "snatch"])
def test_the_bar_runs_through_both_hands(activity: str):
    performance = perform(activity, Dimensions(), np.random.default_rng(1), 1.0)
    bar = tools_of(activity, performance)[0]
    for time_s in np.linspace(0, performance.seconds, 5):
        bones = performance.bones(float(time_s))
        rings = bar.vertices(bones, float(time_s)).reshape(-1, SIDES, 3).mean(axis=1)
        start, end = rings[0], rings[-1]
        for hand in palms(bones):
            off = np.linalg.norm(np.cross(end - start, start - hand)) / np.linalg.norm(end - start)
            assert off < 0.02


def test_the_feet_stand_on_the_box():
    size = Dimensions()
    performance = perform("box_jump", size, np.random.default_rng(2), 1.0)
    (box,) = tools_of("box_jump", performance)
    points = box.vertices(performance.bones(0.0), 0.0)
    feet = [
        performance.bones(float(t)).origin[BONE_INDEX["left_foot"]]
        for t in np.linspace(0, performance.seconds, 60)
    ]
    highest = max(float(foot[1]) for foot in feet) - size.ankle_height
    assert 0.15 * size.height < points[:, 1].max() <= highest + 0.01
    on_top = [foot for foot in feet if abs(foot[1] - size.ankle_height - points[:, 1].max()) < 0.02]
    inside = [points[:, 2].min() < foot[2] < points[:, 2].max() for foot in on_top]
    assert len(on_top) >= 10
    assert np.mean(inside) > 0.8  # the others fly by


def test_a_barbell_is_seen_and_a_squat_after_it_has_none():
    both, alone = video("barbell_squat", "squat"), video("squat", "squat")
    frame = both.clip_frames[0][0] + 3
    camera = both.camera(frame)
    points = camera.project(both.vertices(frame))[len(both.body.vertices) :]
    image = both.image(frame)
    places = np.rint(points.reshape(-1, SIDES, 3)[4:12, :, :2].reshape(2, -1, 2).mean(axis=1))
    seen = [
        image[y, x].mean()  # the middle of a weight; the bar's four rings come before both
        for x, y in places.astype(int)
        if 0 <= x < image.shape[1] and 0 <= y < image.shape[0]
    ]
    assert seen and min(seen) < 90  # the dark rubber
    later = both.clip_frames[1][0] + 2
    tools = both.vertices(later)[len(both.body.vertices) :]
    assert np.ptp(tools, axis=0).max() < 1e-9  # a single point
    assert len(alone.mesh.vertices) == len(alone.body.vertices)
