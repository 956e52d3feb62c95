"""Repetitions, angles, and the files that tell of them, against motions that are known exactly."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from musclemap_data.errors import UserError
from musclemap_data.movement import ANGLES, count_repetitions, joint_angles, measure_session
from musclemap_data.movement.angles import BONES
from musclemap_data.movement.page import comparison, read_facts, summary_lines, write_page
from musclemap_data.movement.repetitions import zigzag
from musclemap_data.movement.series import write_angles_csv, write_joints_csv, write_mot, write_trc
from musclemap_data.movement.video import measure_video
from musclemap_data.sample.motions import EXERCISES, perform
from musclemap_data.sample.sequences import joints_at
from musclemap_data.sample.skeleton import Dimensions
from musclemap_data.skeleton import JOINTS
from tests.conftest import REPOSITORY

FPS = 15.0


def filmed(activity: str, seed: int = 0, yaw_deg: float | None = None, noise_px: float = 1.2):
    """A performance, its joints in metres, and its skeleton as one camera sees it."""
    rng = np.random.default_rng(seed)
    performance = perform(activity, Dimensions(height=1.75), rng, 6.0)
    joints = joints_at(performance, np.arange(0, performance.seconds, 1 / FPS))
    views = EXERCISES[activity].view_deg
    yaw = np.radians(rng.uniform(*views[seed % len(views)]) if yaw_deg is None else yaw_deg)
    x = joints[..., 0] * np.cos(yaw) + joints[..., 2] * np.sin(yaw)
    points = np.stack([x * 120 + 128, 250 - joints[..., 1] * 120], -1)
    points += rng.normal(0, noise_px, points.shape)
    skeleton = np.concatenate([points, np.ones((*x.shape, 1))], -1).astype(np.float32)
    return performance, joints, skeleton


IN_TURN = ["lunge", "side_lunge", "high_knees", "mountain_climber", "front_kicks", "running"]
TOGETHER = ["squat", "jumping_jack", "push_up", "burpee", "good_morning", "crunch", "sit_up",
            "glute_bridge", "leg_raise", "donkey_kick", "v_ups", "jump_squat"]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("activity", TOGETHER + IN_TURN)
def test_repetitions_are_counted_from_every_view(activity, seed):
    performance, _, skeleton = filmed(activity, seed)
    counted = count_repetitions(skeleton, FPS)
    done = len(performance.repetition_starts) - 1
    assert counted.alternating == (activity in IN_TURN)
    # One repetition of the sample is both sides.
    assert counted.cycles == pytest.approx(2 * done if activity in IN_TURN else done, abs=0.6)


def test_turns_are_where_the_movement_turns():
    performance, joints, skeleton = filmed("squat", yaw_deg=90)
    hips = joints[:, JOINTS.index("left_hip"), 1]
    lowest = [
        float(start + np.argmin(hips[int(start * FPS) : int(end * FPS)]) / FPS)
        for start, end in zip(
            performance.repetition_starts, performance.repetition_starts[1:], strict=False
        )
    ]
    turns = np.array(count_repetitions(skeleton, FPS).turns_s)
    for moment in lowest:
        assert np.abs(turns - moment).min() < 0.2


@pytest.mark.parametrize("activity", ["plank", "side_plank", "hollow_hold"])
def test_a_hold_has_no_repetition_and_is_a_hold(activity):
    _, _, skeleton = filmed(activity, noise_px=0.5)
    session = measure_session(skeleton, FPS)
    assert session.repetitions.cycles == 0
    assert sum(hold.end_s - hold.start_s for hold in session.holds) > 4


def test_nobody_in_view_is_no_repetition():
    skeleton = np.full((60, 17, 3), np.nan, np.float32)
    skeleton[..., 2] = 0
    session = measure_session(skeleton, FPS, "empty")
    assert session.repetitions.cycles == 0
    assert not session.holds and not session.reaches
    assert summary_lines(session)[0] == "No repetition was seen."


def test_a_stretch_without_a_person_is_not_bridged():
    _, _, skeleton = filmed("squat")
    gone = np.full((45, 17, 3), np.nan, np.float32)
    gone[..., 2] = 0
    counted = count_repetitions(np.concatenate([skeleton, gone, skeleton[:20]]), FPS)
    assert counted.cycles == pytest.approx(count_repetitions(skeleton, FPS).cycles)


def test_zigzag_turns_at_the_extremes_and_not_at_small_bends():
    signal = np.array([0, 1, 2, 1.8, 3, 2, 1, 0, 0.2, 0, 2, 4.0])
    assert zigzag(signal, 1.5).tolist() == [0, 4, 7, 11]


def true_bone(joints, name):
    ends = [joints[:, [JOINTS.index(joint) for joint in side]].mean(1) for side in BONES[name][:2]]
    return ends[1] - ends[0]


@pytest.mark.parametrize("joint", ["knee", "hip", "elbow"])
def test_angles_seen_from_the_side_are_those_of_the_body(joint):
    """Within 5 degrees of the angle in space, on average, wherever an angle is told at all."""
    errors = []
    for activity in ("squat", "lunge", "push_up", "sit_up", "good_morning", "glute_bridge"):
        _, joints, skeleton = filmed(activity, yaw_deg=90, noise_px=0)
        angles = joint_angles(skeleton)
        for side in ("left", "right"):
            first, second, turned = ANGLES[f"{side}_{joint}"]
            a = true_bone(joints, first) * (-1 if turned else 1)
            b = true_bone(joints, second)
            cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
            errors.append(angles[f"{side}_{joint}"] - np.degrees(np.arccos(cosine)))
    told = np.concatenate(errors)
    told = np.abs(told[np.isfinite(told)])
    assert len(told) > 50
    assert told.mean() < 5
    if joint in ("knee", "hip"):
        assert np.percentile(told, 90) < 5


def test_a_limb_that_points_to_the_camera_has_no_angle():
    _, _, side = filmed("squat", yaw_deg=90, noise_px=0)
    _, _, front = filmed("squat", yaw_deg=0, noise_px=0)
    seen = [np.isfinite(joint_angles(view)["left_knee"]).mean() for view in (side, front)]
    assert seen[0] > 0.8
    assert seen[1] < 0.6
    assert "left_knee" in measure_session(side, FPS).reaches
    assert "left_knee" not in measure_session(front, FPS).reaches


def test_series_are_read_back_by_others(tmp_path):
    _, _, skeleton = filmed("squat", yaw_deg=90)
    skeleton[3, JOINTS.index("nose")] = (np.nan, np.nan, 0)
    session = measure_session(skeleton, FPS, "squat.mp4")
    write_joints_csv(tmp_path / "joints.csv", skeleton, FPS)
    write_angles_csv(tmp_path / "angles.csv", session)
    write_trc(tmp_path / "joints.trc", skeleton, FPS, height_m=1.75)
    write_mot(tmp_path / "angles.mot", session)

    rows = list(csv.DictReader((tmp_path / "joints.csv").open()))
    assert float(rows[7]["left_knee_x"]) == pytest.approx(skeleton[7, 13, 0], abs=1e-3)
    assert rows[3]["nose_x"] == "" and float(rows[3]["time_s"]) == pytest.approx(0.2)
    angles = list(csv.DictReader((tmp_path / "angles.csv").open()))
    assert float(angles[7]["left_knee_deg"]) == pytest.approx(
        session.angles["left_knee"][7], abs=1e-3
    )

    # As Pose2Sim and OpenSim read it: five lines of head, then numbers.
    lines = (tmp_path / "joints.trc").read_text().split("\n")
    assert lines[0].startswith("PathFileType\t4\t(X/Y/Z)")
    assert dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=True))["Units"] == "m"
    names = lines[3].split("\t")[2::3]
    assert [name for name in names if name] == list(JOINTS)
    markers = np.genfromtxt(io.StringIO("\n".join(lines[5:])), delimiter="\t")
    assert markers.shape == (len(skeleton), 2 + 3 * len(JOINTS))
    assert np.isnan(markers[3, 2:5]).all()
    knee = 2 + 3 * JOINTS.index("left_knee")
    assert np.all(markers[:, knee + 2] == 0)
    standing = markers[0, 3] - markers[0, 2 + 3 * JOINTS.index("left_ankle") + 1]
    assert standing == pytest.approx(1.75 * 0.93, rel=0.05)

    text = (tmp_path / "angles.mot").read_text()
    head, _, body = text.partition("endheader\n")
    assert "inDegrees=yes" in head and f"nRows={len(skeleton)}" in head
    motion = np.genfromtxt(io.StringIO(body), names=True)
    assert motion.dtype.names == ("time", *ANGLES)
    assert motion["left_knee"][7] == pytest.approx(session.angles["left_knee"][7], abs=1e-3)


def test_two_sessions_are_compared(tmp_path):
    def session_of(seed: int):
        return measure_session(filmed("squat", seed, yaw_deg=90)[2], FPS, f"squat_{seed}.mp4")

    earlier, now = session_of(1), session_of(0)
    (tmp_path / "movement.json").write_text(json.dumps(earlier.facts()))
    before = read_facts(tmp_path)
    rows = {row[0]: row[1:] for row in comparison(now, before)}
    assert rows["repetitions"][0] == f"{earlier.repetitions.cycles:.1f}"
    change = now.reaches["left_knee"].range_deg - earlier.reaches["left_knee"].range_deg
    assert rows["left knee, range in degrees"][2] == f"{change:+.0f}"
    write_page(tmp_path / "movement.pdf", now, before)
    assert (tmp_path / "movement.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("text", [None, "not JSON", "[]", '{"repetitions": {}}'])
def test_a_folder_without_a_session_is_said(tmp_path, text):
    if text is not None:
        (tmp_path / "movement.json").write_text(text)
    with pytest.raises(UserError, match="earlier session"):
        measure_video("unused.mp4", tmp_path / "out", earlier=tmp_path)
    assert not (tmp_path / "out").exists()


REAL = {"barbell_squat_02.mp4": 5, "kettlebell_swing_m01.mp4": 3}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_people_are_counted(tmp_path, name):
    folders = [REPOSITORY.parent / "shared" / sub for sub in ("real_clips", "real_clips_more")]
    found = [folder / name for folder in folders if (folder / name).exists()]
    if not found:
        pytest.skip("no real clips here")
    session = measure_video(found[0], tmp_path / "out")
    assert session.repetitions.cycles == pytest.approx(REAL[name], abs=0.5)
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"movement.json", "movement.pdf", "joints.csv", "angles.csv", "joints.trc",
                       "angles.mot"}  # fmt: skip
    assert Path(tmp_path / "out" / "movement.pdf").stat().st_size > 5000
