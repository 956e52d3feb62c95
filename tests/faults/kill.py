"""Kill builds at random instants, again and again, and compare what they end with.

    python -m tests.faults.kill [--kills 200] [--seed 0] [--lanes 2]

One build is ``musclemap download`` from a slow server on this machine, then ``musclemap
extract-modalities``. Each command is started, killed (SIGKILL to its whole process group) and
started again until it ends by itself, or has been killed often enough and is left alone; then the
rows and the bytes of the shards must be those of a build that nobody disturbed. Linux only: what a
kill hit is read from the open files in /proc.

When something is wrong, the folder of the session stays: every build has a log beside it with what
each of its commands said and when it was killed. The reason is the last thing printed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from musclemap_data.errors import UserError
from musclemap_data.ledger import Ledger
from musclemap_data.manifest import Clip, write_manifest
from musclemap_data.shards import Shard, iterate_rows
from tests.bench.bench_memory import family
from tests.conftest import REPOSITORY, write_video
from tests.musclemap_data.download.faulty_server import FaultyServer

SPLITS = ("train", "train", "val_known", "val_new", "test_known", "test_new")
ENDS_AFTER_S = 20
"""What a killed command started must be gone after this time."""
KILLS_A_COMMAND = 15
"""On a busy machine a command that is killed for ever gets nowhere, and nothing after it is hit."""
BETWEEN = "planning, ledger, between two files"


@dataclass
class Tally:
    """What came of it. ``problems`` must be empty, and everything after it 0."""

    kills: int = 0
    builds: int = 0
    stages: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    lost_rows: int = 0
    doubled_rows: int = 0
    half_shards: int = 0
    differing_shards: int = 0

    def add(self, other: Tally) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def clean(self) -> bool:
        found = (self.lost_rows, self.doubled_rows, self.half_shards, self.differing_shards)
        return not self.problems and not any(found)


@dataclass(frozen=True)
class Build:
    """What every build of a session has in common."""

    manifest: Path
    clips: list[Clip]
    calm: dict[str, bytes]
    seconds: dict[str, tuple[float, float]]
    """Verb -> (from its start to its first write, from there to its end) in the calm build."""


def command(verb: str, manifest: Path, data: Path) -> list[str]:
    """One of the two commands of a build."""
    words = {
        "download": ["--manifest", str(manifest), "--workers", "2"],
        "extract-modalities": ["--modalities", "rgb,rgb-diff", "--workers", "2"],
    }
    return [sys.executable, str(REPOSITORY / "cli.py"), verb, "--data", str(data), *words[verb]]


def make_site(folder: Path, videos: int, clips_per_video: int) -> dict[str, bytes]:
    """Tiny videos by name. They overlap: a clip of half a second begins every 0.3 s."""
    for n in range(videos):
        seconds = 0.3 * clips_per_video + 0.5
        write_video(folder / f"v{n}.mp4", seconds=seconds, width=64, height=48, seed=n)
    return {path.name: path.read_bytes() for path in folder.glob("*.mp4")}


def clips_of(server: FaultyServer, videos: int, clips_per_video: int) -> list[Clip]:
    clips = []
    for n in range(videos):
        split = SPLITS[n % len(SPLITS)]
        activity = "hollow_hold" if split.endswith("_new") else "squat"
        url = server.url("slow", f"v{n}.mp4")
        for k in range(clips_per_video):
            at = 0.3 * k
            clips.append(Clip(f"c{n:02}_{k:02}", f"v{n}", url, at, at + 0.5, activity, split))
    return clips


class Attempt:
    """A command that was started as the leader of a process group, and the log of its build."""

    def __init__(self, words: list[str], data: Path) -> None:
        self.log = data.with_suffix(".log")
        self._began = time.monotonic()
        self.note(f"--- {words[2]} starts")
        self._from = self.log.stat().st_size
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                words, stdout=file, stderr=file, cwd=REPOSITORY, start_new_session=True
            )

    def note(self, text: str) -> None:
        with self.log.open("a") as file:
            file.write(f"\n{text} ({time.monotonic() - self._began:.3f} s)\n")

    def said(self) -> str:
        """What the command printed."""
        return self.log.read_bytes()[self._from :].decode(errors="replace")

    def must_end_well(self) -> None:
        code = self.process.returncode
        self.note(f"--- ended with exit code {code}")
        if code:
            raise AssertionError(f"a command ended with exit code {code}:\n{self.said()}")


def run_calm(verb: str, manifest: Path, data: Path) -> tuple[float, float]:
    """Run a command to its end; the seconds of ``Build.seconds``."""
    old = written(data, ".lock")
    began = time.monotonic()
    attempt = Attempt(command(verb, manifest, data), data)
    wait_until_written(attempt.process, data, ".lock", old)
    first = time.monotonic()
    attempt.process.wait()
    attempt.must_end_well()
    return first - began, time.monotonic() - first


def written(data: Path, pattern: str) -> set[tuple[Path, int]]:
    """The files of a pattern, with the time when each was last written."""
    found = set()
    for path in data.glob(pattern):
        with suppress(FileNotFoundError):  # renamed just now
            found.add((path, path.stat().st_mtime_ns))
    return found


def wait_until_written(
    process: subprocess.Popen[bytes], data: Path, pattern: str, old: set[tuple[Path, int]]
) -> None:
    """Until the process writes a file of a pattern that it had not before, or ends."""
    while process.poll() is None and written(data, pattern) <= old:
        time.sleep(0.002)


def stages_of(pid: int, data: Path) -> set[str]:
    """What a process and its descendants are at, by the files in the data directory they hold."""
    found = set()
    for member in family(pid):
        try:
            targets = [path.readlink() for path in Path(f"/proc/{member}/fd").iterdir()]
        except OSError:
            continue  # it ended by itself just now
        for target in targets:
            if not target.is_relative_to(data):
                continue
            parts = target.relative_to(data).parts
            inside = {
                ("videos", ".partial"): "download",
                ("videos",): "cut",
                ("clips",): "cut" if target.name.startswith(".") else "extract",
                ("work",): "extract",
                ("shards",): "shard write",
            }
            found.add(inside.get(parts[:-1], BETWEEN))
    return found - {BETWEEN} or found or {"imports, before anything is opened"}


def kill_group(process: subprocess.Popen[bytes], data: Path) -> set[str]:
    """SIGKILL a process group; the instant is that of the SIGSTOP before, to see what it hit."""
    os.killpg(process.pid, signal.SIGSTOP)
    try:
        others = {(pid, _started(pid)) for pid in family(process.pid) if pid != process.pid}
        stages = stages_of(process.pid, data)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    # yt-dlp has a group of its own: it must see by itself that its parent is gone.
    ends_at = time.monotonic() + ENDS_AFTER_S
    while others := {(pid, when) for pid, when in others if _is_running(pid, when)}:
        if time.monotonic() > ends_at:
            raise AssertionError(f"{len(others)} processes outlive the killed command")
        time.sleep(0.01)
    return stages


def _stat(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` from the state on; none where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def _started(pid: int) -> str:
    """When a process started: on a busy machine another one may soon have its number."""
    fields = _stat(pid)
    return fields[19] if fields else ""


def _is_running(pid: int, started: str) -> bool:
    fields = _stat(pid)
    return bool(fields) and fields[0] not in "ZX" and fields[19] == started


def run_killed(verb: str, build: Build, data: Path, chance: random.Random) -> set[str] | None:
    """Start a command and kill it at a random instant.

    One in eight is killed before it writes anything. The clock of the others starts where they
    begin to, however long that takes on a busy machine: with the lock of the data directory; of
    ``extract-modalities`` one in three with a shard (up to 20 ms later) and one in three with its
    first cut (up to half a second later): what comes before takes so long that chance alone would
    hit little else.

    Returns:
        The stages that the kill hit; None if the command ended before, with exit code 0.
    """
    until_first, from_there = build.seconds[verb]
    moments = [(".lock", from_there)]
    if verb == "extract-modalities":
        moments += [("clips/.*.tmp.mp4", 1), ("shards/.*.tmp", 0.04)]
    pattern, most_s = chance.choice(moments)
    if chance.random() < 1 / 8:
        pattern, most_s = "", until_first
    # A command that goes on has less left to do than the calm one had.
    wait_s = chance.uniform(0, most_s / 2)
    old = written(data, pattern) if pattern else set()
    attempt = Attempt(command(verb, build.manifest, data), data)
    process = attempt.process
    if pattern:
        wait_until_written(process, data, pattern, old)
    try:
        process.wait(wait_s)
    except subprocess.TimeoutExpired:
        attempt.note("--- is killed")
        stages = kill_group(process, data)
        attempt.note(f"--- was killed at {', '.join(sorted(stages))}")
        return stages
    attempt.must_end_well()
    return None


def half_shards(data: Path) -> int:
    """Shards under their final name that cannot be read: a reader must never see one."""
    count = 0
    for path in (data / "shards").glob("[!.]*"):
        try:
            with Shard(path, verify=True) as shard:
                shard.parse()
        except UserError:
            count += 1
    return count


def shard_bytes(data: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((data / "shards").iterdir())}


def check(build: Build, data: Path, tally: Tally) -> None:
    """Compare a finished build with the manifest and with the calm one.

    Raises:
        AssertionError: they differ; the tally has the counts.
    """
    wrong = []
    planned = {clip.clip_id for clip in build.clips}
    rows = Counter(row["clip_id"] for _, _, row in iterate_rows(data, ["clip_id"]))
    if lost := sorted(planned - set(rows)):
        tally.lost_rows += len(lost)
        wrong.append(f"no row of {', '.join(lost)}")
    if doubled := sorted(clip_id for clip_id, count in rows.items() if count > 1):
        tally.doubled_rows += len(doubled)
        wrong.append(f"more than one row of {', '.join(doubled)}")
    shards = shard_bytes(data)
    names = {*shards, *build.calm}
    if differ := sorted(name for name in names if shards.get(name) != build.calm.get(name)):
        tally.differing_shards += len(differ)
        wrong.append(f"other bytes than undisturbed: {', '.join(differ)}")
    with Ledger(data, read_only=True) as ledger:
        states = Counter(clip.state for clip in ledger.clips())
    if states != {"built": len(planned)}:
        wrong.append(f"the ledger has {dict(states)}")
    folders = [data / name for name in ("clips", "shards", "work", "videos/.partial")]
    left = [str(path.name) for folder in folders for path in folder.glob(".*")]
    if left or (data / "work").exists():
        wrong.append(f"left over: {left or 'work/'}")
    if wrong:
        raise AssertionError("; ".join(wrong))


def run_lane(build: Build, folder: Path, kills: int, seed: int) -> Tally:
    """Builds one after the other until so many kills are done."""
    chance = random.Random(seed)
    tally = Tally()
    while tally.kills < kills and tally.clean:
        data = folder / f"build{tally.builds}"
        try:
            for verb in build.seconds:
                for _ in range(min(KILLS_A_COMMAND, kills - tally.kills)):
                    stages = run_killed(verb, build, data, chance)
                    if stages is None:
                        break
                    tally.kills += 1
                    tally.stages.update(stages)
                    tally.half_shards += half_shards(data)
                else:
                    run_calm(verb, build.manifest, data)
            check(build, data, tally)
            shutil.rmtree(data)
        except AssertionError as error:
            tally.problems.append(f"{data.parent.name}/{data.name}: {error}")
            break
        except Exception:  # the harness itself is at fault; the other lanes go on
            tally.problems.append(f"{data.parent.name}/{data.name}: {traceback.format_exc()}")
            break
        tally.builds += 1
        print(f"{seed}: {tally.builds} builds, {tally.kills} kills", file=sys.stderr, flush=True)
    return tally


def run_session(
    folder: Path, *, kills: int, seed: int = 0, lanes: int = 2, videos: int = 12
) -> tuple[Tally, int]:
    """Kill builds in several lanes at once; gives the tally and the clips of a build."""
    tally = Tally()
    with FaultyServer(make_site(folder / "site", videos, 5)) as server:
        clips = clips_of(server, videos, 5)
        manifest = folder / "manifest.csv"
        write_manifest(manifest, clips)
        calm = folder / "calm"
        seconds = {
            verb: run_calm(verb, manifest, calm) for verb in ("download", "extract-modalities")
        }
        build = Build(manifest, clips, shard_bytes(calm), seconds)
        share = -(-kills // lanes)
        for lane in range(lanes):
            (folder / f"lane{lane}").mkdir()
        with ThreadPoolExecutor(lanes) as pool:
            futures = [
                pool.submit(run_lane, build, folder / f"lane{lane}", share, 1000 * seed + lane)
                for lane in range(lanes)
            ]
            for future in futures:
                tally.add(future.result())
    return tally, len(clips)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lanes", type=int, default=2, help="builds at the same time")
    chosen = parser.parse_args()
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="musclemap-faults-"))
    try:
        tally, clips = run_session(folder, kills=chosen.kills, seed=chosen.seed, lanes=chosen.lanes)
    except BaseException:
        print(f"logs are kept in {folder}")
        raise
    print(f"{tally.kills} kills in {tally.builds} builds of {clips} clips")
    for stage, count in tally.stages.most_common():
        print(f"  hit {stage}: {count}")
    print(f"lost rows {tally.lost_rows}, doubled rows {tally.doubled_rows}")
    print(f"half shards {tally.half_shards}, shards that differ {tally.differing_shards}")
    print(f"{time.monotonic() - began:.0f} s")
    if tally.clean:
        shutil.rmtree(folder)
        return
    print(f"builds and their logs are kept in {folder}")
    for problem in tally.problems:
        print(f"PROBLEM {problem}")
    sys.exit(1)


if __name__ == "__main__":
    main()
