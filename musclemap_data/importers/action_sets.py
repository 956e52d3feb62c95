"""UCF101 and HMDB51: from a folder of class folders with ``.avi`` files to a manifest.

The labels are ours, by class (``annotations/other/``). The published train/test lists are not
used: they hold no new activities. A source (the numbered group of UCF101: one person and place;
the film or web video of HMDB51) lies on one side as a whole, by ``musclemap_data.splits``.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from musclemap_data.catalog import Activity, annotations_dir, load_activities, read_table
from musclemap_data.errors import UserError
from musclemap_data.files import replacing
from musclemap_data.importers.report import ImportReport, sorted_counts
from musclemap_data.manifest import Clip, read_manifest, write_manifest
from musclemap_data.splits import split_of

UNSAFE_CHARACTERS = re.compile(r"[^A-Za-z0-9_.-]+")
LONGEST_ID = 80

# The folder tells the class: v_HandStandPushups_g01_c01.avi lies in HandstandPushups.
_UCF101_NAME = re.compile(r"v_\w+_g(?P<group>\d+)_c\d+")
# TITLE_CLASS_VISIBLE_CAMERA_npPEOPLE_DIRECTION_QUALITY_NUMBER, as in
# April_09_brush_hair_u_nm_np1_ba_goo_0.avi
_HMDB51_NAME = re.compile(r"(?P<rest>.+)_[a-z]_(?:cm|nm)_np\d+_[a-z]{2}_[a-z]{3}_\d+")


def ucf101_source(stem: str, class_name: str) -> str | None:
    """The group of a UCF101 clip, e.g. ``PushUps_g07``; None if the name is not UCF101's.

    Groups are counted within a class: g01 of two classes are not known to be one person.
    """
    match = _UCF101_NAME.fullmatch(stem)
    return None if match is None else f"{class_name}_g{int(match['group']):02d}"


def hmdb51_source(stem: str, class_name: str) -> str | None:
    """The film or web video of an HMDB51 clip; None if the name is not HMDB51's.

    A number after the title (``Film_2``) mostly counts the parts of one film: it is dropped, so
    that parts of a film stay together.
    """
    match = _HMDB51_NAME.fullmatch(stem)
    if match is None:
        return None
    title = match["rest"].removesuffix(f"_{class_name}").casefold()
    return re.sub(r"(_\d*)+$", "", title) or title


def import_ucf101(folder: Path, out_manifest: Path) -> ImportReport:
    """Write a manifest for a downloaded copy of UCF101.

    Args:
        folder: the copy: class folders (``PushUps/``) with ``v_PushUps_g01_c01.avi`` and so on.
        out_manifest: CSV to write, in ``folder`` or above it, as a manifest names local videos
            relative to itself. Build it with the activity table ``ucf101``.

    Returns:
        Counts by split and of what was left out.

    Raises:
        UserError: the folder is not such a copy, or the manifest cannot be written there.
    """
    return _import_videos("ucf101", folder, out_manifest, ucf101_source, one_class_a_source=True)


def import_hmdb51(folder: Path, out_manifest: Path) -> ImportReport:
    """Write a manifest for a downloaded, unpacked copy of HMDB51.

    Clips of a new activity whose film falls to the training side belong to no split and are left
    out: other clips of that film are trained on.

    Args:
        folder: the copy: class folders (``pushup/``) with ``.avi`` files.
        out_manifest: CSV to write, in ``folder`` or above it. Build it with the activity table
            ``hmdb51``.

    Returns:
        Counts by split and of what was left out.

    Raises:
        UserError: the folder is not such a copy, or the manifest cannot be written there.
    """
    return _import_videos("hmdb51", folder, out_manifest, hmdb51_source, one_class_a_source=False)


def split_of_lone_source(key: str, *, new: bool) -> str:
    """The split of a source that shows one activity only.

    As ``splits.split_of``, but a new activity of the training side goes to ``test_new`` in place of
    nowhere: there is no other clip of the source that it could leak from.
    """
    return split_of(key, new=new) or "test_new"


def _import_videos(
    table: str,
    folder: Path,
    out_manifest: Path,
    source_of: Callable[[str, str], str | None],
    *,
    one_class_a_source: bool,
) -> ImportReport:
    activities = load_activities(annotations_dir() / "other" / f"{table}.csv")
    by_class = {activity.name: activity for activity in activities.values()}
    not_covered = {
        row["class"]
        for _, row in read_table(
            annotations_dir() / "other" / "not_covered.csv", ("dataset", "class", "reason")
        )
        if row["dataset"] == table
    }
    root = _find_class_folders(folder, table, set(by_class) | not_covered)
    out_manifest = _checked_manifest_path(out_manifest, root)

    clips: list[Clip] = []
    left_out: Counter[str] = Counter()
    failed: dict[str, str] = {}
    used_ids: set[str] = set()
    for class_folder in sorted(path for path in root.iterdir() if path.is_dir()):
        videos = sorted(p for p in class_folder.iterdir() if p.suffix.lower() == ".avi")
        activity = by_class.get(class_folder.name)
        if activity is None:
            known = class_folder.name in not_covered
            reason = "class without muscle labels" if known else f"not a class of {table}"
            left_out[f"{reason}: {class_folder.name}"] += len(videos)
            continue
        for video in videos:
            source = source_of(video.stem, class_folder.name)
            problem = _video_problem(video, out_manifest.parent)
            if source is None:
                problem = f"not a file name of {table}"
            if problem or source is None:
                left_out[str(problem)] += 1
                failed[f"{class_folder.name}/{video.name}"] = str(problem)
                continue
            key = f"{table}/{source}"
            if one_class_a_source:
                split: str | None = split_of_lone_source(key, new=activity.new)
            else:
                split = split_of(key, new=activity.new)
            if split is None:
                left_out["new activity in a source of the training side"] += 1
                continue
            clips.append(_clip(video, out_manifest.parent, activity, split, used_ids))
    left_out = Counter({reason: count for reason, count in left_out.items() if count})
    if not clips:
        raise UserError(f"{root} has no usable .avi file: {dict(left_out) or 'no videos at all'}")
    _write_checked(out_manifest, clips, activities)
    return ImportReport(
        source=table,
        written=(out_manifest,),
        splits=Counter(clip.split for clip in clips),
        activities=sorted_counts(Counter(clip.activity for clip in clips)),
        left_out=left_out,
        failed=failed,
        notes=(f"the activities are those of annotations/other/{table}.csv",),
    )


def _find_class_folders(folder: Path, table: str, classes: set[str]) -> Path:
    """The folder that holds the class folders: ``folder`` itself or one right below it."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the unpacked copy of {table}")

    def count(path: Path) -> int:
        try:
            return sum(entry.name in classes and entry.is_dir() for entry in path.iterdir())
        except OSError:
            return 0

    # The longest match wins; ties go to the folder that was given.
    candidates = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    best = max(candidates, key=count)
    if count(best):
        return best
    packed = sorted(path.name for path in folder.glob("*.rar"))
    hint = f" Unpack the archives first ({', '.join(packed[:3])}, ...)." if packed else ""
    raise UserError(
        f"{folder} is not a copy of {table}: no folder in it is named after a class "
        f"({', '.join(sorted(classes)[:4])}, ...).{hint}"
    )


