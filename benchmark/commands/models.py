"""The verbs about models themselves: `weights`, `export-model`, `features`."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.benchmark import Changes, Preset, Pretrained
from benchmark.commands.shared import BENCHMARK
from musclemap_data.commands.shared import DEFAULT_DATA, AsJson, Data, examples

if TYPE_CHECKING:
    from torch import nn

    from benchmark.settings import Settings

app = typer.Typer()


@app.command(
    rich_help_panel=BENCHMARK,
    epilog=examples(
        "`musclemap weights`",
        "`musclemap weights --json` (with the addresses)",
    ),
)
def weights(as_json: AsJson = False) -> None:
    """List the public weights that models can start from: publisher, file, size, licence.

    Nothing is downloaded. Get a file from its publisher and give its path with `--pretrained
    MODEL=PATH`. Models that are not listed have no public weights in a form that is read here.
    """
    from benchmark.cells import aligned
    from benchmark.models.public import PUBLIC_WEIGHTS

    if as_json:
        rows = [
            {**asdict(each), "file": each.file, "licence": each.licence} for each in PUBLIC_WEIGHTS
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    lines = [["model", "publisher", "trained on", "file", "size", "sha256", "licence", "input"]]
    for each in PUBLIC_WEIGHTS:
        lines.append(
            [
                each.model,
                each.publisher,
                each.trained_on,
                each.file,
                "not stated" if each.size_mb is None else f"{each.size_mb:.1f} MB",
                "not stated" if each.sha256 is None else f"{each.sha256}...",
                each.licence,
                " ".join(f"{name}={value}" for name, value in each.recipe.items()),
            ]
        )
    typer.echo("\n".join(aligned(lines)))
    typer.echo(
        "\nInput: the settings that the weights were trained with, for --set. Licence: of the "
        "publisher's repository;\nnone is stated for the weights apart from it. Size and the first "
        "digits of the SHA-256: as the publisher states them."
    )
    for publisher, url in sorted({(w.publisher, w.url.rpartition("/")[0]) for w in PUBLIC_WEIGHTS}):
        typer.echo(f"{publisher}: {url}/")
    typer.echo("Start from one: musclemap benchmark --pretrained MODEL=PATH")


@app.command(
    rich_help_panel=BENCHMARK,
    epilog=examples(
        "`musclemap export-model stgcn-base-seed0 --out stgcn.onnx`",
        "`musclemap export-model --size 256x340` (the best run of DATA)",
    ),
)
def export_model(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN]",
            help="A finished run: its name in DATA/runs, or its folder. Default: the one with the "
            "highest validation mAP.",
        ),
    ] = None,
    data: Data = DEFAULT_DATA,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file. Default: RUN/model.onnx.")
    ] = None,
    size: Annotated[
        str, typer.Option(help="HEIGHTxWIDTH of the frames that will go in, pixels.")
    ] = "256x455",
    as_json: AsJson = False,
) -> None:
    """Write a trained model as ONNX: frames go in, probabilities of 20 regions come out.

    Cropping, resizing and normalisation are inside. A JSON file beside it says what goes in and
    comes out. With onnxruntime installed the file is checked against PyTorch before it is kept.
    """
    from benchmark.finished import choose_run
    from benchmark.portable import export_model as export
    from benchmark.predict.runs import load_run
    from musclemap_data.errors import UserError

    if not (found := re.fullmatch(r"(\d{1,5})x(\d{1,5})", size)):
        raise UserError(f"size is {size!r}; give HEIGHTxWIDTH, such as 256x455")
    folder, why = choose_run(data, run)
    typer.echo(f"run {folder.name}: {why}", err=True)
    done = export(
        load_run(folder, why, device_name="cpu"),
        out or folder / "model.onnx",
        height=int(found[1]),
        width=int(found[2]),
    )
    if as_json:
        typer.echo(json.dumps({"path": str(done.path), "difference": done.difference}))
        return
    typer.echo(done.path)
    checked = (
        "not checked: onnxruntime is not installed"
        if done.difference is None
        else f"probabilities differ from PyTorch's by at most {done.difference:.1e}"
    )
    typer.echo(f"{checked}; inputs and outputs: {done.path.with_suffix('.json')}", err=True)


@app.command(
    rich_help_panel=BENCHMARK,
    epilog=examples(
        "`musclemap features --encoder mvit_v2_s --preset base --pretrained "
        "mvit_v2_s=mvit_v2_s-ae3be167.pth --out features.parquet`",
        "`musclemap features --encoder stgcn-base-seed0` (a finished run)",
        "`musclemap features --encoder weights/vjepa2 --out vjepa2.parquet` (transformers)",
        "`musclemap features --encoder weights/clip --texts texts.csv --out embeddings.csv`",
    ),
)
def features(
    encoder: Annotated[
        str,
        typer.Option(
            help="A finished run (its name in DATA/runs, or its folder), a model, or a folder with "
            "a model of the transformers library."
        ),
    ],
    data: Data = DEFAULT_DATA,
    preset: Preset = None,
    change: Changes = None,
    pretrained: Pretrained = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The file. Default: DATA/features/ENCODER.parquet."),
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option(
            help="Instead of clips: a CSV file with the columns name and text. Their embeddings, "
            "by a CLIP or SigLIP, are what `--model zero-shot --set texts=FILE` reads."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Keep the features of every clip, so that heads train on them in seconds.

    A finished run brings its own settings and weights. A model starts from `--pretrained`; without
    it its weights are random, which is a baseline of its own. A folder in the form of the
    transformers library (config.json, model.safetensors, preprocessor_config.json) says its own
    sizes. Then train a head: `musclemap benchmark --model probe --set features=FILE`.
    """
    from benchmark.encode import write_features
    from benchmark.machine import choose_device, prepare_torch

    if texts is not None:
        _embed_texts(encoder, texts, out, as_json)
        return
    model, settings, about = _encoder(encoder, data, preset, change, pretrained)
    device = choose_device(settings.device)
    prepare_torch(settings, device)
    done = write_features(
        model.to(device),
        about,
        data,
        settings,
        out or data / "features" / f"{Path(encoder).name}.parquet",
        device=device,
        progress_bar=not as_json,
    )
    if as_json:
        typer.echo(json.dumps({**asdict(done), "path": str(done.path)}))
        return
    typer.echo(done.path)
    typer.echo(
        f"{done.width} features of {done.views} views of {done.clips} clips. Next: musclemap "
        f"benchmark --model probe --set features={done.path}",
        err=True,
    )


