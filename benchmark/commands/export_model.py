"""The verb `export-model`: a trained model as ONNX."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.shared import BENCHMARK
from musclemap_data.commands.shared import DEFAULT_DATA, AsJson, Data, examples

app = typer.Typer()


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
    from benchmark.portable import export_model as export
    from benchmark.predict.runs import load_run
    from benchmark.record import choose_run
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
