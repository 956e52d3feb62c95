"""The verbs that look at labels and compare them: `labels show`, `diff`, `check`, `sheet`, ..."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musclemap_data.commands.shared import (
    EXIT_SOME_FAILED,
    LOOK,
    AsJson,
    Names,
    NamesOption,
    examples,
)

if TYPE_CHECKING:
    from musclemap_data.catalog import Muscle

app = typer.Typer(
    name="labels",
    help="Look at the muscle labels, check your own, measure agreement.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    rich_help_panel=LOOK,
)


@app.command(
    epilog=examples(
        "`musclemap labels show squat`",
        "`musclemap labels show push-up --names plain --svg push_up.svg`",
    ),
)
def show(
    activity: Annotated[str, typer.Argument(help="Slug, name or alias, in any spelling.")],
    svg: Annotated[
        Path | None, typer.Option(help="Write the body map in three shades to this file.")
    ] = None,
    names: NamesOption = Names.CANONICAL,
    as_json: AsJson = False,
) -> None:
    """Show an activity: regions, grades, what gave them, who names them, how sure each is."""
    import difflib

    from musclemap_data.catalog import (
        activity_names,
        load_activities,
        normalise_name,
    )
    from musclemap_data.draw.body_map import body_map_svg
    from musclemap_data.errors import UserError
    from musclemap_data.files import write_text
    from musclemap_data.labels import format_activity, load_cells

    activities = load_activities()
    known = activity_names(activities)
    slug = known.get(normalise_name(activity))
    if slug is None:
        near = difflib.get_close_matches(normalise_name(activity), known, n=1, cutoff=0.5)
        hint = f"did you mean {known[near[0]]!r}? " if near else ""
        raise UserError(f"there is no activity {activity!r}; {hint}docs/activities.md lists all")
    found = activities[slug]
    if svg is not None:
        plain = names is Names.PLAIN
        picture = body_map_svg(found.grades, title=found.name, plain=plain)
        write_text(svg, picture)
        typer.echo(f"written to {svg}", err=True)
    if not as_json:
        typer.echo(format_activity(found, plain=names is Names.PLAIN))
        return
    cells = {
        _name(muscle, names): asdict(load_cells()[found.slug, muscle.slug]) for muscle in _muscles()
    }
    typer.echo(json.dumps({"activity": found.slug, "regions": cells}, indent=2))


@app.command(
    epilog=examples(
        "`musclemap labels diff open-1 musclemap` (what the last correction changed)",
        "`musclemap labels diff musclemap my_labels.csv --json`",
    ),
)
def diff(
    old: Annotated[str, typer.Argument(help="A label table: a CSV, or `musclemap`, `open-1`.")],
    new: Annotated[str, typer.Argument(help="Another one.")],
    names: NamesOption = Names.CANONICAL,
    as_json: AsJson = False,
) -> None:
    """List the cells that two label tables answer differently.

    If one of them knows no grades, only 0 and 1, active or not is compared.
    """
    from musclemap_data.labels import changes, read_labels

    before, after = read_labels(old), read_labels(new)
    called = {muscle.slug: _name(muscle, names) for muscle in _muscles()}
    found = changes(before, after)
    if as_json:
        rows = [
            {"activity": slug, "region": called[region], "old": was, "new": now}
            for (slug, region), was, now in found
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    for (slug, region), was, now in found:
        typer.echo(f"{slug:<28}{called[region]:<20}{was:>5g} -> {now:g}")
    both = sum(cell in after for cell in before)
    typer.echo(f"{len(found)} of {both} cells that both tables judge differ")


@app.command(
    epilog=examples(
        "`musclemap labels check my_labels.csv`",
    ),
)
def check(
    table: Annotated[Path, typer.Argument(help="Your label table, or a filled-in sheet.")],
    as_json: AsJson = False,
) -> None:
    """Check your own labels: form, agreement with ours, cells that evidence contradicts.

    Exit code 0: nothing speaks against it. 1: doubtful cells, one line each. 2: malformed.
    """
    from musclemap_data.labels import agreement, doubts, read_labels

    labels = read_labels(table)
    against, found = doubts(labels), agreement(labels, read_labels("musclemap"))
    if as_json:
        typer.echo(json.dumps({"agreement": asdict(found), "doubts": against}, indent=2))
    else:
        for line in against:
            typer.echo(line)
        typer.echo(
            f"{found.cells} cells of {len({slug for slug, _ in labels})} activities; as ours: "
            f"{found.same:.1%} (kappa {_shown(found.kappa)}, strict {_shown(found.strict_kappa)}, "
            f"alpha of grades {_shown(found.alpha)}); doubtful: {len(against)}"
        )
    if against:
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command(
    epilog=examples(
        "`musclemap labels sheet --out sheet.csv`",
        "`musclemap labels sheet --out all.csv --activities 135`",
    ),
)
def sheet(
    out: Annotated[Path, typer.Option("--out", "-o", help="CSV to write; must not exist.")],
    activities: Annotated[int, typer.Option(help="How many; 45 take about 30 minutes.")] = 45,
    seed: Annotated[int, typer.Option(help="Another number, other activities.")] = 0,
) -> None:
    """Write a blank sheet for an annotator who has not seen our labels.

    Fill in 0 (none), 0.34 (works to hold a joint), 0.67 (clearly helps) or 1 (does the main work);
    leave empty what you cannot judge. Then compare two sheets by `labels agreement`.
    """
    from musclemap_data.errors import UserError
    from musclemap_data.labels import blank_sheet

    rows = blank_sheet(activities, seed)
    try:
        with out.open("x", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    except FileExistsError:
        raise UserError(f"{out} exists; a filled-in sheet is not overwritten") from None
    except FileNotFoundError:
        raise UserError(f"{out}: its folder does not exist; make it first") from None
    typer.echo(f"{len(rows) - 1} activities in {out}; how to fill it in: labels sheet --help")


@app.command(
    epilog=examples(
        "`musclemap labels agreement anna.csv ben.csv`",
        "`musclemap labels agreement anna.csv musclemap --names plain`",
    ),
)
def agreement(
    a: Annotated[str, typer.Argument(help="A filled-in sheet or label table, or `musclemap`.")],
    b: Annotated[str, typer.Argument(help="Another one.")],
    names: NamesOption = Names.CANONICAL,
    as_json: AsJson = False,
) -> None:
    """Measure how far two raters agree, by region: Cohen's kappa and Krippendorff's alpha.

    kappa: active or not; strict: synergist and more or not; alpha: the grades, squared distances.
    If one of them knows no grades, only 0 and 1, active or not is what counts. A dash: undefined,
    for want of grades or as both gave everything the same answer.
    """
    from musclemap_data.labels import agreement as measure
    from musclemap_data.labels import read_labels

    first, second = read_labels(a), read_labels(b)
    shared = {region for cell in first if cell in second for region in cell[1:]}
    found = {"all": measure(first, second)}
    found |= {
        _name(muscle, names): measure(first, second, [muscle])
        for muscle in _muscles()
        if muscle.slug in shared
    }
    if as_json:
        typer.echo(json.dumps({name: asdict(each) for name, each in found.items()}, indent=2))
        return
    typer.echo(f"{'region':<20}{'cells':>6}{'same':>8}{'kappa':>8}{'strict':>8}{'alpha':>8}")
    for name, each in found.items():
        typer.echo(
            f"{name:<20}{each.cells:>6}{each.same:>8.1%}{_shown(each.kappa):>8}"
            f"{_shown(each.strict_kappa):>8}{_shown(each.alpha):>8}"
        )


def _muscles() -> tuple[Muscle, ...]:
    from musclemap_data.catalog import load_muscles

    return load_muscles()


def _name(muscle: Muscle, names: Names) -> str:
    return muscle.plain if names is Names.PLAIN else muscle.slug


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
