"""The verb `review`: look at proposed clips, and what follows: `merge`, `agreement`, `manifest`."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musclemap_data.commands.shared import (
    BUILD,
    DEFAULT_DATA,
    EXIT_SOME_FAILED,
    MOST_LINES,
    AsJson,
    Data,
    Host,
    OpenPage,
    Port,
    activity_table,
    data_option,
    download_command,
    examples,
)

if TYPE_CHECKING:
    from musclemap_data.catalog import Activity
    from musclemap_data.review.material import Material
    from musclemap_data.review.opinions import Conflict, ReviewAgreement

app = typer.Typer(
    name="review",
    invoke_without_command=True,
    rich_markup_mode="markdown",
    rich_help_panel=BUILD,
    epilog=examples(
        "`musclemap review --by ab` (opens the page; `ab` are your initials)",
        "`musclemap review --by cd --blind` (answer anew, without seeing what others said)",
        "`musclemap review --by ab --built` (flag wrong labels in a finished data set)",
        "`ssh -L 8000:127.0.0.1:8000 HOST musclemap review --by ab --no-open` (elsewhere)",
    ),
)

Built = Annotated[
    bool, typer.Option("--built", help="The clips of the finished data set, not the proposals.")
]
DecisionsOption = Annotated[
    Path | None,
    typer.Option(
        "--decisions",
        dir_okay=False,
        help="CSV of decisions. Default: review/decisions.csv in the data directory, "
        "with --built review/built.csv.",
    ),
]


@app.callback()
def review(
    context: typer.Context,
    data: Data = DEFAULT_DATA,
    by: Annotated[
        str | None,
        typer.Option(
            envvar="MUSCLEMAP_REVIEWER",
            metavar="INITIALS",
            help="Who decides: your initials. Default: the name you are logged in with.",
        ),
    ] = None,
    built: Built = False,
    blind: Annotated[
        bool,
        typer.Option("--blind", help="Hide what others decided: needed to measure agreement."),
    ] = False,
    decisions: DecisionsOption = None,
    host: Host = "127.0.0.1",
    port: Port = None,
    open_page: OpenPage = True,
) -> None:
    """Look at proposed clips in the browser: accept, move, split, relabel, reject, undo, by keys.

    Every decision is a line of a plain CSV, written at once; stop when you like. No shard is
    changed: `musclemap review manifest` writes the manifest that the next build is made from.
    """
    if context.invoked_subcommand:
        return
    from musclemap_data.errors import UserError
    from musclemap_data.local_web import serve
    from musclemap_data.review.app import create_app
    from musclemap_data.review.decisions import REVIEWER, DecisionFile
    from musclemap_data.review.queue import Queue

    by = _login() if by is None else by
    if not REVIEWER.fullmatch(by):
        raise UserError("say who decides: --by and 1 to 20 letters or digits, such as --by ab")
    material = _material(data, built)
    file = DecisionFile(decisions or _decisions_path(data, built))
    queue = Queue(material, file, by, _activities(data), blind=blind)
    counts = queue.counts()
    name = data.resolve().name

    def on_ready(address: str) -> None:
        typer.echo(f"{counts['open']} clips to look at, at {address} (Ctrl-C ends it)")
        typer.echo(f"decisions go to {file.path}, as those of {by} (--by)", err=True)

    serve(
        lambda names: create_app(queue, name, built=built, host_names=names),
        host, port, open_page=open_page, on_ready=on_ready,
    )  # fmt: skip
    counts = queue.counts()
    typer.echo(
        f"{counts['accepted']} accepted, {counts['rejected']} rejected, {counts['open']} to do",
        err=True,
    )
    options = data_option(data) + (" --built" if built else "")
    options += f" --decisions {shlex.quote(str(decisions))}" if decisions else ""
    typer.echo(f"Next: musclemap review manifest{options} --out reviewed.csv", err=True)


@app.command(
    epilog=examples(
        "`musclemap review merge mine.csv theirs.csv --out both.csv`",
        "`musclemap review merge a.csv b.csv c.csv --out all.csv --json`",
    ),
)
def merge(
    files: Annotated[list[Path], typer.Argument(help="Files of decisions, two or more.")],
    out: Annotated[Path, typer.Option("--out", "-o", dir_okay=False, help="File to write.")],
    as_json: AsJson = False,
) -> None:
    """Put the decisions of several people, or of several copies, into one file.

    A line that is in two files counts once. Where two people differ, both answers stay, and the
    conflict is named: `manifest` leaves such a clip out until one of them changes their mind.

    Exit code 0: nobody differs. 1: somebody does; the file was written all the same.
    """
    from musclemap_data.review.decisions import merge_decisions, write_decisions
    from musclemap_data.review.opinions import conflicts, opinions

    merged = merge_decisions(files)
    write_decisions(out, merged)
    found = conflicts(opinions(merged))
    if as_json:
        _echo_json({"decisions": len(merged), "conflicts": [asdict(each) for each in found]})
    else:
        _print_conflicts(found)
        reviewers = sorted({each.reviewer for each in merged})
        typer.echo(
            f"{len(merged)} decisions of {', '.join(reviewers) or 'nobody'} in {out}, "
            f"{len(found)} conflicts"
        )
    if found:
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command(
    epilog=examples(
        "`musclemap review agreement both.csv`",
        "`musclemap review agreement ab.csv cd.csv --json`",
    ),
)
def agreement(
    files: Annotated[list[Path], typer.Argument(help="Files of decisions, of two people or more.")],
    as_json: AsJson = False,
) -> None:
    """Measure how far reviewers agree: Cohen's kappa, and how far their borders are apart.

    kappa of accept or reject is over what both decided; labels and borders are compared where both
    accepted one clip. Have the second person answer with --blind, or the figure flatters.
    """
    from musclemap_data.errors import UserError
    from musclemap_data.review.decisions import merge_decisions
    from musclemap_data.review.opinions import opinions, review_agreement

    decisions = merge_decisions(files)
    reviewers = sorted({each.reviewer for each in decisions})
    if len(reviewers) < 2:
        raise UserError(f"there are decisions of {', '.join(reviewers) or 'nobody'} only")
    now = opinions(decisions)
    found = [review_agreement(now, *pair) for pair in combinations(reviewers, 2)]
    if as_json:
        _echo_json([asdict(each) for each in found])
        return
    for each in found:
        _print_agreement(each)


@app.command(
    epilog=examples(
        "`musclemap review manifest --out reviewed.csv`",
        "`musclemap review manifest --trust ab --out reviewed.csv` (ab is right in conflicts)",
        "`musclemap review manifest --built --out corrected.csv`",
    ),
)
def manifest(
    out: Annotated[
        Path, typer.Option("--out", "-o", dir_okay=False, help="Manifest to write (CSV).")
    ],
    data: Data = DEFAULT_DATA,
    decisions: DecisionsOption = None,
    built: Built = False,
    trust: Annotated[
        str | None, typer.Option(metavar="INITIALS", help="Who is right where reviewers differ.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the manifest that follows from the decisions.

    It is the plan of the data set and the accepted clips, each in the split of its video. With
    --built: the plan without the rejected clips, and with the new labels and borders; what nobody
    flagged stays, and the next build makes anew only what changed.

    Exit code 0: written. 1: written, but clips on which reviewers differ are left out.
    """
    from musclemap_data.errors import UserError
    from musclemap_data.manifest import write_manifest
    from musclemap_data.review.decisions import read_decisions
    from musclemap_data.review.outcome import accepted_clips, corrected_clips
    from musclemap_data.segment.planned import planned

    path = decisions or _decisions_path(data, built)
    if not path.is_file():
        raise UserError(f"there are no decisions in {path}. Make some first: `musclemap review`.")
    follow = corrected_clips if built else accepted_clips
    out.parent.mkdir(parents=True, exist_ok=True)
    outcome = follow(
        _material(data, built), read_decisions(path), _activities(data), out.parent,
        plan=planned(data), trust=trust,
    )  # fmt: skip
    if not (outcome.changed or built):
        _print_conflicts(outcome.conflicts)
        raise UserError(f"{path}: nothing is accepted, so there is nothing to write")
    write_manifest(out, outcome.clips)
    if as_json:
        _echo_json(
            {
                "clips": len(outcome.clips),
                "changed": outcome.changed,
                "left_out": outcome.left_out,
                "conflicts": [asdict(each) for each in outcome.conflicts],
                "undecided": outcome.undecided,
            }
        )
    else:
        for reason, count in outcome.left_out.items():
            typer.echo(f"left out, {reason}: {count}", err=True)
        _print_conflicts(outcome.conflicts)
        if built:
            said = f"{outcome.changed} changed, {outcome.undecided} never flagged"
        else:
            before = len(outcome.clips) - outcome.changed
            said = f"{outcome.changed} accepted and {before} of the plan before"
            said += f"; {outcome.undecided} proposals wait for a decision"
        typer.echo(f"{len(outcome.clips)} clips in {out}: {said}")
        typer.echo(f"Next: musclemap {download_command(out, data)}", err=True)
    if outcome.conflicts:
        raise typer.Exit(EXIT_SOME_FAILED)


