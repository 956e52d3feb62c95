"""The verb `weights`: which public weights each model can start from."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from benchmark.commands.shared import BENCHMARK
from musclemap_data.commands.shared import AsJson, examples

app = typer.Typer()


@app.command(
    rich_help_panel=BENCHMARK,
    epilog=examples(
        "`musclemap weights`",
        "`musclemap benchmark --model slow,mvit_v2_s --preset base "
        "--pretrained slow=SLOW_8x8_R50.pyth,mvit_v2_s=mvit_v2_s-ae3be167.pth`",
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
