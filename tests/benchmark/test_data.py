"""Clips from shards: rules for views, the same batches everywhere, errors with an address."""

from __future__ import annotations

import pickle
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import simplejpeg
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark import data
from benchmark.clips import read_clips
from benchmark.data import ClipDataset
from benchmark.loader import Loader
from benchmark.machine import to_device
from benchmark.sampling import TrainingBatches, evaluation_batches, view_indices, view_starts
from musclemap_data.catalog import SPLITS, load_activities, load_table
from musclemap_data.errors import UserError
from musclemap_data.modalities.jpeg import cut_out, encode_jpeg
from musclemap_data.shards import Shard, shard_path, write_dataset_info, write_shard
from tests.benchmark.conftest import BOUND_PX, jpeg, make_row, write_dataset

ALL = ("rgb", "rgb_diff", "flow", "skeleton")
SQUAT = load_activities()["squat"]


@given(st.integers(1, 300), st.integers(1, 32), st.integers(1, 8), st.integers(1, 10))
def test_views_stay_inside_the_clip(clip_frames, frames, rate, views):
    starts = view_starts(clip_frames, frames, rate, views)
    assert 1 <= len(starts) <= views
    assert len(set(starts)) == len(starts)
    for start in starts:
        indices = view_indices(clip_frames, frames, rate, start)
        assert len(indices) == frames
        assert indices.min() >= 0
        assert indices.max() < clip_frames
        assert (np.diff(indices) >= 0).all()
        if (frames - 1) * rate + 1 <= clip_frames:
            assert (np.diff(indices) == rate).all()
    if len(starts) > 1:
        first = view_indices(clip_frames, frames, rate, starts[0])
        last = view_indices(clip_frames, frames, rate, starts[-1])
        assert first[0] == 0
        assert last[-1] == clip_frames - 1


@pytest.mark.parametrize("modalities", [ALL, ("rgb",), ("flow", "skeleton")])
def test_augmentation_on_the_device_gives_what_the_workers_would(dataset_dir, tiny, modalities):
    changes = {"randaugment_ops": 4, "erasing": 0.7}
    batches = TrainingBatches(12, 6, seed=0, epochs=2)
    found = {}
    for where in ("workers", "device"):
        settings = tiny(augment_on=where, **changes)
        dataset = ClipDataset(dataset_dir, ["train"], modalities, settings, train=True)
        loaded = list(Loader(dataset, batches, workers=0))
        assert all((data.DRAWS in batch) == (where == "device") for batch in loaded)
        found[where] = [to_device(batch, torch.device("cpu"), settings) for batch in loaded]
    for ours, theirs in zip(found["workers"], found["device"], strict=True):
        assert ours.keys() == theirs.keys()
        for name, values in ours.items():
            torch.testing.assert_close(theirs[name], values, rtol=0, atol=0, equal_nan=True)
    plain = tiny(randaugment_ops=0, erasing=0.0)
    still = ClipDataset(dataset_dir, ["train"], modalities, plain, train=True)
    first = to_device(next(iter(Loader(still, batches, workers=0))), torch.device("cpu"), plain)
    assert not torch.equal(first[modalities[0]], found["device"][0][modalities[0]])


def test_a_test_view_is_never_augmented_on_the_device(dataset_dir, tiny):
    settings = tiny(augment_on="device", randaugment_ops=4, erasing=1.0)
    dataset = ClipDataset(dataset_dir, ["train"], ["rgb"], settings, train=False)
    assert data.DRAWS not in dataset[0]


def test_short_clips_are_spread_not_padded():
    assert view_starts(5, 8, 4, 5) == [0]
    assert view_indices(5, 8, 4, 0).tolist() == [0, 1, 1, 2, 2, 3, 3, 4]
    assert view_indices(20, 8, 4, 0).tolist()[-1] == 19
    assert view_indices(1, 4, 4, 0).tolist() == [0, 0, 0, 0]
    assert view_starts(64, 8, 4, 1) == [17]


