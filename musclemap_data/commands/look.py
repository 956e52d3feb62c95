"""The verbs that look at a data set and share it: `browse`, `stats`, `validate`, `export`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musclemap_data.commands.shared import (
    DEFAULT_DATA,
    EXIT_SOME_FAILED,
    LOOK,
    MOST_LINES,
    AsJson,
    Data,
    Host,
    OpenPage,
    Port,
    examples,
    listed,
    progress,
    warn,
)

if TYPE_CHECKING:
    from musclemap_data.check.findings import Finding, Kind
    from musclemap_data.check.stats import AnnotationStats

app = typer.Typer()

MOST_PROBLEMS = 100
"""Of a data set whose labels are all wrong, say, so many lines are enough."""


@app.command(
    rich_help_panel=LOOK,
    epilog=examples(
        "`musclemap browse` (opens the page; Ctrl-C ends it)",
        "`musclemap browse --data data/quickstart/data --port 0 --no-open`",
        "`ssh -L 8000:127.0.0.1:8000 HOST musclemap browse --no-open` (on another machine)",
    ),
)
def browse(
    data: Data = DEFAULT_DATA,
    host: Host = "127.0.0.1",
    port: Port = None,
    open_page: OpenPage = True,
) -> None:
    """Look at a data set in the browser: filter clips, play all modalities together, count.

    Nothing is changed. It also works during a build: shards appear as they are written.
    """
    from musclemap_data.browse.app import create_app
    from musclemap_data.local_web import serve

    def on_ready(address: str) -> None:
        typer.echo(f"{data} at {address} (Ctrl-C ends it)")
        if host not in ("127.0.0.1", "localhost", "::1"):
            warn(f"everyone who can reach {host} can see this data set; there is no password.")

    serve(
        lambda names: create_app(data, host_names=names),
        host, port, open_page=open_page, on_ready=on_ready,
    )  # fmt: skip


@app.command(
    rich_help_panel=LOOK,
    epilog=examples(
        "`musclemap stats`",
        "`musclemap stats --annotations` (the bundled labels and lists; needs no data set)",
    ),
)
def stats(
    data: Data = DEFAULT_DATA,
    annotations: Annotated[
        bool, typer.Option("--annotations", help="Count the bundled labels and lists instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Count clips and seconds per split, activity and muscle region."""
    from musclemap_data.check.stats import annotation_stats, dataset_stats

    if annotations:
        _print_annotation_stats(annotation_stats(), as_json)
        return
    counts = dataset_stats(data)
    if as_json:
        typer.echo(json.dumps(counts, indent=2))
        return
    typer.echo(f"{'split':<12}{'clips':>7}{'seconds':>10}{'videos':>8}{'coverage':>10}")
    for split, entry in counts["splits"].items():
        share = "n/a" if entry["coverage"] is None else f"{entry['coverage']:.1%}"
        typer.echo(
            f"{split:<12}{entry['clips']:>7}{entry['seconds']:>10.1f}{entry['videos']:>8}{share:>10}"
        )
    typer.echo(f"\n{'activity':<32}{'clips':>7}{'seconds':>10}  splits")
    for slug, activity in counts["activities"].items():
        where = ", ".join(f"{name} {count}" for name, count in activity["splits"].items())
        typer.echo(f"{slug:<32}{activity['clips']:>7}{activity['seconds']:>10.1f}  {where}")
    typer.echo(f"\n{'muscle region':<20}{'clips':>7}{'share':>8}")
    for slug, region in counts["regions"].items():
        share = "n/a" if region["share"] is None else f"{region['share']:.1%}"
        typer.echo(f"{slug:<20}{region['clips']:>7}{share:>8}")


def _print_annotation_stats(counts: AnnotationStats, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(counts, indent=2))
        return
    total = counts["activities"]
    typer.echo(f"{total['known']} known and {total['new']} new activities\n")
    for name, groups in (("muscle region", counts["regions"]), ("family", counts["families"])):
        typer.echo(f"{name:<20}{'known':>7}{'new':>7}")
        for slug, entry in groups.items():
            typer.echo(f"{slug:<20}{entry['known']:>7}{entry['new']:>7}")
        typer.echo()
    typer.echo(f"{'bundled clips':<20}{'clips':>7}{'videos':>8}{'activities':>12}")
    for split, bundled in counts["splits"].items():
        row = f"{bundled['clips']:>7}{bundled['videos']:>8}{bundled['activities']:>12}"
        typer.echo(f"{split:<20}{row}")