def _login() -> str:
    """The name that one is logged in with, as initials; empty where there is none."""
    import getpass
    import re

    try:
        return re.sub(r"[^A-Za-z0-9_-]", "", getpass.getuser())[:20]
    except (OSError, KeyError):  # a container's user may have no name
        return ""


def _material(data: Path, built: bool) -> Material:
    from musclemap_data.review import material

    return material.built(data) if built else material.proposed(data)


def _decisions_path(data: Path, built: bool) -> Path:
    from musclemap_data.review.material import DECISIONS, FLAGS

    return data / (FLAGS if built else DECISIONS)


def _activities(data: Path) -> dict[str, Activity]:
    from musclemap_data.catalog import load_table

    return load_table(activity_table(data))


def _print_conflicts(found: list[Conflict]) -> None:
    for each in found[:MOST_LINES]:
        typer.echo(f"CONFLICT {each}", err=True)
    if len(found) > MOST_LINES:
        typer.echo(f"  ... and {len(found) - MOST_LINES} more: --json has all", err=True)


def _print_agreement(each: ReviewAgreement) -> None:
    def shown(value: float | None, form: str = ".2f") -> str:
        return "n/a" if value is None else format(value, form)

    typer.echo(f"{' and '.join(each.reviewers)}: {each.both} clips that both decided")
    typer.echo(
        f"  accept or reject  same {shown(each.verdict_same, '.1%')}, "
        f"kappa {shown(each.verdict_kappa)}"
    )
    typer.echo(
        f"  label             same {shown(each.label_same, '.1%')}, "
        f"kappa {shown(each.label_kappa)}, over {each.accepted} that both accepted"
    )
    typer.echo(
        f"  borders           {shown(each.border_median_s)} s apart in the median, "
        f"{shown(each.border_largest_s)} s at most"
    )


def _echo_json(found: object) -> None:
    typer.echo(json.dumps(found, indent=2))