def test_items_have_the_contracts_shapes(dataset_dir, tiny):
    dataset = ClipDataset(dataset_dir, ["train"], ALL, tiny(), train=True)
    assert len(dataset) == len(dataset.clips) == 12
    item = dataset[0]
    assert item["rgb"].shape == item["rgb_diff"].shape == (3, 4, 32, 32)
    assert item["flow"].shape == (2, 4, 32, 32)
    assert item["skeleton"].shape == (1, 4, 17, 3)
    assert item["muscles"].shape == (20,)
    normalised = data.normalise_batch(item)
    names = {"clip", "activity"}
    assert all(v.dtype == torch.float32 for name, v in normalised.items() if name not in names)
    assert item["muscles"].bool().tolist() == list(dataset.clips[0].muscles)
    batch = next(iter(Loader(dataset, evaluation_batches(12, 4), workers=0)))
    assert batch["rgb"].shape == (4, 3, 4, 32, 32)
    assert batch["skeleton"].shape == (4, 1, 4, 17, 3)
    only = ClipDataset(dataset_dir, ["train"], ["skeleton"], tiny(), train=True)[0]
    assert set(only) == {"skeleton", "muscles", "clip", "activity"}
    # One number an activity, in every process and data set; whole in int64.
    numbers = {clip.activity: dataset[n]["activity"].item() for n, clip in enumerate(dataset.clips)}
    assert len(set(numbers.values())) == len(numbers) == 4
    assert numbers["hop"] == 15743707774018705


def test_values_are_normalised(tmp_path, tiny):
    row = make_row("one", "hop", "train", frames=10)
    plain = np.full((48, 64, 3), 200, np.uint8)
    row["rgb"] = [jpeg(plain)] * 10
    row["rgb_diff"] = [jpeg(np.zeros_like(plain))] * 10
    directory = write_dataset(tmp_path / "d", {"train": [row]})
    dataset = ClipDataset(directory, ["train"], ALL, tiny(), train=False)
    item = data.normalise_batch(dataset[0])
    assert item["rgb"].mean() == pytest.approx((200 / 255 - 0.45) / 0.225, abs=0.02)
    assert item["rgb_diff"].abs().max() < 0.02
    assert item["flow"][0].mean() == pytest.approx(1 / BOUND_PX, abs=0.005)
    assert item["flow"][1].mean() == pytest.approx(0.0, abs=0.005)


def test_frames_are_the_sampled_ones(tmp_path, tiny):
    """Each frame carries its number as its brightness."""
    row = make_row("one", "hop", "train", frames=40)
    row["rgb"] = [jpeg(np.full((48, 64, 3), 5 * t, np.uint8)) for t in range(40)]
    directory = write_dataset(tmp_path / "d", {"train": [row]})
    dataset = ClipDataset(directory, ["train"], ["rgb"], tiny(test_views=3), train=False)
    assert [start for _, start in dataset.items] == [0, 15, 30]
    for index, (_, start) in enumerate(dataset.items):
        seen = (dataset[index]["rgb"].float() / 5).mean(dim=(0, 2, 3))
        np.testing.assert_allclose(seen, start + 3 * np.arange(4), atol=0.25)


def test_reduced_decoding_changes_next_to_nothing(tmp_path, tiny):
    """Half-size JPEG decoding is used where the input is at most half the stored frame."""
    rows = [make_row("big", "hop", "train", frames=8, height=144, width=192)]
    directory = write_dataset(tmp_path / "d", {"train": rows})
    settings = tiny(crop_size=64, jitter_min=72, jitter_max=72, test_short_side=72)
    reduced = ClipDataset(directory, ["train"], ["rgb"], settings, train=False)[0]["rgb"].float()
    encoded = rows[0]["rgb"][0]
    assert simplejpeg.decode_jpeg(encoded, min_height=72, min_factor=2.0).shape[0] == 72
    full = torch.from_numpy(simplejpeg.decode_jpeg(encoded)).permute(2, 0, 1)[None]
    geometry = data.augment.centre_geometry(144, 192, settings)
    exact = data.augment.crop_frames(full, geometry, 144, 192, 64)[0].float()
    # Noise is the hardest picture to halve; a wrong crop differs by three times as much.
    assert (reduced[:, 0] - exact).abs().mean() < 6
    assert (reduced[:, 0].roll(1, dims=-1) - exact).abs().mean() > 8


