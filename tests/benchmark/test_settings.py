"""Settings: presets, typed overrides, JSON, and errors that help."""

from __future__ import annotations

import dataclasses
import json

import pytest

from benchmark.settings import PRESETS, Settings, describe_settings
from musclemap_data.errors import UserError


def test_base_is_the_authors_configuration():
    base = Settings.from_preset("base")
    assert (base.frames, base.rate, base.crop_size) == (16, 4, 224)
    assert (base.learning_rate, base.min_learning_rate, base.weight_decay) == (1e-4, 1e-6, 0.05)
    assert (base.epochs, base.batch_size, base.clip_norm) == (10, 16, 1.0)
    assert (base.dropout, base.drop_path, base.erasing) == (0.5, 0.2, 0.25)
    assert (base.randaugment_magnitude, base.randaugment_ops) == (7.0, 4)
    assert (base.jitter_min, base.jitter_max, base.test_views) == (256, 320, 5)


def test_what_the_early_code_never_applied_is_off_in_its_preset():
    early = Settings.from_preset("early-code")
    assert (early.randaugment_ops, early.erasing) == (0, 0.0)
    assert (early.crop_policy, early.resized_area_min) == ("resized", 0.08)
    assert early.early_views and not early.normalise and early.variant == "rgb-diff"
    # What is only configured is not called the paper's.
    lines = dict(line.split(" = ", 1) for line in describe_settings().splitlines())
    assert "never applies" in lines["erasing"] and "never applies" in lines["randaugment_ops"]
    for name in ("crop_size", "crop_policy", "jitter_min", "jitter_max", "epochs"):
        assert "paper" not in lines[name]


def test_a_preset_that_is_set_brings_its_settings():
    tiny = Settings.from_preset("tiny")
    changed = tiny.with_overrides(["epochs=3", "preset=early-code"])
    assert changed == Settings.from_preset("early-code", epochs=3)
    with pytest.raises(UserError, match="did you mean early-code"):
        tiny.with_overrides(["preset=early"])


@pytest.mark.parametrize("name", PRESETS)
def test_presets_name_themselves_and_survive_json(name):
    preset = Settings.from_preset(name)
    assert preset.preset == name
    assert Settings.from_json(preset.to_json()) == preset


def test_every_field_is_documented():
    for field in dataclasses.fields(Settings):
        assert len(field.metadata["doc"]) > 10, field.name
        assert f"{field.name} = " in describe_settings("tiny")


def test_overrides_are_parsed_by_type():
    changed = Settings.from_preset("tiny").with_overrides(
        [
            "epochs=3",
            "learning-rate=3e-4",
            "fusion=off",
            "pretrained=w.safetensors",
            "variant=rgb-diff",
        ]
    )
    assert changed.epochs == 3
    assert changed.learning_rate == 3e-4
    assert changed.fusion is False
    assert changed.pretrained == "w.safetensors"
    assert changed.variant == "rgb-diff"
    assert changed.with_overrides(["pretrained=none"]).pretrained is None


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("epoch=3", "did you mean epochs"),
        ("learning_rat=3", "did you mean learning_rate"),
        ("epochs", "field=value"),
        ("epochs=2.5", "whole number"),
        ("learning_rate=fast", "must be a number"),
        ("learning_rate=nan", "finite"),
        ("fusion=maybe", "true or false"),
        ("distillation=thick", "dense, sparse, none"),
        ("modality=skeleton", "must be one of rgb, rgb-diff, flow"),
        ("epochs=-1", "at least 0"),
        ("dropout=1.5", "within 0 and 1"),
        ("crop_size=500", "above jitter_min"),
        ("accumulate=3", "multiple"),
    ],
)
def test_mistakes_are_explained(assignment, message):
    with pytest.raises(UserError, match=message):
        Settings.from_preset("tiny").with_overrides([assignment])


def test_unknown_presets_and_fields():
    with pytest.raises(UserError, match="did you mean tiny"):
        Settings.from_preset("tny")
    with pytest.raises(UserError, match="did you mean frames"):
        Settings.from_preset("tiny", frame=3)
    with pytest.raises(UserError, match="true or false"):
        Settings.from_json(json.dumps({"fusion": "yes"}))
    with pytest.raises(UserError, match="JSON object"):
        Settings.from_json("[]")


def test_grades_are_a_target_of_the_loss_that_takes_them():
    assert Settings.from_preset("tiny", target="grades").changes() == {"target": "grades"}
    with pytest.raises(UserError, match="target=grades needs loss=bce, not asymmetric"):
        Settings.from_preset("tiny", target="grades", loss="asymmetric")
