"""The embedded synthetic sample: repeats bit for bit, and its ground truth is true."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musclemap_data import catalog
from musclemap_data.manifest import read_manifest
from musclemap_data.sample import skeleton as sk
from musclemap_data.sample.body import build_mesh
from musclemap_data.sample.clothes import Look
from musclemap_data.sample.motions import EXERCISES, perform
from musclemap_data.sample.plan import SAMPLE_SIZES, ClipPlan, SampleSize, VideoPlan, plan_sample
from musclemap_data.sample.render import rasterise, screen_points
from musclemap_data.sample.video import SyntheticVideo
from musclemap_data.sample.write import render_sample

MINI = SampleSize(
    train_videos=1,
    val_videos=0,
    test_videos=1,
    clips_per_video=2,
    width=96,
    height=72,
    fps=8,
    clip_s=0.3,
    pause_s=0.25,
    vertex_step_m=0.03,
    flow_frames=1,
)
SHARP = replace(SAMPLE_SIZES["default"], vertex_step_m=0.018)


def video_of(*activities: str, size: SampleSize = SHARP, seed: int = 5) -> SyntheticVideo:
    clips = tuple(ClipPlan(activity, "train") for activity in activities)
    return SyntheticVideo(VideoPlan("synthetic_test", (seed, 1), clips), size)


@pytest.fixture(scope="module")
def moving() -> SyntheticVideo:
    """Standing, prone and supine in one video."""
    return video_of("jumping_jack", "push_up", "scissors")


# --- the plan -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLE_SIZES)
@pytest.mark.parametrize("seed", [0, 1, 7])
def test_plan_keeps_subjects_and_new_activities_apart(name: str, seed: int) -> None:
    plans = plan_sample(SAMPLE_SIZES[name], seed)
    activities = catalog.load_activities()
    trained = {clip.activity for p in plans for clip in p.clips if clip.split == "train"}
    seen: set[str] = set()
    for plan in plans:
        kinds = {clip.split.split("_")[0] for clip in plan.clips}
        assert len(kinds) == 1, "a video belongs to train, val or test as a whole"
        for clip in plan.clips:
            seen.add(clip.split)
            assert activities[clip.activity].new == clip.split.endswith("_new")
            if clip.split.endswith("_known"):
                assert clip.activity in trained
    assert seen == set(catalog.SPLITS)
    assert len({plan.video_id for plan in plans}) == len(plans)
    assert len({plan.seed for plan in plans}) == len(plans)


def test_default_sample_is_rich_enough_and_small_enough() -> None:
    size = SAMPLE_SIZES["default"]
    plans = plan_sample(size, 0)
    clips = [clip for plan in plans for clip in plan.clips]
    assert len({clip.activity for clip in clips}) >= 24
    assert len({clip.activity for clip in clips if clip.split.endswith("_new")}) >= 6
    train = [clip.activity for clip in clips if clip.split == "train"]
    activities = catalog.load_activities()
    filmed = [name for name, exercise in EXERCISES.items() if exercise.filmed]
    known = [name for name in filmed if not activities[name].new]
    assert len(filmed) == 37 and {clip.activity for clip in clips} <= set(filmed)
    assert min(train.count(name) for name in known) >= 1
    rng = np.random.default_rng(0)
    seconds = [
        perform(c.activity, sk.Dimensions(), rng, size.clip_s, as_filmed=True).seconds
        for c in clips
    ]
    assert (sum(seconds) + size.pause_s * len(clips)) * size.fps <= 6200
    assert max(seconds) < 5


# --- files ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sample")
    steps: list[tuple[int, int]] = []
    render_sample(
        out, size=MINI, workers=1, truth=True, progress=lambda done, n: steps.append((done, n))
    )
    assert steps == [(1, 2), (2, 2)]
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_workers_do_not_change_a_byte(rendered: Path, tmp_path: Path) -> None:
    render_sample(tmp_path / "two", size=MINI, workers=2, truth=True)
    one, two = contents(rendered), contents(tmp_path / "two")
    assert set(one) == set(two)
    assert not any(".tmp" in name for name in one)
    for name, data in one.items():
        if name.endswith(".npz"):  # a zip carries the time of writing
            a, b = np.load(rendered / name), np.load(tmp_path / "two" / name)
            for key in a.files:
                np.testing.assert_array_equal(a[key], b[key])
        else:
            assert data == two[name], name


def test_another_seed_gives_other_pixels() -> None:
    plans = [plan_sample(MINI, seed)[0] for seed in (0, 1)]
    images = [SyntheticVideo(plan, MINI).image(3) for plan in plans]
    assert np.abs(images[0].astype(int) - images[1]).mean() > 5


def test_frames_may_be_drawn_in_any_order() -> None:
    video, again = video_of("squat", size=MINI), video_of("squat", size=MINI)
    forwards = [video.image(frame) for frame in range(video.frames)]
    for frame in reversed(range(video.frames)):
        np.testing.assert_array_equal(again.image(frame), forwards[frame])


def test_manifest_is_valid_and_its_cuts_are_the_clips(rendered: Path) -> None:
    clips = read_manifest(rendered / "manifest.csv", catalog.load_activities())
    assert len(clips) == 4
    for clip in clips:
        assert clip.url == f"videos/{clip.video_id}.mp4" and "synthetic" in clip.video_id
        truth = np.load(rendered / "truth" / f"{clip.video_id}.npz")
        with av.open(str(rendered / clip.url)) as container:
            assert "synthetic" in container.metadata["comment"]
            times = [float(frame.time) for frame in container.decode(video=0)]
        assert len(times) == len(truth["clip"]) == len(truth["joints"]) == len(truth["phase"])
        assert clip.end_s is not None
        inside = [i for i, time in enumerate(times) if clip.start_s <= time < clip.end_s]
        number = int(clip.clip_id[-2:])
        assert inside == list(np.flatnonzero(truth["clip"] == number))
        assert truth["phase"][inside[0]] == 0 and (truth["phase"][inside] >= 0).all()
    assert "SYNTHETIC" in (rendered / "README.txt").read_text()


def test_video_shows_the_frames(rendered: Path) -> None:
    plan = plan_sample(MINI, 0)[0]
    video = SyntheticVideo(plan, MINI)
    with av.open(str(rendered / "videos" / f"{plan.video_id}.mp4")) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(decoded) == video.frames
    for frame in (0, video.frames // 2, video.frames - 1):
        error = np.abs(decoded[frame].astype(int) - video.image(frame)).mean()
        assert error < 6, "compression only"


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'huge'; choose one of"):
        render_sample(tmp_path, size="huge")
    with pytest.raises(ValueError, match="workers is 0"):
        render_sample(tmp_path, size=MINI, workers=0)
    with pytest.raises(ValueError, match="unknown activity 'yodel'"):
        video_of("yodel")
    with pytest.raises(IndexError, match="frame 999"):
        video_of("squat", size=MINI).image(999)


def test_importing_the_sample_is_light() -> None:
    code = (
        "import sys, musclemap_data.sample.plan as s; s.plan_sample(s.SAMPLE_SIZES['tiny'], 0); "
        "print([m for m in ('numba', 'cv2', 'av', 'torch') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# --- the truth ------------------------------------------------------------------------------------

_PARTS = {
    "nose": ("head",),
    "eye": ("head",),
    "ear": ("head",),
    "shoulder": ("shoulder", "upper_arm", "chest", "neck"),
    "elbow": ("upper_arm", "elbow", "forearm"),
    "wrist": ("forearm", "hand"),
    "hip": ("pelvis", "hip", "thigh", "abdomen"),
    "knee": ("thigh", "knee", "shin"),
    "ankle": ("shin", "foot"),
}


def test_visible_joints_lie_on_their_own_body_part(moving: SyntheticVideo) -> None:
    checked, right = 0, 0
    for frame in range(6, moving.frames, 9):
        camera = moving.camera(frame)
        screen = screen_points(camera, moving.vertices(frame))
        face, _, _ = rasterise(screen, moving.mesh.faces, camera.height, camera.width)
        for name, (x, y, visible) in zip(sk.COCO_JOINTS, moving.joints(frame), strict=True):
            if not visible:
                continue
            checked += 1
            side, _, part = name.rpartition("_")
            around = face[max(round(y) - 1, 0) : round(y) + 2, max(round(x) - 1, 0) : round(x) + 2]
            vertices = moving.mesh.faces[around[around >= 0]][:, 0]
            bones = {sk.BONES[b] for b in moving.mesh.bones[vertices, 0]}
            wanted = {f"{side}_{p}" for p in _PARTS[part]} | set(_PARTS[part])
            right += bool(bones & wanted)
    assert checked > 200
    assert right / checked > 0.97


def test_hidden_joints_are_marked() -> None:
    video = video_of("plank", seed=3)
    joints = video.joints(video.frames // 2)
    # Seen from the side, the far half of the body is behind the near half.
    assert 3 <= joints[:, 2].sum() <= 14
    assert set(np.unique(joints[:, 2])) <= {0.0, 1.0}


@pytest.mark.slow
def test_true_flow_explains_the_next_frame(moving: SyntheticVideo) -> None:
    gains = []
    for start, end in moving.clip_frames:
        for frame in np.linspace(start, end - 2, 5).astype(int):
            truth = moving.flow(frame)
            now, after = (moving.image(f).astype(np.float32) for f in (frame, frame + 1))
            height, width = truth.visible.shape
            grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1)
            where = (grid + truth.flow).astype(np.float32)
            warped = cv2.remap(after, where[..., 0], where[..., 1], cv2.INTER_LINEAR)
            moves = np.hypot(*np.moveaxis(truth.flow, -1, 0)) > 0.7
            mask = truth.visible & truth.body & moves
            if mask.sum() < 60:
                continue
            error = np.abs(warped - now)[mask].mean()
            still = np.abs(after - now)[mask].mean()
            gains.append(error / still)
    assert len(gains) >= 8
    assert np.median(gains) < 0.55
    assert max(gains) < 0.95


@pytest.mark.slow
def test_true_flow_agrees_with_an_estimator(moving: SyntheticVideo) -> None:
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    errors, sizes = [], []
    for start, end in moving.clip_frames:
        for frame in np.linspace(start, end - 2, 8).astype(int):
            truth = moving.flow(frame)
            if np.linalg.norm(truth.flow, axis=-1)[truth.visible & truth.body].mean() < 0.6:
                continue
            grey = [cv2.cvtColor(moving.image(f), cv2.COLOR_RGB2GRAY) for f in (frame, frame + 1)]
            estimate = dis.calc(grey[0], grey[1], None)
            mask = truth.visible & truth.body
            errors.append(np.linalg.norm(estimate - truth.flow, axis=-1)[mask].mean())
            sizes.append(np.linalg.norm(truth.flow, axis=-1)[mask].mean())
    assert len(sizes) >= 6 and np.mean(sizes) > 0.9
    assert np.mean(errors) < 0.6 * np.mean(sizes)


@pytest.mark.slow
def test_tvl1_against_the_true_flow(moving: SyntheticVideo) -> None:
    """The tool's own TV-L1 on the sample; the printed error is the figure of the README."""
    from musclemap_data.modalities.flow import compute_flow

    errors, still, body = [], [], []
    for start, end in moving.clip_frames:
        for frame in np.linspace(start, end - 2, 4).astype(int):
            truth = moving.flow(frame)
            pair = np.stack([moving.image(frame), moving.image(frame + 1)])
            gap = np.linalg.norm(compute_flow(pair)[0] - truth.flow, axis=-1)
            errors.append(gap[truth.visible])
            still.append(np.linalg.norm(truth.flow, axis=-1)[truth.visible])
            body.append(truth.body[truth.visible])
    error, zero, person = (np.concatenate(parts) for parts in (errors, still, body))
    print(
        f"TV-L1 end-point error on the synthetic sample: all pixels mean {error.mean():.3f} px; "
        f"person mean {error[person].mean():.3f} px, median {np.median(error[person]):.3f} px "
        f"(mean true motion {zero[person].mean():.3f} px)"
    )
    assert error.mean() < 0.15
    assert error[person].mean() < 0.6 * zero[person].mean()


