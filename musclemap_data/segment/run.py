"""Many videos to proposals: of a downloaded data set, or of files; and the manifest they make."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from musclemap_data.catalog import DEFAULT_TABLE, Activity, load_table
from musclemap_data.errors import UserError
from musclemap_data.files import replacing, videos_in
from musclemap_data.ledger import Ledger
from musclemap_data.manifest import Clip, partition, write_manifest
from musclemap_data.segment.planned import Plan, Sides, planned, planned_clip, url_within
from musclemap_data.segment.proposals import (
    MIN_CONFIDENCE,
    PROPOSALS_FILE,
    Proposal,
    read_proposals,
    write_proposals,
)
from musclemap_data.segment.video import Recogniser, Source, segment_video

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass
class SegmentReport:
    """What a run did.

    Attributes:
        made: videos segmented by this run.
        present: videos that were segmented before.
        proposals: of all videos, in their order.
    """

    made: int = 0
    present: int = 0
    proposals: list[Proposal] = field(default_factory=list)

    @property
    def proposed(self) -> list[Proposal]:
        """The clips that are proposed; the others say why they were left out."""
        return [p for p in self.proposals if not p.left_out]


def sources_of_data(data: Path) -> list[Source]:
    """The downloaded demonstrations of a data set.

    Raises:
        UserError: there is no ledger, or no demonstration in it is downloaded.
    """
    with Ledger(data, read_only=True) as ledger:
        rows = ledger.demonstrations()
    found = [
        Source(data / row.video.file, row.video.file, row.video.video_id, row.clip_id,
               row.activity, row.start_s, row.end_s)
        for row in rows if row.video.file and (data / row.video.file).is_file()
    ]  # fmt: skip
    if not found:
        raise UserError(
            f"no whole video is downloaded in {data}. Run `musclemap download --tier "
            "demonstration`, or name videos of your own."
        )
    return found


def sources_of_files(paths: Iterable[Path]) -> list[Source]:
    """Videos named one by one, and those in folders, at any depth.

    Raises:
        UserError: there is no such file or folder, or no video in it.
    """
    found: dict[str, Source] = {}
    for path in paths:
        if not path.exists():
            raise UserError(f"there is no file or folder {path}")
        inside = videos_in(path) if path.is_dir() else [path]
        for file in inside:
            stem = name = (_UNSAFE.sub("_", file.stem).lstrip(".") or "video")[:60]
            number = 1
            while name in found:
                number += 1
                name = f"{stem}_{number}"
            found[name] = Source(file, str(file.resolve()), name, name)
    if not found:
        raise UserError(f"there is no video in {', '.join(map(str, paths)) or 'nothing'}")
    return list(found.values())


def segment_sources(
    sources: Sequence[Source],
    folder: Path,
    recognise: Recogniser | None = None,
    *,
    again: bool = False,
    workers: int | None = None,
    on_total: Callable[[int], None] | None = None,
    on_video: Callable[[str, int], None] | None = None,
) -> SegmentReport:
    """Segment videos, and write the proposals of all of them to ``segment/proposals.csv``.

    Each video has a file of its own in ``segment/videos``, written when it is done: a run that was
    stopped goes on with the next video. A video newer than its file is segmented again.

    Args:
        sources: the videos.
        folder: where ``segment/`` is made: the data set's folder.
        recognise: see ``segment_video``, like ``workers``.
        again: segment also what is there.
        on_total: called once with the number of videos to segment.
        on_video: called with name and number of proposed clips as each video ends.
    """
    report = SegmentReport()
    files = {s.name: folder / "segment" / "videos" / f"{s.name}.csv" for s in sources}
    todo = [s for s in sources if again or not _is_done(files[s.name], s)]
    report.present = len(sources) - len(todo)
    if on_total:
        on_total(len(todo))
    try:
        for source in todo:
            course = course_of(folder, source.name)
            proposals = segment_video(source, recognise, course=course, workers=workers)
            write_proposals(files[source.name], proposals)
            report.made += 1
            if on_video:
                on_video(source.name, sum(not p.left_out for p in proposals))
    finally:
        done = [path for path in files.values() if path.exists()]
        report.proposals = [p for path in done for p in read_proposals(path)]
        replace_proposals(folder, report.proposals)
    return report


def replace_proposals(folder: Path, proposals: Sequence[Proposal]) -> None:
    """Write the proposals of a run; those of one's own videos that it was not about stay.

    Of a data set every run is about all videos of the plan, so others of it go.

    Args:
        folder: the data set's folder.
        proposals: of the run.
    """
    path = folder / PROPOSALS_FILE
    own = any(Path(p.video).is_absolute() for p in proposals)
    now = {key for p in proposals for key in (p.video, p.video_id)}
    before = read_proposals(path) if path.exists() else []
    stays = [p for p in before if not {p.video, p.video_id} & now
             and (own or Path(p.video).is_absolute())]  # fmt: skip
    write_proposals(path, [*stays, *proposals])


def course_of(folder: Path, name: str) -> Path:
    """Where the course of the person through a source's video is kept, see ``read_course``."""
    return folder / "segment" / "videos" / f"{name}.npz"


