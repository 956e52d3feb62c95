"""From channels, playlists, searches and folders to a list of candidates."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from urllib.parse import quote_plus, urlsplit

from musclemap_data.catalog import Activity, activity_names, normalise_name
from musclemap_data.collect.candidates import Candidate, CandidateFile, LeftOut
from musclemap_data.download import ytdlp
from musclemap_data.download.hosts import Hosts, VideoTask, host_of, run_tasks
from musclemap_data.download.listing import SiteFacts, describe, list_videos
from musclemap_data.download.process import OwnProcesses
from musclemap_data.download.settings import DownloadSettings
from musclemap_data.errors import RETRIED_BY_DEFAULT, Failure, StageError, UserError
from musclemap_data.extract.source import probe
from musclemap_data.files import VIDEO_ENDINGS, videos_in
from musclemap_data.importers.action_sets import safe_id
from musclemap_data.ledger.rows import Rest
from musclemap_data.splits import held_out, split_among

SEARCH = "https://www.youtube.com/results?sp=EgIQAfABAQ%3D%3D&search_query="
"""Words are looked up on YouTube's page of results, whose addresses yt-dlp lists as it does a
playlist's. ``sp`` asks for videos only, as yt-dlp's own ``ytsearch`` does: channels and playlists
that match would bring in all of their videos."""
NO_PLACE = "a new activity in a video of the train side"
_AROUND_NAMES = ("exercise", "exercises", "workout", "how_to", "tutorial", "form", "technique")


@dataclass
class CollectReport:
    """What one run did.

    Attributes:
        added: candidates that are new in the list.
        present: videos that were in it before.
        left_out: url -> why it is no candidate, of this run and of earlier ones.
        failed: source -> why it could not be listed.
        not_tried: host -> videos that were left for later because the host asked for a pause.
        resting: hosts that asked for a pause.
    """

    added: int = 0
    present: int = 0
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    failed: dict[str, Failure] = field(default_factory=dict)
    not_tried: dict[str, int] = field(default_factory=dict)
    resting: list[Rest] = field(default_factory=list)


@dataclass(frozen=True)
class _Found:
    """A video that a source lists: its url, or the path of a file."""

    url: str
    source: str
    activity: str


def collect(
    sources: Sequence[str],
    out: Path,
    activities: Mapping[str, Activity],
    *,
    searches: Sequence[str] = (),
    activity: str = "",
    licence: str = "",
    limit: int | None = None,
    settings: DownloadSettings | None = None,
    retry_failed: bool = False,
    on_total: Callable[[int], None] = lambda total: None,
    on_video: Callable[[str, str], None] = lambda url, problem: None,
) -> CollectReport:
    """List the videos of the sources, and write down what is known of each that is new.

    Sites are asked as in a download: with pauses, and no more once they refuse. What is in the list
    is not asked for again, so an interrupted run goes on where it stopped.

    Args:
        sources: addresses of channels, playlists or videos; folders and files of one's own.
        out: the list, a CSV; local videos must be inside its folder.
        activities: the activity table.
        searches: words to look up on YouTube.
        activity: slug of what all of them show; where it is empty, a search for the very name of an
            activity, or a folder of that name, says it.
        licence: of the local videos, as its owner grants it.
        limit: most videos of each source.
        settings: as for ``download_videos``.
        retry_failed: ask again also for what was left out for good.
        on_total: called with the number of videos about to be looked at.
        on_video: called with (url, why it is no candidate or "") as each was looked at.

    Raises:
        UserError: a source is no address, file or folder; a local video is outside the list's
            folder; there is no such activity; cookies cannot be read; ``out`` is no such list.
    """
    if activity and activity not in activities:
        raise UserError(f"there is no activity {activity!r}; docs/activities.md lists all")
    settings = settings or DownloadSettings()
    file = CandidateFile(out)
    remote, local = _divide(sources, out.parent, activities, activity, limit)
    remote |= {
        f"{SEARCH}{quote_plus(words)}": activity or _named(words, activities) for words in searches
    }
    cookies = ytdlp.prepare(settings) if remote else None
    hosts = Hosts(settings, {})
    report = CollectReport()
    with OwnProcesses(ytdlp.PRELOAD) as processes:

        def listed(task: VideoTask, limit_s: float, stop: Event) -> list[str]:
            return list_videos(processes, task.url, limit, settings, cookies, limit_s, stop)

        def described(task: VideoTask, limit_s: float, stop: Event) -> SiteFacts:
            return describe(processes, task.url, settings, cookies, limit_s, stop)

        found: dict[str, _Found] = {each.url: each for each in local}
        tasks = [VideoTask(url, url, None) for url in remote]
        with closing(run_tasks(tasks, listed, settings, hosts)) as outcomes:
            lists = {task.url: outcome for task, outcome, _ in outcomes}
        for source, said in remote.items():  # in the order in which they were given
            outcome = lists.get(source)
            if isinstance(outcome, StageError):
                report.failed[source] = outcome.failure
            for url in outcome if isinstance(outcome, list) else ():
                found.setdefault(url, _Found(url, source, said))
        new = _new(found, file, report, retry_failed)
        on_total(len(new))
        book = _Book(file, report, on_video)
        for each in [each for each in new if each.source not in remote]:
            _look_at_file(each, out.parent, licence, book)
        tasks = [VideoTask(each.url, each.url, None) for each in new if each.source in remote]
        with closing(run_tasks(tasks, described, settings, hosts)) as facts:
            for task, said_of_it, _ in facts:
                book.site(found[task.url], said_of_it)
        report.not_tried = {
            host: sum(host_of(task.url) == host and task.url not in book.done for task in tasks)
            for host in hosts.resting
        }
    report.resting = list(hosts.resting.values())
    return report


def _divide(
    sources: Sequence[str],
    folder: Path,
    activities: Mapping[str, Activity],
    activity: str,
    limit: int | None,
) -> tuple[dict[str, str], list[_Found]]:
    """(address -> the activity it is said to show; the local videos)"""
    remote: dict[str, str] = {}
    local: list[_Found] = []
    for source in sources:
        if source.lower().startswith(("http://", "https://")):
            if not urlsplit(source).hostname:
                raise UserError(f"{source!r} is not a valid address")
            remote[source] = activity
            continue
        path = Path(source)
        if not path.exists():
            raise UserError(
                f"{source!r} is no address (http...), and there is no such file or folder. For "
                f'words to look up: --search "{source}"'
            )
        videos = [path] if path.is_file() else videos_in(path)
        if not videos:
            raise UserError(f"there is no video in {path} (looked for {', '.join(VIDEO_ENDINGS)})")
        for video in videos[:limit]:
            said = activity or _named(video.parent.name, activities)
            local.append(_Found(_relative(video, folder), source, said))
    return remote, local


def _relative(video: Path, folder: Path) -> str:
    place, here = video.resolve(), folder.resolve()
    if not place.is_relative_to(here):
        common = os.path.commonpath([place.parent, here])
        raise UserError(
            f"{video} is not inside {folder}, and the list names local videos relative to itself. "
            f"Write it to a folder above them: --out {common}/candidates.csv"
        )
    return place.relative_to(here).as_posix()


def _named(words: str, activities: Mapping[str, Activity]) -> str:
    """The activity that these words are the name of, less a plural or "workout"; or none."""
    name = normalise_name(words)
    for each in _AROUND_NAMES:
        name = name.removesuffix(f"_{each}").removeprefix(f"{each}_")
    known = activity_names(activities)
    return known.get(name) or known.get(name.removesuffix("s"), "")


def _new(
    found: Mapping[str, _Found], file: CandidateFile, report: CollectReport, retry_failed: bool
) -> list[_Found]:
    new = []
    for url, each in found.items():
        before = file.left_out.get(url)
        if url in file.rows:
            report.present += 1
        elif before and not (retry_failed or before.failure in RETRIED_BY_DEFAULT):
            report.left_out[url] = before
        else:
            new.append(each)
    return new


@dataclass
class _Book:
    """Writes down what became of each video.

    Attributes:
        done: urls that were looked at.
    """

    file: CandidateFile
    report: CollectReport
    on_video: Callable[[str, str], None]
    done: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._ids = {row["video_id"]: url for url, row in self.file.rows.items()}

    def site(self, found: _Found, outcome: SiteFacts | StageError) -> None:
        """What a site said of a video, or why it said nothing."""
        if isinstance(outcome, StageError):
            failure = outcome.failure
            self.leave_out(LeftOut(found.url, found.source, failure.failure_class, failure.reason))
            return
        youtube = outcome.site == "Youtube" and outcome.name
        name = outcome.name if youtube else safe_id(outcome.name or "video", unique=outcome.url)
        self.add(
            found, str(name), outcome.licence or "", outcome.title or "", outcome.duration_s,
            outcome.uploader or "",
        )  # fmt: skip

    def add(
        self, found: _Found, video_id: str, licence: str, title: str, duration_s: float | None,
        uploader: str = "",
    ) -> None:  # fmt: skip
        """A candidate, unless it has no place in a split or is there under another address."""
        if video_id in self._ids:
            same = f"the same video as {self._ids[video_id]}"
            self.leave_out(LeftOut(found.url, found.source, None, same))
            return
        slug = found.activity
        split = split_among(video_id, slug, held_out(videos=True))
        if split is None:
            self.leave_out(LeftOut(found.url, found.source, None, NO_PLACE))
            return
        self._ids[video_id] = found.url
        self.file.add(
            Candidate(
                video_id, found.url, slug, split, found.source, licence, title, duration_s, uploader
            )
        )
        self.report.added += 1
        self.done.add(found.url)
        self.on_video(found.url, "")

    def leave_out(self, what: LeftOut) -> None:
        """What is no candidate."""
        self.file.leave_out(what)
        self.report.left_out[what.url] = what
        self.done.add(what.url)
        self.on_video(what.url, what.reason)


def _look_at_file(found: _Found, folder: Path, licence: str, book: _Book) -> None:
    path = folder / found.url
    try:
        duration_s = probe(path, stage="collect").duration_s
    except StageError as error:
        failure = error.failure
        book.leave_out(LeftOut(found.url, found.source, failure.failure_class, failure.reason))
        return
    book.add(found, safe_id(path.stem, unique=found.url), licence, path.stem, duration_s)
