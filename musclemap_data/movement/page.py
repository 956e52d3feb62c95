"""One printable page of a session: what was counted and measured, and what it was before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from musclemap_data.draw.canvas import STYLE
from musclemap_data.draw.colours import ACTIVE_EDGE, BODY_EDGE
from musclemap_data.draw.skeleton import LEFT_COLOUR, RIGHT_COLOUR
from musclemap_data.errors import UserError
from musclemap_data.files import replacing
from musclemap_data.movement.session import Session

FACTS_FILE = "movement.json"
CAUTION = (
    "Measured from one camera, by a program that sees joints in pictures. Not a medical device: a\n"
    "help to look again, not a diagnosis. Angles are told only where the limb lies in the plane\n"
    "of the picture."
)
_A4_INCHES = (8.27, 11.69)
_JOINTS = ("knee", "hip", "elbow")


def read_facts(folder: Path) -> Mapping[str, Any]:
    """The measures of an earlier session.

    Raises:
        UserError: the folder holds none.
    """
    path = folder / FACTS_FILE
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if not {"repetitions", "range_of_motion_deg"} <= set(facts):
            raise ValueError("not the measures of a session")
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} is not the {FACTS_FILE} of an earlier session: give the folder that "
            "`musclemap movement` wrote"
        ) from error
    return dict(facts)


def summary_lines(session: Session) -> list[str]:
    """The measures as sentences; what was not seen is said."""
    done = session.repetitions
    if not done.turns_s:
        lines = ["No repetition was seen."]
    else:
        what = "repetition" if f"{done.cycles:.1f}" == "1.0" else "repetitions"
        turns = " (left and right in turn, each counts)" if done.alternating else ""
        lines = [f"{done.cycles:.1f} {what}{turns}"]
        if done.period_s:
            lines[0] += f", one every {done.period_s:.1f} s"
    if session.tempo and not done.alternating:
        tempo = session.tempo
        text = f"There {tempo.there_s:.1f} s, back {tempo.back_s:.1f} s"
        if tempo.varies_s is not None:
            text += f"; a repetition varies by {tempo.varies_s:.2f} s"
        lines.append(f"{text} (times within {session.within_s:.2f} s)")
    for hold in session.holds:
        lines.append(f"Still from {hold.start_s:.1f} to {hold.end_s:.1f} s")
    if not session.reaches:
        lines.append("No joint angle can be told from this view: film from the side.")
    for name, reach in session.reaches.items():
        lines.append(
            f"{name.replace('_', ' ')}: {reach.least_deg:.0f} to {reach.most_deg:.0f} degrees "
            f"(each within {reach.within_deg:.0f})"
        )
    for joint, difference in session.sides.items():
        lines.append(f"{joint}: left moves {difference:+.0f} degrees compared with right")
    return lines


@rc_context(STYLE)
def write_page(path: Path, session: Session, before: Mapping[str, Any] | None = None) -> None:
    """Write the page as PDF (A4).

    Args:
        path: the file.
        session: the measures.
        before: those of an earlier session, from ``read_facts``.
    """
    figure = Figure(figsize=_A4_INCHES)
    figure.text(0.08, 0.95, "Movement", size=22, weight="bold")
    figure.text(0.08, 0.928, f"{session.name}, {session.seconds:.1f} s", size=11, color=BODY_EDGE)
    y = 0.9
    for line in summary_lines(session):
        if y < 0.66:
            break
        figure.text(0.08, y, line, size=11 if y < 0.895 else 14)
        y -= 0.024
    _draw_curves(figure, session, top=0.63, bottom=0.3 if before else 0.14)
    if before:
        _draw_comparison(figure, session, before)
    figure.text(0.08, 0.045, CAUTION, size=8, color=BODY_EDGE)
    with (
        replacing(path) as temporary,
        PdfPages(temporary, metadata={"CreationDate": None}) as pages,
    ):
        pages.savefig(figure)


def _draw_curves(figure: Figure, session: Session, *, top: float, bottom: float) -> None:
    """The movement, then the angles that the view carries, left and right in one frame."""
    moves = {
        joint: max(
            (session.reaches[f"{side}_{joint}"].range_deg for side in ("left", "right")
             if f"{side}_{joint}" in session.reaches),
            default=-1.0,
        )
        for joint in _JOINTS
    }  # fmt: skip
    shown = [joint for joint in sorted(moves, key=lambda j: -moves[j]) if moves[joint] >= 0]
    height = min((top - bottom) / (1 + len(shown)), 0.17)
    times = np.arange(len(session.repetitions.course)) / session.fps
    for row in range(1 + len(shown)):
        axes = figure.add_axes((0.12, top - (row + 1) * height + 0.02, 0.8, height - 0.03))
        for turn_s in session.repetitions.turns_s:
            axes.axvline(turn_s, color=ACTIVE_EDGE, linewidth=0.6, alpha=0.5)
        axes.set(xlim=(0, session.seconds))
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelbottom=row == len(shown))
        if row == 0:
            axes.plot(times, session.repetitions.course, color=BODY_EDGE, linewidth=1.4)
            axes.set(ylabel="movement", yticks=[])
            axes.set_title(
                "The movement there and back; vertical lines: it turns", size=9, loc="left"
            )
            continue
        for side, colour in (("left", LEFT_COLOUR), ("right", RIGHT_COLOUR)):
            angle = session.angles[f"{side}_{shown[row - 1]}"]
            axes.plot(times, angle, color=np.array(colour) / 255, linewidth=1.4, label=side)
        axes.set(ylabel=f"{shown[row - 1]} (degrees)", ylim=(0, 190), yticks=(0, 60, 120, 180))
        if row == 1:
            axes.legend(loc="lower right", frameon=False, ncols=2, fontsize=9)
    axes.set_xlabel("seconds")


def _draw_comparison(figure: Figure, session: Session, before: Mapping[str, Any]) -> None:
    rows = comparison(session, before)
    axes = figure.add_axes((0.08, 0.08, 0.84, 0.18))
    axes.axis("off")
    axes.set_title(
        f"Compared with {before.get('video', 'an earlier session')}", size=11, loc="left"
    )
    table = axes.table(
        cellText=[list(row) for row in rows], colLabels=["", "before", "now", "change"],
        loc="upper left", cellLoc="left", edges="horizontal",
    )  # fmt: skip
    table.auto_set_font_size(False)
    table.set_fontsize(9)


def comparison(session: Session, before: Mapping[str, Any]) -> Sequence[tuple[str, str, str, str]]:
    """Measure, before, now and change, of what both sessions have."""
    now = session.facts()
    rows = []
    done: Any = now["repetitions"]
    pairs = [
        ("repetitions", before["repetitions"]["cycles"], done["cycles"], "{:.1f}"),
        ("seconds of one", before["repetitions"].get("period_s"), done["period_s"], "{:.1f}"),
    ]
    earlier = before["range_of_motion_deg"]
    for name, reach in session.reaches.items():
        if name in earlier:
            old = earlier[name]["most_deg"] - earlier[name]["least_deg"]
            pairs.append(
                (f"{name.replace('_', ' ')}, range in degrees", old, reach.range_deg, "{:.0f}")
            )
    for name, old, new, form in pairs:
        if old is not None and new is not None:
            change = form.replace("{:", "{:+").format(new - old)
            rows.append((name, form.format(old), form.format(new), change))
    return rows
