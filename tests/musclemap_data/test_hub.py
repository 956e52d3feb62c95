"""Push and pull, against a stand-in for the Hub on loopback."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cli import app
from musclemap_data.check.validate import validate_dataset
from musclemap_data.errors import UserError
from musclemap_data.hub import pull_dataset, push_dataset
from musclemap_data.hub_access import HubAddress, read_address
from musclemap_data.shards import Shard, list_shards, read_dataset_info, shard_path
from tests.musclemap_data.tiny_dataset import PLAN, clip_row, write_dataset, write_ledger

MINE = HubAddress("me/squats", "dataset")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = write_dataset(tmp_path / "tiny")
    write_ledger(folder)
    return folder


def test_without_rights_no_picture_leaves_the_machine(hub, data, tmp_path):
    push_dataset(data, MINE, pictures=False, private=False)
    sent = hub.files["datasets", "me/squats"]
    assert not [path for path, content in sent.items() if b"\xff\xd8\xff" in content]
    assert "README.md" in sent
    pull_dataset(MINE, tmp_path / "got")
    with Shard(shard_path(tmp_path / "got", "train", 0)) as shard:
        row = shard.row(0)
    truth = clip_row(*PLAN[0], seed=0)
    assert (row["clip_id"], row["muscles"]) == ("push_01", truth["muscles"])
    np.testing.assert_array_equal(np.float32(row["skeleton"]), truth["skeleton"])
    assert row["rgb"] is row["rgb_diff"] is row["flow"] is None
    assert set(read_dataset_info(tmp_path / "got")["modalities"]) == {"skeleton"}


@pytest.mark.slow
def test_with_rights_the_same_bytes_come_back(hub, data, tmp_path):
    push_dataset(data, MINE, pictures=True, private=False)
    assert pull_dataset(MINE, tmp_path / "got") == 4
    for split in ("train", "val_known", "test_known", "test_new"):
        for mine, theirs in zip(
            list_shards(data, split), list_shards(tmp_path / "got", split), strict=True
        ):
            assert mine.read_bytes() == theirs.read_bytes()
    assert validate_dataset(tmp_path / "got")[1] == []
    assert sorted(path.name for path in data.iterdir()) == [
        "dataset.json",
        "ledger.sqlite",
        "shards",
    ]


@pytest.mark.slow
def test_the_verbs_read_what_was_pushed_where_it_lies(hub, data):
    push_dataset(data, MINE, pictures=True, private=False)

    def run(*words: str):
        return CliRunner().invoke(app, [*words, "--data", "hf://me/squats"])

    hub.sent.clear()
    stats = run("stats", "--json")
    assert stats.exit_code == 0, stats.output
    here = CliRunner().invoke(app, ["stats", "--json", "--data", str(data)])
    assert json.loads(stats.stdout)["splits"] == json.loads(here.stdout)["splits"]
    sizes = sum(path.stat().st_size for path in (data / "shards").iterdir())
    assert 0 < sum(hub.sent.values()) < sizes / 2
    checked = run("validate", "--json")
    assert json.loads(checked.stdout)["problems"] == []
    refused = run("download", "--manifest", "any.csv")
    assert refused.exit_code == 2


def test_a_damaged_file_is_no_data_set(hub, data, tmp_path):
    push_dataset(data, MINE, pictures=True, private=False)
    sent = hub.files["datasets", "me/squats"]
    name = next(path for path in sent if path.startswith("data/train"))
    whole = sent[name]
    sent[name] = whole[:-1] + bytes([whole[-1] ^ 1])
    with pytest.raises(UserError, match=r"train-00000\.parquet is damaged"):
        pull_dataset(MINE, tmp_path / "got")
    assert not (tmp_path / "got" / "dataset.json").exists()
    sent[name] = whole
    assert pull_dataset(MINE, tmp_path / "got") == 4


def test_a_data_set_is_never_pulled_over_another(hub, data):
    push_dataset(data, MINE, pictures=True, private=False)
    before = (data / "dataset.json").read_bytes()
    with pytest.raises(UserError, match="holds a data set already"):
        pull_dataset(MINE, data)
    assert (data / "dataset.json").read_bytes() == before


def test_the_hubs_refusals_say_what_to_do(hub, data, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="is not there, or you may not see it"):
        pull_dataset(HubAddress("me/nothing", "dataset"), tmp_path / "got")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError, match=r"hf auth login|refused"):
        push_dataset(data, MINE, pictures=True, private=False)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("hf://me/x", HubAddress("me/x", "dataset")),
        ("hf://datasets/me/x@v1.2", HubAddress("me/x", "dataset", "v1.2")),
        ("hf://models/me/x", HubAddress("me/x", "model")),
    ],
)
def test_addresses(text, address):
    assert read_address(text) == address


@pytest.mark.parametrize("text", ["me/x", "hf://x", "hf://me/x/y", "s3://me/x", "hf://../x y"])
def test_what_is_no_address(text):
    with pytest.raises(UserError, match="write hf://OWNER/NAME"):
        read_address(text)


@pytest.mark.slow
def test_a_run_travels_with_weights_settings_and_card(hub, data, tmp_path):
    run = data / "runs" / "stgcn-tiny-seed0"
    run.mkdir(parents=True)
    files = {"settings.json": "{}", "metrics.json": "{}", "model.safetensors": "weights"}
    for name, text in {**files, "MODEL_CARD.md": "# stgcn\n", "private.txt": "mine"}.items():
        (run / name).write_text(text)
    pushed = CliRunner().invoke(
        app, ["push", "hf://me/stgcn", "--run", str(run), "--data", str(data)]
    )
    assert pushed.exit_code == 0, pushed.output
    sent = hub.files["models", "me/stgcn"]
    assert sorted(sent) == ["README.md", *sorted(files)]
    assert sent["README.md"].startswith(b"---\nlibrary_name: musclemap\n")
    assert sent["README.md"].endswith(b"# stgcn\n")
    pulled = CliRunner().invoke(
        app, ["pull", "hf://models/me/stgcn", "--data", str(tmp_path / "got")]
    )
    assert pulled.exit_code == 0, pulled.output
    got = tmp_path / "got" / "runs" / "stgcn"
    assert (got / "model.safetensors").read_text() == "weights"
    assert json.loads((got / "settings.json").read_text()) == {}
    again = CliRunner().invoke(
        app, ["pull", "hf://models/me/stgcn", "--data", str(tmp_path / "got")]
    )
    assert again.exit_code == 2