@pytest.mark.slow
def test_blazepose_finds_the_synthetic_person() -> None:
    """The printed PCK is the figure of the README: 0.1 of the diagonal of the torso."""
    from musclemap_data.errors import UserError
    from musclemap_data.pose import weights
    from musclemap_data.pose.blazepose import BlazePose

    try:
        weights.blazepose_files()
    except UserError as error:
        pytest.skip(f"no BlazePose weights: {str(error).splitlines()[0]}")
    find = BlazePose()
    found, correct = [], []
    for seed, activities in enumerate((("squat", "push_up"), ("front_kicks", "leg_raise"))):
        video = video_of(*activities, seed=seed)
        for start, end in video.clip_frames:
            frames = range(start, end, 3)
            truth = np.stack([video.joints(frame) for frame in frames])
            skeleton = find(np.stack([video.image(frame) for frame in frames]))
            points = np.asarray(skeleton).reshape(len(truth), -1, 17, 3)[:, 0, :, :2]
            torso = np.linalg.norm(truth[:, 5, :2] - truth[:, 12, :2], axis=-1)
            gap = np.linalg.norm(points - truth[:, :, :2], axis=-1)
            found += list(np.isfinite(points[:, 0, 0]))
            correct += list(np.nan_to_num(gap, nan=1e9) <= 0.1 * torso[:, None])
    print(f"synthetic sample: person found in {np.mean(found):.1%} of {len(found)} frames, "
          f"PCK@0.1 torso {np.mean(correct):.3f}")  # fmt: skip
    assert np.mean(found) >= 0.9
    assert np.mean(correct) >= 0.7