def _checked_manifest_path(path: Path, root: Path) -> Path:
    path = Path(path)
    if path.suffix.lower() != ".csv":
        raise UserError(f"the manifest is {path.name!r}; its name must end with .csv")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent} is not a folder; create it or choose another manifest")
    if not root.resolve().is_relative_to(path.parent.resolve()):
        raise UserError(
            f"the manifest {path} must lie in {root} or in a folder above it: it names the videos "
            f"relative to itself. Try {root / path.name}"
        )
    return path


def _video_problem(video: Path, manifest_folder: Path) -> str | None:
    if not video.is_file():
        return "not a file"
    if any(ord(character) < 32 or character in "\\\x7f" for character in video.name):
        return "file name with control characters or backslashes"
    try:
        video.name.encode()
    except UnicodeEncodeError:
        return "file name that is not UTF-8"
    if not video.resolve().is_relative_to(manifest_folder.resolve()):
        return "a link that leads out of the manifest's folder"
    if video.stat().st_size == 0:
        return "empty file"
    return None


def _clip(video: Path, folder: Path, activity: Activity, split: str, used: set[str]) -> Clip:
    clip_id = safe_id(video.stem)
    if clip_id in used:
        clip_id = safe_id(video.stem, unique=str(video.relative_to(video.parents[1])))
    used.add(clip_id)
    url = video.resolve().relative_to(folder.resolve()).as_posix()
    return Clip(clip_id, clip_id, url, 0.0, None, activity.slug, split)


def safe_id(name: str, unique: str = "") -> str:
    """``name`` as a clip id; if it had to be changed, with a hash so that it stays unique."""
    safe = UNSAFE_CHARACTERS.sub("_", name).lstrip(".")[:LONGEST_ID]
    if safe == name and not unique:
        return safe
    digest = hashlib.sha256((unique or name).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{safe}_{digest[:8]}"


def _write_checked(path: Path, clips: list[Clip], activities: dict[str, Activity]) -> None:
    """Write the manifest under a temporary name, read it back as a build would, rename it."""
    try:
        with replacing(path) as temporary:
            write_manifest(temporary, clips)
            read_manifest(temporary, activities)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