@pytest.mark.parametrize("policy", ["jitter", "resized"])
def test_decoding_the_part_that_a_view_shows_changes_nothing(tmp_path, tiny, policy, monkeypatch):
    """Stored pictures have restart markers; those of older shards and other writers have not."""
    names = [f"clip-{number}" for number in range(6)]
    rows = [make_row(name, "hop", "train", height=110, width=182) for name in names]
    for row in rows:
        pictures = [simplejpeg.decode_jpeg(picture) for picture in row["rgb"]]
        row["rgb"] = [encode_jpeg(picture, 90) for picture in pictures]
    directory = write_dataset(tmp_path / "d", {"train": rows})
    settings = tiny(
        crop_size=64, crop_policy=policy, jitter_min=72, jitter_max=140, test_short_side=72
    )
    dataset = ClipDataset(directory, ["train"], ["rgb"], settings, train=True)
    assert simplejpeg.decode_jpeg_header(rows[0]["rgb"][0])[:2] == (110, 182)

    sizes = []

    def counted(jpegs, box):
        found = cut_out(jpegs, box)
        sizes.append(len(found[0][0]) < len(jpegs[0]))
        return found

    monkeypatch.setattr(data, "cut_out", counted)
    parts = [dataset[epoch, index]["rgb"] for epoch in range(3) for index in range(len(rows))]
    assert any(sizes)
    monkeypatch.setattr(data, "cut_out", lambda jpegs, box: (jpegs, 0, 0))
    whole = [dataset[epoch, index]["rgb"] for epoch in range(3) for index in range(len(rows))]
    assert all(torch.equal(part, other) for part, other in zip(parts, whole, strict=True))


def test_batches_do_not_depend_on_workers_or_processes(dataset_dir, tiny):
    settings = tiny(randaugment_ops=2, erasing=0.5)
    dataset = ClipDataset(dataset_dir, ["train"], ALL, settings, train=True)

    def batches(workers: int, **options: int) -> list[data.Batch]:
        sampler = TrainingBatches(12, 4, seed=3, epochs=2, **options)
        return list(Loader(dataset, sampler, workers=workers))

    alone = batches(0)
    assert len(alone) == 6
    for other in (batches(2), batches(1)):
        for left, right in zip(alone, other, strict=True):
            assert all(torch.equal(left[name], right[name]) for name in left)
    shares = [batches(0, rank=rank, processes=2) for rank in (0, 1)]
    for whole, first, second in zip(alone, *shares, strict=True):
        for name in whole:
            assert torch.equal(whole[name][0::2], first[name])
            assert torch.equal(whole[name][1::2], second[name])
    resumed = batches(0, start_step=4)
    assert len(resumed) == 2
    assert torch.equal(resumed[0]["rgb"], alone[4]["rgb"])


def test_items_keep_their_values_when_others_are_read(dataset_dir, tiny):
    """Frames are decoded into a buffer that is used again; even where nothing is resized."""
    settings = tiny(frames=1, crop_size=48, jitter_min=48, jitter_max=48, test_short_side=48)
    dataset = ClipDataset(dataset_dir, ["train"], ALL, settings, train=False)
    first = dataset[0]
    copies = {name: value.clone() for name, value in first.items()}
    for index in range(len(dataset)):
        dataset[index]
    assert all(torch.equal(first[name], copies[name]) for name in first)


def test_epochs_differ_and_repeat(dataset_dir, tiny):
    dataset = ClipDataset(dataset_dir, ["train"], ["rgb"], tiny(), train=True)
    assert torch.equal(dataset[(1, 5)]["rgb"], dataset[(1, 5)]["rgb"])
    assert not torch.equal(dataset[(1, 5)]["rgb"], dataset[(2, 5)]["rgb"])
    # What a model reads does not change what it gets.
    everything = ClipDataset(dataset_dir, ["train"], ALL, tiny(), train=True)
    assert torch.equal(dataset[(1, 5)]["rgb"], everything[(1, 5)]["rgb"])


