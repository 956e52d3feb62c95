"""The data set card: what is in it, how the labels were made, what it is for and not for.

Its text is in ``card.md.jinja``.
"""

from __future__ import annotations

from pathlib import Path

from musclemap_data.catalog import NEW_SPLITS, load_muscles
from musclemap_data.export.contents import Contents
from musclemap_data.rows import columns
from musclemap_data.templates import templates

DESCRIPTION = (
    "Short exercise clips with RGB, RGB difference, TV-L1 optical flow and 2D skeletons, labelled "
    "with the muscle regions (of 20) that their activity works."
)


def fill_template(template: str, **values: object) -> str:
    """A Markdown template of this folder, filled in; nothing is escaped."""
    environment = templates(Path(__file__).parent, keep_trailing_newline=True)
    return environment.get_template(template).render(**values)


def card_text(contents: Contents) -> str:
    """The card in Markdown, without a header for any site."""
    counts, activities = contents.counts, contents.activities
    made = contents.info.get("modalities", {})
    new = [
        slug
        for slug, entry in counts["activities"].items()
        if any(entry["splits"].get(split) for split in NEW_SPLITS)
    ]
    return fill_template(
        "card.md.jinja",
        name=contents.info.get("name", "MuscleMap"),
        description=DESCRIPTION,
        synthetic=contents.synthetic,
        counts=counts,
        failures=contents.failures,
        modalities={name: {"extractor": "", "version": "", **how} for name, how in made.items()},
        clip_count=contents.clip_count,
        blurred_clips=contents.blurred_clips,
        new_count=len(new),
        columns=columns(),
        muscles=load_muscles(),
        activities=activities,
        used=[activities[slug] for slug in counts["activities"] if slug in activities],
        label_table=contents.info.get("activities", "musclemap"),
        licences=sorted(contents.licences.items(), key=lambda item: -item[1]),
        percent=lambda share: "n/a" if share is None else f"{share:.1%}",
    )