def _is_done(made: Path, source: Source) -> bool:
    """Whether the proposals are there, newer than the video, and not of another of its name."""
    if not made.exists() or made.stat().st_mtime < source.path.stat().st_mtime:
        return False
    return all(p.video == source.shown for p in read_proposals(made))


@dataclass(frozen=True)
class ProposedManifest:
    """What a manifest of proposals has.

    Attributes:
        new: clips that were proposed.
        kept: lines of the data set's plan before: clips and whole videos.
        there: sure proposals that were not taken, as the plan has a clip of these seconds.
    """

    new: int
    kept: int
    there: int


def write_proposed_manifest(
    path: Path,
    proposals: Iterable[Proposal],
    data: Path,
    *,
    least: float = MIN_CONFIDENCE,
    activities: str = DEFAULT_TABLE,
) -> ProposedManifest:
    """The plan of a data set with the proposals that need no second look, as a manifest.

    It only adds to the plan: ``download`` with it withdraws nothing. Left out are proposals of less
    confidence, those whose activity a model contradicts, those without an activity, and those of
    which the plan already has the seconds: a person may have decided on that clip.

    Args:
        path: the manifest; local videos must lie in its folder or below.
        proposals: of one run.
        data: the data set; it may have no plan yet.
        least: confidence.
        activities: the label table where there is no plan; a ledger has its own.

    Raises:
        UserError: no proposal can be taken, or a video lies elsewhere.
    """
    plan = planned(data)
    if plan.clips or plan.whole:
        with Ledger(data, read_only=True) as ledger:
            activities = ledger.activity_table()
    table = load_table(activities)
    folder = path.parent
    kept = [planned_clip(row, folder) for row in (*plan.clips, *plan.whole)]
    found = list(_clips(folder, proposals, plan, table, least))
    unknown = {clip.activity for clip in found} - set(table)
    if unknown:
        raise UserError(f"not in the label table: {', '.join(sorted(unknown))}")
    if not found:
        raise UserError(
            f"no proposal has a confidence of {least:g} and an activity: {path} is not written"
        )
    taken: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in plan.clips:
        taken[row.video.video_id].append((row.start_s, row.end_s or float("inf")))
    new = [clip for clip in found if not _is_taken(clip, taken[clip.video_id])]
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        write_manifest(temporary, [*kept, *new])
    return ProposedManifest(len(new), len(kept), len(found) - len(new))


def _clips(
    folder: Path,
    proposals: Iterable[Proposal],
    plan: Plan,
    table: Mapping[str, Activity],
    least: float,
) -> Iterator[Clip]:
    """The sure proposals as clips, of each video on one side only."""
    rows = {row.video.video_id: row for row in (*plan.clips, *plan.whole)}
    places = Sides(table, plan)
    sides = {name: partition(row.split) for name, row in rows.items()}
    for p in proposals:
        activity = p.activity or p.suggested
        if p.left_out or p.confidence < least or not activity or (p.activity and p.suggested):
            continue
        split = places.split(p.video_id, activity)
        if split is None or partition(sides.setdefault(p.video_id, split)) != partition(split):
            continue
        row = rows.get(p.video_id)
        url = planned_clip(row, folder).url if row else url_within(p.video, folder)
        yield Clip(p.proposal, p.video_id, url, p.start, p.end, activity, split)


def _is_taken(clip: Clip, taken: Iterable[tuple[float, float]]) -> bool:
    """Whether half of a clip, or of one that is there, is the same seconds."""
    end = clip.end_s or float("inf")
    return any(
        min(end, b) - max(clip.start_s, a) > 0.5 * min(end - clip.start_s, b - a) for a, b in taken
    )