def test_early_views_are_two_crops_of_the_same_frames_and_the_second_difference_is_blank(
    dataset_dir, tiny
):
    settings = tiny(early_views=True, crop_policy="resized", flip=0.0)
    dataset = ClipDataset(dataset_dir, ["train"], ["rgb", "rgb_diff"], settings, train=True)
    batches = TrainingBatches(12, 4, seed=3, epochs=1, views=2)
    keys = next(iter(batches))
    assert [key[2] for key in keys] == [0, 1] * 4 and len({key[1] for key in keys}) == 4
    first, second = dataset[keys[0]], dataset[keys[1]]
    assert first["clip"] == second["clip"]
    assert not torch.equal(first["rgb"], second["rgb"])
    assert first["rgb_diff"].any() and not second["rgb_diff"].any()
    # Alone, as a sender that is trained first, the difference has its own two crops.
    alone = ClipDataset(dataset_dir, ["train"], ["rgb_diff"], settings, train=True)
    assert torch.equal(alone[keys[1]]["rgb_diff"], first["rgb_diff"])
    assert not torch.equal(alone[keys[0]]["rgb_diff"], first["rgb_diff"])
    # Two processes share a batch clip by clip.
    shares = [next(iter(TrainingBatches(12, 4, seed=3, epochs=1, views=2, rank=rank, processes=2)))
              for rank in (0, 1)]  # fmt: skip
    assert sorted(shares[0] + shares[1]) == sorted(keys)


def test_pictures_may_stay_between_0_and_1():
    bytes_ = torch.tensor([0, 255], dtype=torch.uint8)
    plain = data.normalise_batch({"rgb": bytes_, "rgb_diff": bytes_, "flow": bytes_}, False)
    assert plain["rgb"].tolist() == plain["rgb_diff"].tolist() == [0.0, 1.0]
    assert plain["flow"].tolist() == [-1.0, 1.0]  # 128 is no movement, with and without
    assert data.normalise_batch({"rgb": bytes_})["rgb"].tolist() == pytest.approx([-2.0, 2.4444444])


def test_each_epoch_takes_each_clip_at_most_once():
    batches = TrainingBatches(13, 4, seed=1, epochs=2)
    taken = list(batches)
    assert len(batches) == len(taken) == 6
    assert batches.steps_per_epoch == 3
    for epoch in (0, 1):
        indices = [item for batch in taken[3 * epoch : 3 * epoch + 3] for item in batch]
        assert len(set(indices)) == 12
        assert {number for number, *_ in indices} == {epoch}
    orders = [[index for _, index, _ in taken[3 * epoch]] for epoch in (0, 1)]
    assert orders[0] != orders[1]
    for start in range(7):
        rest = TrainingBatches(13, 4, seed=1, epochs=2, start_step=start)
        assert list(rest) == taken[start:]
        assert len(rest) == 6 - start
    assert [len(batch) for batch in TrainingBatches(3, 4, seed=0, epochs=1)] == [3]
    assert list(TrainingBatches(0, 4, seed=0, epochs=1)) == []


def test_testing_takes_each_item_exactly_once():
    assert [len(batch) for batch in evaluation_batches(13, 4)] == [4, 4, 4, 1]
    shares = [evaluation_batches(13, 4, rank=rank, processes=3) for rank in range(3)]
    assert sorted(item for share in shares for batch in share for item in batch) == [
        (0, index) for index in range(13)
    ]
    assert evaluation_batches(0, 4) == []


