"""What decides the weights of a run, and makes it that run and no other: ``settings.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.record import DataRecord
from benchmark.settings import MACHINE_SETTINGS, Settings
from musclemap_data.errors import UserError
from musclemap_data.files import write_text


@dataclass(frozen=True)
class RunIdentity:
    """What decides the weights of a run: ``settings.json``, written before training."""

    model: str
    settings: Settings
    data: DataRecord
    teacher: str | None = None

    def write(self, run_dir: Path) -> None:
        """Write ``settings.json`` into the run's folder (atomically)."""
        values = {
            "model": self.model,
            "settings": self.settings.to_dict(),
            "data": self.data.to_dict(),
            "teacher": self.teacher,
        }
        write_text(Path(run_dir) / "settings.json", json.dumps(values, indent=2) + "\n")

    def check_same(self, run_dir: Path) -> None:
        """Make sure that a folder holds this run and no other.

        Raises:
            UserError: it was made with other settings, clips or teacher, or cannot be read.
        """
        path = Path(run_dir) / "settings.json"
        try:
            differences = self._differences(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise UserError(f"{path} cannot be read: {error}; start again with --fresh") from error
        if differences:
            raise UserError(
                f"the run {run_dir} was made with other settings: {'; '.join(differences)}. Start "
                "it again with --fresh, or keep both: give one another folder with --runs."
            )

    def _differences(self, earlier: Mapping[str, Any]) -> list[str]:
        # Of the file as it is: it may name settings that this MuscleMap has no more.
        found = []
        if earlier["model"] != self.model:
            found.append(f"model was {earlier['model']}, now {self.model}")
        then, now = earlier["settings"], self.settings.to_dict()
        for name in [*now, *(set(then) - set(now))]:
            if then.get(name) != now.get(name) and name not in MACHINE_SETTINGS:
                found.append(f"{name} was {then.get(name)}, now {now.get(name)}")
        if earlier["data"]["fingerprint"] != self.data.fingerprint:
            found.append("the clips of the data set have changed")
        if earlier.get("teacher") != self.teacher:
            found.append("the weights of the teacher have changed")
        return found


def read_identity(run_dir: Path) -> RunIdentity:
    """What :meth:`RunIdentity.write` wrote.

    Raises:
        UserError: the file is missing or damaged, or a setting is not one of this MuscleMap.
    """
    path = Path(run_dir) / "settings.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        settings, data = Settings.from_dict(values["settings"]), DataRecord(**values["data"])
        return RunIdentity(values["model"], settings, data, values.get("teacher"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} cannot be read: {type(error).__name__}: {error}. Choose another run, or run "
            "the benchmark again with --fresh"
        ) from error