def test_flow_of_the_body_follows_the_joints(moving: SyntheticVideo) -> None:
    start, end = moving.clip_frames[0]
    gaps = []
    for frame in range(start, end - 1, 3):
        flow = moving.flow(frame).flow
        here, there = moving.joints(frame), moving.joints(frame + 1)
        for joint in (0, 7, 8, 13, 14):  # nose, elbows, knees
            if here[joint, 2] and there[joint, 2]:
                x, y = np.rint(here[joint, :2]).astype(int)
                gaps.append(np.abs(flow[y, x] - (there - here)[joint, :2]).max())
    assert len(gaps) > 20
    assert np.median(gaps) < 0.4  # pixels; the skin lies over the joint, so not zero


def test_no_flow_across_a_cut(moving: SyntheticVideo) -> None:
    cut = moving.clip_frames[0][1] - 1
    with pytest.raises(ValueError, match="cut between frames"):
        moving.flow(cut)


# --- motion ---------------------------------------------------------------------------------------


def test_squat_goes_down_with_still_feet() -> None:
    size = sk.Dimensions()
    motion = perform("squat", size, np.random.default_rng(0), 1.5)
    hips, ankles = [], []
    for time_s in np.arange(0.0, motion.seconds, 0.04):
        joints = sk.coco_joints(size, motion.bones(float(time_s)))
        hips.append(joints[11:13, 1].mean())
        ankles.append(joints[15:17])
    assert max(hips) - min(hips) > 0.25
    assert np.ptp(np.array(ankles), axis=0).max() < 0.005