def test_a_missing_modality_names_the_command(tmp_path, tiny):
    rows = [make_row("a", "hop", "train"), make_row("b", "hop", "train", without=("flow",))]
    directory = write_dataset(tmp_path / "d", {"train": rows})
    dataset = ClipDataset(directory, ["train"], ["flow"], tiny(), train=True)
    assert dataset[0]["flow"].shape[0] == 2
    with pytest.raises(UserError, match=r"clip b .* has no flow.*--modalities flow"):
        dataset[1]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_flipped_byte_stops_with_the_address_and_nothing_else(tmp_path, tiny, workers):
    directory = write_dataset(
        tmp_path / "d", {"train": [make_row(name, "hop", "train") for name in "abc"]}
    )
    path = shard_path(directory, "train", 0)
    content = bytearray(path.read_bytes())
    second = pq.ParquetFile(path).metadata.row_group(1)
    columns = [second.column(place) for place in range(second.num_columns)]
    start = next(c.data_page_offset for c in columns if c.path_in_schema.startswith("rgb."))
    content[start + 5000] ^= 0xFF
    path.write_bytes(content)
    dataset = ClipDataset(directory, ["train"], ["rgb"], tiny(), train=True)
    loader = Loader(dataset, evaluation_batches(3, 1), workers=workers)
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        list(loader)
    message = str(caught.value)
    assert str(path) in message
    assert "row 1" in message
    assert "Traceback" not in message
    assert time.monotonic() - started < 4  # PyTorch's own way takes five seconds to stop a worker


def test_checksums_are_checked_once_a_clip_in_each_process(tmp_path, tiny, monkeypatch):
    directory = write_dataset(
        tmp_path / "d", {"train": [make_row(name, "hop", "train") for name in "ab"]}
    )
    opened: list[bool] = []

    class Counted(Shard):
        def __init__(self, path, *, verify=False):
            super().__init__(path, verify=verify)
            self.verify = verify

        def row_table(self, index, columns=None):
            opened.append(self.verify)
            return super().row_table(index, columns)

        def pictures(self, index, column):
            opened.append(self.verify)
            return super().pictures(index, column)

    monkeypatch.setattr(data, "Shard", Counted)
    dataset = ClipDataset(directory, ["train"], ["rgb"], tiny(), train=True)
    items = [dataset[(epoch, index)]["rgb"] for epoch in (0, 1) for index in (0, 1)]
    assert opened == [True, True, False, False]
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy[(1, 1)]["rgb"], items[-1])
    assert opened[-1] is True
    unchecked = ClipDataset(directory, ["train"], ["rgb"], tiny(), train=True, verify=False)
    assert torch.equal(unchecked[0]["rgb"], items[0])
    assert opened[-1] is False


def test_other_splits_can_be_assigned(dataset_dir):
    clips = read_clips(dataset_dir, SPLITS)
    turned = {clip.clip_id: "train" for clip in clips if clip.split == "test_new"}
    turned |= {clip.clip_id: "test_new" for clip in clips if clip.split == "train"}
    found = read_clips(dataset_dir, ("train", "test_new"), assigned=turned)
    assert [clip.split for clip in found] == ["train"] * 9 + ["test_new"] * 12
    assert all(clip.clip_id.startswith("test_new-") for clip in found[:9])
    some = read_clips(dataset_dir, ["train"], {found[0].clip_id}, turned)
    assert some == [found[0]]


