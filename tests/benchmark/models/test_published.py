"""Encoders and texts of the transformers library: small ones of random weights, from a folder."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from benchmark.features import read_features
from benchmark.models.published import load_encoder
from benchmark.models.zero_shot import read_embeddings
from musclemap_data.errors import UserError
from tests.benchmark.commands.test_verbs import musclemap

transformers = pytest.importorskip("transformers")
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
PATCHES = {"image_size": 32, "patch_size": 8}
TOWERS = {
    "vision_config": {**SMALL, **PATCHES, "intermediate_size": 32},
    "text_config": {**SMALL, "intermediate_size": 32, "vocab_size": 40, "bos_token_id": 1},
}
PUBLISHED = {
    "VideoMAE": {**SMALL, **PATCHES, "num_frames": 4, "intermediate_size": 32},
    "Timesformer": {**SMALL, **PATCHES, "num_frames": 4, "intermediate_size": 32},
    "VJEPA2": {
        **SMALL,
        "hidden_size": 24,
        "crop_size": 32,
        "patch_size": 8,
        "frames_per_clip": 4,
        "pred_hidden_size": 24,
        "pred_num_attention_heads": 2,
        "pred_num_hidden_layers": 1,
    },
    "Hiera": {"image_size": [64, 64], "embed_dim": 8, "depths": [1] * 4, "num_heads": [1, 1, 2, 2]},
    "Dinov2": {**SMALL, "image_size": 28, "patch_size": 14},
    "CLIP": {**TOWERS, "projection_dim": 12},
}
PIXELS = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}


def published(folder, name, size=32):
    torch.manual_seed(0)
    configuration = getattr(transformers, f"{name}Config")(**PUBLISHED[name])
    getattr(transformers, f"{name}Model")(configuration).save_pretrained(folder)
    about = {**PIXELS, "size": {"shortest_edge": size + 4}, "crop_size": {"height": size}}
    (folder / "preprocessor_config.json").write_text(json.dumps(about))
    return folder


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_encoder_gives_what_transformers_gives(name, tmp_path):
    size = {"Hiera": 64, "Dinov2": 28}.get(name, 32)
    encoder = load_encoder(published(tmp_path / name, name, size))
    changes = encoder.changes(4)
    assert (changes["frames"], changes["crop_size"], changes["test_short_side"]) == (
        4,
        size,
        size + 4,
    )
    network = getattr(transformers, f"{name}Model").from_pretrained(tmp_path / name).eval()
    pictures = torch.rand(2, 3, 4, size, size)
    with torch.inference_mode():
        found = encoder({"rgb": pictures})
        scaled = pictures.transpose(1, 2) - torch.tensor(PIXELS["image_mean"])[:, None, None]
        scaled = scaled / torch.tensor(PIXELS["image_std"])[:, None, None]
        if name in ("VideoMAE", "Timesformer"):
            expected = network(pixel_values=scaled).last_hidden_state.mean(1)
        elif name == "VJEPA2":
            expected = network(scaled, skip_predictor=True).last_hidden_state.mean(1)
        else:
            one_by_one = []
            for clip in scaled:
                if name == "CLIP":
                    hidden = network.vision_model(clip).pooler_output
                    one_by_one.append(network.visual_projection(hidden).mean(0))
                else:
                    one_by_one.append(network(clip).last_hidden_state.mean((0, 1)))
            expected = torch.stack(one_by_one)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_the_verb_takes_a_folder_of_transformers(dataset_dir, tmp_path):
    folder, out = published(tmp_path / "videomae", "VideoMAE"), tmp_path / "videomae.parquet"
    done = musclemap("features", "--encoder", folder, "--data", dataset_dir, "--out", out)
    assert done.exit_code == 0, done.output
    found = read_features(out)
    assert len(found) == 42
    assert {rows.shape[1] for rows in found.values()} == {16}


def test_a_model_with_code_or_a_pickle_or_nothing_is_refused_in_plain_words(tmp_path):
    folder = published(tmp_path / "own", "Dinov2", 28)
    about = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**about, "auto_map": {"AutoModel": "x.Y"}}))
    with pytest.raises(UserError, match="brings Python code of its own"):
        load_encoder(folder)
    (folder / "config.json").write_text(json.dumps({**about, "model_type": "nothing-like-it"}))
    with pytest.raises(UserError, match="cannot be read by transformers"):
        load_encoder(folder)
    (folder / "config.json").write_text(json.dumps(about))
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="safetensors"):
        load_encoder(folder)
    missing = published(tmp_path / "missing", "Dinov2", 28)
    (missing / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match="has no video_preprocessor_config"):
        load_encoder(missing)


def test_texts_become_embeddings_in_the_space_of_the_pictures(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = published(tmp_path / "clip", "CLIP")
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "arms": 5, "legs": 6}, "[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[UNK]").save_pretrained(
        folder
    )
    (tmp_path / "texts.csv").write_text("name,text\nfirst,arms\nsecond,legs arms\n")
    out = tmp_path / "embeddings.csv"
    done = musclemap(
        "features", "--encoder", folder, "--texts", tmp_path / "texts.csv", "--out", out
    )
    assert done.exit_code == 0, done.output
    found = read_embeddings(out)
    network = transformers.CLIPModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        hidden = network.text_model(input_ids=torch.tensor([[6, 5]])).pooler_output
        expected = network.text_projection(hidden)[0]
    np.testing.assert_allclose(found["second"], expected, atol=1e-5)
