"""The data set card: what is in it, how the labels were made, what it is for and not for."""

from __future__ import annotations

from musclemap_data.catalog import NEW_SPLITS, load_muscles
from musclemap_data.export.contents import Contents
from musclemap_data.shards import columns

DESCRIPTION = (
    "Short exercise clips with RGB, RGB difference, TV-L1 optical flow and 2D skeletons, labelled "
    "with the muscle regions (of 20) that their activity works."
)
SYNTHETIC_NOTE = (
    "**These videos are synthetic.** They are the embedded sample of the MuscleMap toolkit, drawn "
    "by a program; nobody was filmed. Scores on them say nothing about real video."
)


def card_text(contents: Contents) -> str:
    """The card in Markdown, without a header for any site."""
    name = contents.info.get("name", "MuscleMap")
    parts = [f"# {name}", DESCRIPTION]
    if contents.synthetic:
        parts.append(SYNTHETIC_NOTE)
    parts += [
        "Made with the MuscleMap toolkit, an open, rebuildable version of the data set and "
        "benchmark of [Towards Activated Muscle Group Estimation in the Wild]"
        "(https://arxiv.org/abs/2303.00952) (ACM MM 2024). It is not the authors' release: videos, "
        "labels and splits are other ones, and scores are not comparable with the paper's.",
        "## Contents\n\n" + _splits(contents),
        _modalities(contents),
        "A *known* activity is in the train split too, a *new* one never is: "
        + f"{_new_count(contents)} of the {len(contents.counts['activities'])} activities here are "
        "new. All clips of one source video are in one of train, val and test.",
        "### Columns\n\nOne row is one clip. A modality that was not extracted is null.\n\n"
        + _table(["column", "what"], [[f"`{column.name}`", column.what] for column in columns()]),
        "### Muscle regions\n\n" + _regions(contents),
        "<details>\n<summary>Clips by activity</summary>\n\n"
        + _activities(contents)
        + "\n\n</details>",
        _labels(contents),
        _licences(contents),
        _use(contents),
    ]
    return "\n\n".join(parts) + "\n"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _splits(contents: Contents) -> str:
    rows = []
    for split, entry in contents.counts["splits"].items():
        coverage = "n/a" if entry["coverage"] is None else f"{entry['coverage']:.1%}"
        rows.append(
            [split, str(entry["clips"]), str(entry["planned"]), coverage, str(entry["videos"])]
            + [f"{entry['seconds']:.1f}"]
        )
    header = ["split", "clips", "planned", "coverage", "videos", "seconds"]
    text = _table(header, rows)
    if contents.failures:
        lost = ", ".join(f"{count} {kind}" for kind, count in sorted(contents.failures.items()))
        text += f"\n\nClips that could not be built, by reason: {lost}."
    return text


def _modalities(contents: Contents) -> str:
    rows = [
        [name, str(made.get("extractor", "")), str(made.get("version", ""))]
        for name, made in contents.info.get("modalities", {}).items()
    ]
    return _table(["modality", "extractor", "version"], rows) + (
        "\n\nAll settings are in the `provenance` column."
    )


def _new_count(contents: Contents) -> int:
    return sum(
        any(entry["splits"].get(split) for split in NEW_SPLITS)
        for entry in contents.counts["activities"].values()
    )


def _regions(contents: Contents) -> str:
    rows = []
    for muscle in load_muscles():
        entry = contents.counts["regions"][muscle.slug]
        share = "n/a" if entry["share"] is None else f"{entry['share']:.1%}"
        rows.append([str(muscle.index), muscle.name, str(entry["clips"]), share])
    return _table(["index", "region", "clips", "share"], rows)


def _activities(contents: Contents) -> str:
    rows = []
    for slug, entry in contents.counts["activities"].items():
        activity = contents.activities.get(slug)
        regions = ", ".join(activity.regions()) if activity else ""
        rows.append([slug, str(entry["clips"]), regions])
    return _table(["activity", "clips", "regions"], rows)


def _labels(contents: Contents) -> str:
    table = contents.info.get("activities", "musclemap")
    used = [
        contents.activities[s] for s in contents.counts["activities"] if s in contents.activities
    ]
    counts = ", ".join(
        f"{sum(activity.confidence == level for activity in used)} {level}"
        for level in ("high", "medium", "low")
    )
    return (
        "## How the labels were made\n\n"
        "A label belongs to the activity, not to the single clip: every clip of an activity has "
        "the same 20 booleans. A region is active if it moves a joint against load, helps the "
        "prime mover, or keeps a joint from giving way under body weight; it is not active if it "
        "is only stretched or only holds upright posture. The labels are derived from written "
        "rules, entries of free-exercise-db (Unlicense) and eight examples read off the paper's "
        "figures; every activity names its sources. **Nobody measured muscle activity (EMG) for "
        f"them.** Label table: `{table}`; confidence of the {len(used)} activities here: {counts}."
    )


def _licences(contents: Contents) -> str:
    if contents.synthetic:
        videos = "The videos are rendered by the MuscleMap toolkit (Apache-2.0)."
    else:
        stated = ", ".join(
            f"{name or 'not stated'} ({count} videos)"
            for name, count in sorted(contents.licences.items(), key=lambda item: -item[1])
        )
        videos = (
            "The videos and what is made of them (frames, flow, skeletons) belong to their makers, "
            "and show real people. Check that you may share them before you do; share ids and "
            "annotations otherwise. Licences as the sites state them: "
            f"{stated or 'not recorded'}."
        )
    return (
        "## Licences and sources\n\n"
        f"{videos}\n\n"
        "The label table is Apache-2.0, with parts of free-exercise-db (Unlicense, public domain). "
        "The bundled list of video segments is from Kinetics-400 and Kinetics-600 (Google "
        "DeepMind, CC BY 4.0) and ActivityNet 1.3 (MIT), mapped to our activities, de-duplicated "
        "and split anew. A list of your own has its own terms."
    )


def _use(contents: Contents) -> str:
    return (
        "## Intended use and limits\n\n"
        "For research on multi-label recognition of muscle regions in video, above all on "
        "activities that were not seen in training. Not for medical advice, therapy, safety or "
        "judging single people.\n\n"
        "- The labels say what an activity works in ordinary execution, not what this person's "
        "muscles did.\n"
        "- Clips that could not be built are missing, not replaced: report the coverage beside "
        "every score.\n"
        "- Skeletons and flow are estimates of the extractors above, with their errors.\n"
        "- The people in public exercise videos are no fair sample of all people."
    )