@app.command(
    rich_help_panel=LOOK,
    epilog=examples(
        "`musclemap validate`",
        "`musclemap validate --show frozen` (a picture of the worst clips of a class)",
        "`musclemap validate --allow frozen,skeleton` (they were looked at, and are right)",
        "`musclemap validate --leakage --json > problems.json` (slower, and for a script)",
    ),
)
def validate(
    data: Data = DEFAULT_DATA,
    look: Annotated[
        bool, typer.Option("--look/--no-look", help="Also look at what the pictures show.")
    ] = True,
    show: Annotated[
        str | None,
        typer.Option(metavar="CLASS", help="Write a picture of the worst clips of this class."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="PNG for --show. Default: validate-CLASS.png.", dir_okay=False
        ),
    ] = None,
    allow: Annotated[
        str | None,
        typer.Option(
            metavar="CLASSES",
            help="Classes with commas between that do not count for the exit code, beside "
            "poor-skeleton, which never does.",
        ),
    ] = None,
    leakage: Annotated[
        bool, typer.Option("--leakage", help="Also look for near-duplicate frames across splits.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a data set: schema, checksums, every frame, every label, leaks, and what it shows.

    A leak is a source video with clips in two of train, validation and test. What is looked for in
    the pictures: frozen, debris, blank, rgb-diff, flow, skeleton, poor-skeleton. Such a finding is
    a reason to look, not a proof.

    Exit code 0: nothing was found. 1: there are problems or findings, with one line each.
    """
    from musclemap_data.check.findings import EXPECTED
    from musclemap_data.check.leakage import find_leaks
    from musclemap_data.check.look import look_at_dataset
    from musclemap_data.check.validate import validate_dataset

    allowed, shown = _kinds(allow, "--allow"), _kinds(show, "--show")
    with progress("row", "validate", quiet=as_json) as bar:
        rows, problems = validate_dataset(data, on_row=bar.update)
    if leakage:
        with progress("row", "leakage", total=rows, quiet=as_json) as bar:
            problems += find_leaks(data, on_row=bar.update)
    findings: list[Finding] = []
    if look or shown:
        with progress("row", "look", total=rows, quiet=as_json) as bar:
            findings = look_at_dataset(data, on_row=bar.update)
    if as_json:
        typer.echo(json.dumps(_validated(rows, problems, findings), indent=2))
    else:
        for problem in problems[:MOST_PROBLEMS]:
            typer.echo(f"PROBLEM {problem}", err=True)
        if len(problems) > MOST_PROBLEMS:
            typer.echo(f"... and {len(problems) - MOST_PROBLEMS} more: --json has all", err=True)
        _print_findings(findings)
        typer.echo(f"{rows} rows checked, {len(problems)} problems, {len(findings)} findings")
    for kind in shown:
        _show(data, kind, findings, out or Path(f"validate-{kind}.png"))
    if problems or any(finding.kind not in EXPECTED.union(allowed) for finding in findings):
        raise typer.Exit(EXIT_SOME_FAILED)


def _kinds(text: str | None, option: str) -> list[Kind]:
    """The classes of findings that an option names."""
    from musclemap_data.check.findings import Kind
    from musclemap_data.errors import UserError

    names = listed(text or "")
    if unknown := [name for name in names if name not in list(Kind)]:
        raise UserError(f"{option} names {', '.join(unknown)}; choose from {', '.join(Kind)}")
    if option == "--show" and len(names) > 1:
        raise UserError("--show takes one class")
    return [Kind(name) for name in names]


def _validated(rows: int, problems: list[str], findings: list[Finding]) -> dict[str, object]:
    from musclemap_data.check.findings import MEANING, counts

    return {
        "rows": rows,
        "problems": problems,
        "findings": [asdict(finding) for finding in findings],
        "classes": {
            kind: {"clips": count, "meaning": MEANING[kind]}
            for kind, count in counts(findings).items()
        },
    }


def _print_findings(findings: list[Finding]) -> None:
    """One line for each class with its count, then its clips, the worst first."""
    from musclemap_data.check.findings import MEANING, counts

    for kind, count in counts(findings).items():
        if not count:
            continue
        typer.echo(f"FINDING {kind}: {count} clips: {MEANING[kind]}", err=True)
        for finding in [each for each in findings if each.kind is kind][:MOST_LINES]:
            address = f"{finding.shard} row {finding.row} ({finding.clip_id})"
            typer.echo(f"  {address}: {finding.what}", err=True)
        if count > MOST_LINES:
            typer.echo(f"  ... and {count - MOST_LINES} more: --json has all", err=True)
        typer.echo(f"  To see the worst: musclemap validate --show {kind}", err=True)


def _show(data: Path, kind: Kind, findings: list[Finding], path: Path) -> None:
    from musclemap_data.check.sheet import contact_sheet
    from musclemap_data.draw.canvas import write_png

    chosen = [finding for finding in findings if finding.kind is kind]
    if not chosen:
        typer.echo(f"there is no clip of the class {kind} to show", err=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, contact_sheet(data, chosen))
    typer.echo(path, err=True)


@app.command(
    rich_help_panel=LOOK,
    epilog=examples(
        "`musclemap export --format hf --out exports/hf` (for `datasets.load_dataset`)",
        "`musclemap export --format mmaction2,pyskl --out exports/openmmlab`",
        "`musclemap export --format all --out exports/all --overwrite`",
    ),
)
def export(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write to; new or empty.", file_okay=False)
    ],
    format_names: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            help="hf, croissant, webdataset, fiftyone, lerobot, mmaction2, pyskl, card, with "
            "commas between; or all.",
        ),
    ] = "all",
    data: Data = DEFAULT_DATA,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier export in the folder.")
    ] = False,
) -> None:
    """Write the data set for other tools: Hugging Face, WebDataset, FiftyOne, LeRobot, MMAction2.

    Shards become hard links where the file system allows it, so they take no extra space.

    Exit code 2: an option is wrong or there is no data set, and nothing was written.
    """
    from musclemap_data.export import FORMATS, export_dataset

    names = listed(format_names)
    with progress("shard", "export", delay=0.5) as bar:
        report = export_dataset(
            data,
            out,
            FORMATS if names == ["all"] else tuple(dict.fromkeys(names)),
            overwrite=overwrite,
            on_total=bar.reset,
            on_shard=bar.update,
        )
    for line in report:
        typer.echo(line)
    typer.echo(f"written to {out}")
