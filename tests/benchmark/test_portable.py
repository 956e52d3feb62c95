"""A model as ONNX gives what PyTorch gives, from the frames as they are stored."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest
import simplejpeg
import torch
import torch.nn.functional as F
from typer.testing import CliRunner

from benchmark.data import ClipDataset
from benchmark.portable import export_model, resize_matrix
from benchmark.predict.runs import load_run
from benchmark.run import Run
from benchmark.sampling import view_indices
from benchmark.score import predict
from cli import app
from musclemap_data.errors import UserError
from musclemap_data.shards import Shard
from tests.benchmark.conftest import HEIGHT, WIDTH


def test_the_matrix_is_torchs_antialiased_resizing_of_the_crop():
    picture = torch.rand(1, 1, 40, 30)
    matrix = resize_matrix(40, 6, 28, 10)
    expected = F.interpolate(picture[:, :, 6:34], (10, 30), mode="bilinear", antialias=True)
    torch.testing.assert_close(matrix @ picture, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(matrix.sum(1), torch.ones(10))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["c2d", "stgcn", "transm3e"])
def test_the_file_scores_stored_frames_as_the_benchmark_does(name, dataset_dir, tiny, tmp_path):
    settings = tiny(
        epochs=1, test_views=1, model_width=24, model_depth=4, joint_channels=8, validate_every=0
    )
    Run(dataset_dir, name, settings, runs_dir=tmp_path, name="run").complete()
    run = load_run(tmp_path / "run", device_name="cpu")
    done = export_model(run, tmp_path / "out/model.onnx", height=HEIGHT, width=WIDTH)
    assert done.difference is not None and done.difference < 1e-4
    session = onnxruntime.InferenceSession(done.path, providers=["CPUExecutionProvider"])
    described = json.loads((tmp_path / "out/model.json").read_text())
    assert list(described["inputs"]) == list(run.record.modalities)
    assert len(described["outputs"]["probabilities"]) == 20

    clips = ClipDataset(dataset_dir, ["test_new"], run.record.modalities, settings, train=False)
    expected = predict(run.model, clips, settings, device=torch.device("cpu")).scores
    for index, clip in enumerate(clips.clips):
        inputs = {}
        if "skeleton" in clips.modalities:
            inputs["skeleton"] = clips[index]["skeleton"].numpy()
        if "rgb" in clips.modalities:
            start = clips.items[index][1]
            frames = view_indices(clip.frames, settings.frames, settings.rate, start)
            with Shard(clip.shard) as shard:
                jpegs = shard.row_table(clip.row, ["rgb"]).column("rgb")[0].as_py()
            inputs["rgb"] = np.stack([simplejpeg.decode_jpeg(jpegs[frame]) for frame in frames])
        (scores,) = session.run(None, inputs)
        # Bytes are rounded once here and twice there: a grey level in places.
        np.testing.assert_allclose(scores, expected[index], atol=3e-3)


def test_what_cannot_be_exported_is_said_before_anything_is_written(dataset_dir, tiny, tmp_path):
    settings = tiny(epochs=0, joint_channels=8)
    Run(dataset_dir, "stgcn", settings, runs_dir=tmp_path, name="run").complete()
    run = load_run(tmp_path / "run", device_name="cpu")
    with pytest.raises(UserError, match="too small"):
        export_model(run, tmp_path / "x.onnx", height=8, width=8)
    with pytest.raises(UserError, match=r"\.onnx"):
        export_model(run, tmp_path / "x.pt", height=256, width=256)
    words = ["export-model", str(tmp_path / "run"), "--data", str(dataset_dir)]
    wrong = CliRunner().invoke(app, [*words, "--size", "256"])
    assert wrong.exit_code == 2 and "HEIGHTxWIDTH" in wrong.output
    assert not (tmp_path / "x.onnx").exists()
    done = CliRunner().invoke(app, [*words, "--size", "64x80", "--json"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "run/model.onnx").is_file()