def test_phase_counts_whole_repetitions() -> None:
    motion = perform("squat", sk.Dimensions(), np.random.default_rng(0), 4.0)
    repetitions = len(motion.repetition_starts) - 1
    assert repetitions >= 2 and motion.seconds >= 4.0
    assert motion.phase(-0.1) == -1
    for start, end in zip(motion.repetition_starts[:-1], motion.repetition_starts[1:], strict=True):
        assert motion.phase(start) == pytest.approx(0)
        assert motion.phase((start + end) / 2) == pytest.approx(0.5)
        assert 0.8 < end - start < 3.5


vectors = st.tuples(*[st.floats(-1, 1) for _ in range(3)]).map(np.array)


@settings(max_examples=100, deadline=None)
@given(vectors, vectors, st.floats(0.2, 0.6), st.floats(0.2, 0.6))
def test_two_bones_keep_their_lengths(target, pole, first, second) -> None:
    root = np.array([0.1, 0.2, 0.3])
    if np.linalg.norm(target) < 1e-3 or np.linalg.norm(np.cross(target, pole)) < 1e-3:
        return
    middle, end, _ = sk.two_bone(root, root + target, first, second, pole)
    assert np.linalg.norm(middle - root) == pytest.approx(first, rel=1e-6)
    assert np.linalg.norm(end - middle) == pytest.approx(second, rel=1e-6)
    distance = np.linalg.norm(target)
    if abs(first - second) + 0.02 < distance < 0.999 * (first + second):
        np.testing.assert_allclose(end, root + target, atol=1e-9)


angles = st.floats(-1.4, 1.4)


@settings(max_examples=50, deadline=None)
@given(angles, angles, angles)
def test_half_rotation_done_twice_is_the_rotation(pitch, yaw, roll) -> None:
    start, end = sk.euler(0.3, -0.2, 0.1), sk.euler(0.3, -0.2, 0.1) @ sk.euler(pitch, yaw, roll)
    step = start.T @ sk.half_rotation(start, end)
    np.testing.assert_allclose(start @ step @ step, end, atol=1e-3)


def test_mesh_is_closed_and_its_weights_sum_to_one() -> None:
    mesh = build_mesh(Look(sk.Dimensions()), 0.025, 0.015)
    edges = np.concatenate([mesh.faces[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
    # In a closed, oriented surface every edge is walked once each way (surface nets may let two
    # sheets touch in an edge, which then has four faces).
    forward = {tuple(edge): 0 for edge in edges}
    for edge in map(tuple, edges):
        forward[edge] += 1
    assert all(forward.get((b, a), 0) == count for (a, b), count in forward.items())
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
    assert 0.045 < volume < 0.11  # cubic metres: a grown-up; positive: faces look outwards
    np.testing.assert_allclose(mesh.weights.sum(1), 1.0, atol=1e-9)


def test_command_line_writes_a_manifest(tmp_path: Path, monkeypatch, capsys) -> None:
    from musclemap_data.sample import __main__ as command

    monkeypatch.setitem(SAMPLE_SIZES, "tiny", MINI)
    arguments = ["sample", str(tmp_path), "--size", "tiny", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", arguments)
    command.main()
    assert "synthetic video 2 of 2" in capsys.readouterr().out
    with (tmp_path / "manifest.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4