def _encoder(
    encoder: str,
    data: Path,
    preset: str | None,
    change: list[str] | None,
    pretrained: str | None,
) -> tuple[nn.Module, Settings, dict[str, object]]:
    """The frozen network that ``--encoder`` names, its settings, and what it is."""
    from benchmark.compare import default_preset
    from benchmark.finished import find_run
    from benchmark.models import MODELS
    from benchmark.models.published import is_published, load_encoder
    from benchmark.models.weights import weights_for
    from benchmark.predict.runs import load_run
    from benchmark.run import Run
    from benchmark.settings import Settings
    from musclemap_data.errors import UserError
    from musclemap_data.files import file_sha256

    published = is_published(Path(encoder))
    chosen = preset or default_preset()
    if published:
        if pretrained:
            raise UserError(f"{encoder} has weights of its own: leave --pretrained out")
        network = load_encoder(Path(encoder))
        frames = Settings.from_preset(chosen).frames
        settings = Settings.from_preset(chosen, **network.changes(frames))
        settings = settings.with_overrides(change or [])
        weights = {path.name: file_sha256(path) for path in Path(encoder).glob("*.safetensors")}
        return network, settings, {"transformers": weights, "settings": settings.to_dict()}
    if encoder in MODELS:
        settings = Settings.from_preset(chosen).with_overrides(change or [])
        start = weights_for(pretrained, encoder, MODELS)
        if start is not None:
            settings = settings.with_overrides([f"pretrained={start}"])
        else:
            typer.echo(f"{encoder} has random weights; give some with --pretrained", err=True)
        model = Run(data, encoder, settings).new_model()
        return model, settings, {"model": encoder, "start": start, "settings": settings.to_dict()}
    if preset or change or pretrained:
        raise UserError("a finished run has its own settings and weights: leave these out")
    run = load_run(find_run(data / "runs", encoder))
    return run.model, run.settings, {"run": run.record.run, "settings": run.settings.to_dict()}


def _embed_texts(encoder: str, texts: Path, out: Path | None, as_json: bool) -> None:
    from benchmark.models.published import embed_texts, read_texts
    from benchmark.models.zero_shot import write_embeddings

    path = out or Path(f"{texts.stem}-embeddings.csv")
    found = embed_texts(Path(encoder), read_texts(texts))
    write_embeddings(path, found)
    if as_json:
        typer.echo(json.dumps({"path": str(path), "texts": len(found)}))
        return
    typer.echo(path)
    typer.echo(
        f"{len(found)} texts. Next: musclemap benchmark --model zero-shot --set texts={path} "
        "--set features=FILE (of the same encoder)",
        err=True,
    )