def test_a_broken_image_and_wrong_counts_name_the_clip(tmp_path, tiny):
    broken = make_row("broken", "hop", "train")
    broken["rgb"] = [image[: len(image) // 2] for image in broken["rgb"]]
    short = make_row("short", "hop", "train")
    short["rgb"] = short["rgb"][:-1]
    small = make_row("small", "hop", "train")
    small["height"] = 47
    mixed = make_row("mixed", "hop", "train", frames=4)
    mixed["rgb"][3] = jpeg(np.zeros((40, 64, 3)))
    larger = make_row("larger", "hop", "train", frames=4)
    larger["rgb"][3] = jpeg(np.zeros((480, 640, 3)))
    joints = make_row("joints", "hop", "train")
    joints["skeleton"] = joints["skeleton"][:-3]
    directory = write_dataset(
        tmp_path / "d", {"train": [broken, short, small, joints, mixed, larger]}
    )
    dataset = ClipDataset(directory, ["train"], ["rgb"], tiny(), train=True)
    with pytest.raises(UserError, match=r"clip broken .* image \d+ of rgb cannot be decoded"):
        dataset[0]
    with pytest.raises(UserError, match=r"clip short .* 23 images, not 24"):
        dataset[1]
    with pytest.raises(UserError, match=r"clip small .* 48 x 64, not 47 x 64"):
        dataset[2]
    with pytest.raises(UserError, match=r"clip mixed .*image 3 .* 40 x 64, not 48 x 64"):
        dataset[4]
    with pytest.raises(UserError, match=r"clip larger .*image 3 of rgb"):
        dataset[5]
    dataset = ClipDataset(directory, ["train"], ["skeleton"], tiny(), train=True)
    with pytest.raises(UserError, match=r"clip joints .* values, not 24 frames"):
        dataset[3]


def test_labels_of_the_wrong_width_are_refused(tmp_path, tiny):
    directory = write_dataset(tmp_path / "d", {"train": [make_row("a", "hop", "train")]})
    path = shard_path(directory, "train", 0)
    table = pq.read_table(path)
    muscles = pa.array([[True] * 19], pa.list_(pa.bool_(), 19))
    position = table.schema.get_field_index("muscles")
    metadata = table.schema.metadata
    table = table.set_column(position, "muscles", muscles).replace_schema_metadata(metadata)
    pq.write_table(table, path)
    with pytest.raises(UserError, match=r"muscles.*\[19\]"):
        ClipDataset(directory, ["train"], ["rgb"], tiny(), train=True)


def test_rows_of_another_split_are_refused(tmp_path, tiny):
    directory = write_dataset(tmp_path / "d", {"train": []})
    write_shard(shard_path(directory, "train", 0), [make_row("a", "hop", "test_new")])
    with pytest.raises(UserError, match="test_new"):
        ClipDataset(directory, ["train"], ["rgb"], tiny(), train=True)


def test_an_empty_split_is_an_empty_dataset(tmp_path, tiny):
    directory = write_dataset(tmp_path / "d", {"train": []})
    dataset = ClipDataset(directory, ["train", "val_new"], ["rgb"], tiny(), train=False)
    assert len(dataset) == 0
    assert dataset.labels().shape == (0, 20)
    assert list(Loader(dataset, evaluation_batches(0, 4), workers=2)) == []


def test_subset_and_single_frames(tmp_path, tiny):
    rows = [make_row("a", "hop", "train"), make_row("b", "hop", "train", frames=1)]
    directory = write_dataset(tmp_path / "d", {"train": rows})
    dataset = ClipDataset(directory, ["train"], ALL, tiny(people=2), train=True, subset={"b"})
    assert [clip.clip_id for clip in dataset.clips] == ["b"]
    item = dataset[0]
    assert (item["flow"] == 128).all()
    assert item["skeleton"].shape == (2, 4, 17, 3)
    assert (item["skeleton"][1] == 0).all()


def test_datasets_travel_to_other_processes(dataset_dir, tiny):
    dataset = ClipDataset(dataset_dir, ["train"], ["rgb"], tiny(), train=True)
    first = dataset[0]["rgb"]
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy[0]["rgb"], first)


def pose(x: float = 50.0, y: float = 40.0, scale: float = 1.0) -> np.ndarray:
    """A standing figure over 6 frames, torso 10 px at scale 1; it moves right 1 px a frame."""
    points = np.zeros((6, 1, 17, 3), np.float32)
    points[..., 2] = 0.9
    layout = np.random.default_rng(0).uniform(-12, 12, (17, 2))
    layout[[5, 6]] = [(-3, -10), (3, -10)]
    layout[[11, 12]] = [(-2, 0), (2, 0)]
    points[:, 0, :, :2] = layout * scale + (x, y)
    points[..., 0] += scale * np.arange(6)[:, None, None]
    return points


def test_skeletons_are_free_of_place_and_size():
    small = data.normalise_skeleton(pose(), 0.3)
    large = data.normalise_skeleton(pose(x=300, y=200, scale=4.0), 0.3)
    np.testing.assert_allclose(small, large, atol=1e-4)
    hips = (small[:, 0, 11, :2] + small[:, 0, 12, :2]) / 2
    np.testing.assert_allclose(np.median(hips, axis=0), 0, atol=1e-5)
    assert hips[-1, 0] - hips[0, 0] == pytest.approx(0.5, abs=0.01)  # 5 px of a torso of 10


def test_hidden_joints_are_zero_and_do_not_disturb():
    points = pose()
    points[2, 0, 9] = (9999, -9999, 0.05)
    points[3, 0, :, :2] = np.nan
    points[3, 0, :, 2] = 0
    result = data.normalise_skeleton(points, 0.3)
    assert np.isfinite(result).all()
    assert (result[2, 0, 9] == 0).all()
    assert (result[3] == 0).all()
    untouched = data.normalise_skeleton(pose(), 0.3)
    np.testing.assert_allclose(result[0], untouched[0], atol=0.06)


@pytest.mark.parametrize("kept", [[], [0], [0, 9], [5, 6], [11, 12]])
def test_partial_and_empty_skeletons_stay_finite(kept):
    points = pose()
    hidden = [joint for joint in range(17) if joint not in kept]
    points[:, :, hidden] = (np.nan, np.nan, 0)
    result = data.normalise_skeleton(points, 0.3)
    assert np.isfinite(result).all()
    assert np.abs(result[..., :2]).max() < 30
    assert (result[:, :, hidden] == 0).all()
    assert (result[:, :, kept, 2] > 0).all()


def squat_row(split: str, **changes) -> dict:
    return make_row("a", "squat", split, frames=6) | {"muscles": SQUAT.muscles} | changes


def test_grades_are_what_training_learns_where_they_are_asked_for(tmp_path, tiny):
    data = write_dataset(tmp_path / "data", {s: [squat_row(s)] for s in ("train", "test_known")})
    graded = tiny(target="grades")
    training = ClipDataset(data, ["train"], ["skeleton"], graded, train=True)
    assert training.clips[0].grades == SQUAT.grades
    assert training[0]["muscles"].tolist() == pytest.approx(SQUAT.grades)
    assert training.targets().tolist() == [pytest.approx(SQUAT.grades)]
    labels = ClipDataset(data, ["train"], ["skeleton"], tiny(), train=True)
    assert labels[0]["muscles"].tolist() == list(SQUAT.muscles)
    testing = ClipDataset(data, ["test_known"], ["skeleton"], graded, train=False)
    assert testing[0]["muscles"].tolist() == list(SQUAT.muscles)


@pytest.mark.parametrize(
    "row",
    [
        make_row("a", "hop", "train", frames=6),  # an activity of nobody's table
        squat_row("train", muscles=[True] * 20),  # other labels for ours
    ],
)
def test_a_clip_without_grades_stops_a_training_on_grades_and_nothing_else(tmp_path, tiny, row):
    data = write_dataset(tmp_path / "data", {"train": [row]})
    with pytest.raises(UserError, match=r"clip a .* has no grades.*target=labels"):
        ClipDataset(data, ["train"], ["skeleton"], tiny(target="grades"), train=True)
    dataset = ClipDataset(data, ["train"], ["skeleton"], tiny(), train=True)
    assert dataset.clips[0].grades is None
    assert dataset[0]["muscles"].tolist() == row["muscles"]


def test_the_table_that_the_data_set_names_has_the_grades(tmp_path, tiny):
    binary = load_table("open-1")["squat"].muscles
    row = squat_row("train", muscles=binary)
    data = write_dataset(tmp_path / "data", {"train": [row]})
    write_dataset_info(data, {"name": "test", "splits": {}, "activities": "open-1"})
    (clip,) = read_clips(data, ["train"])
    assert clip.grades is None  # that table knows 0 and 1 alone
