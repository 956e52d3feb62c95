"""Where the weights of the pose models come from: fetched once, checked, kept in a cache.

BlazePose's two networks travel inside the Apache-2.0 wheel mediapipe 0.10.21 on the Python package
index (later versions carry none). The package itself wants old numpy and its own OpenCV, so only
the two files are taken out of it.
"""

import hashlib
import io
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from musclemap_data.errors import UserError
from musclemap_data.files import cache_folder, replacing

MEDIAPIPE = "mediapipe==0.10.21"
# The wheel is only a container here: its platform need not be this machine's, so one is fixed.
WHEEL_TAGS = (
    "--python-version=3.12",
    "--implementation=cp",
    "--abi=cp312",
    "--platform=manylinux_2_28_x86_64",
)
# File name -> (place in the wheel, sha256).
BLAZEPOSE_FILES: dict[str, tuple[str, str]] = {
    "pose_detection.tflite": (
        "mediapipe/modules/pose_detection/pose_detection.tflite",
        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    ),
    "pose_landmark_full.tflite": (
        "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    ),
}
DOWNLOAD_LIMIT_S = 900
LARGEST_WEIGHTS_BYTES = 2 * 1024**3

BY_HAND = (
    f"By hand: on a machine with internet run `pip download --no-deps {' '.join(WHEEL_TAGS)} "
    f"--only-binary=:all: {MEDIAPIPE}`, unzip the wheel, put "
    f"{' and '.join(place for place, _ in BLAZEPOSE_FILES.values())} into one folder "
    "and set MUSCLEMAP_BLAZEPOSE_DIR to it."
)


def sha256_of(data: bytes) -> str:
    """The SHA-256 of these bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _keep(path: Path, data: bytes) -> None:
    with replacing(path, flush=True) as temporary:
        temporary.write_bytes(data)


def download_wheel(folder: Path) -> Path:
    """Let pip put the mediapipe wheel into a folder.

    Raises:
        UserError: there is no pip, or it could not fetch the wheel.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", *WHEEL_TAGS, f"--dest={folder}", MEDIAPIPE]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DOWNLOAD_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"pip did not fetch {MEDIAPIPE} (35 MB) in {DOWNLOAD_LIMIT_S} s. Try again. {BY_HAND}"
        ) from None
    wheels = sorted(folder.glob("mediapipe-*.whl"))
    if done.returncode or not wheels:
        lines = done.stderr.strip().splitlines() or ["pip gave no reason"]
        reason = next((line for line in lines if line.startswith("ERROR")), lines[-1])
        raise UserError(
            f"the BlazePose weights could not be fetched from the Python package index: {reason}\n"
            f"Check the connection and that `{Path(sys.executable).name} -m pip` works. {BY_HAND}"
        )
    return wheels[0]


def _checked(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of(path.read_bytes()) == sha256


def blazepose_files(
    cache_dir: Path | None = None, *, fetch_wheel: Callable[[Path], Path] = download_wheel
) -> tuple[Path, Path]:
    """BlazePose's detector and landmark networks, checked against their sha256.

    They are looked for in ``MUSCLEMAP_BLAZEPOSE_DIR``, if set, else in the cache, and fetched when
    the cache lacks them. Of processes that ask at once, one fetches and the others wait.

    Args:
        cache_dir: in place of ``cache_folder()``.
        fetch_wheel: puts the wheel into a folder and returns its path.

    Returns:
        The paths of pose_detection.tflite and pose_landmark_full.tflite.

    Raises:
        UserError: a file is missing or is not the expected one, or it could not be fetched or kept.
    """
    by_hand = os.environ.get("MUSCLEMAP_BLAZEPOSE_DIR")
    if by_hand and cache_dir is None:
        folder = Path(by_hand).expanduser()
        for name, (_, sha256) in BLAZEPOSE_FILES.items():
            path = folder / name
            if not path.is_file():
                raise UserError(f"MUSCLEMAP_BLAZEPOSE_DIR={by_hand} has no {name}. {BY_HAND}")
            if not _checked(path, sha256):
                raise UserError(
                    f"{path} is not the expected file: its sha256 is "
                    f"{sha256_of(path.read_bytes())}, not {sha256}. {BY_HAND}"
                )
        return _paths(folder)

    folder = (cache_dir or cache_folder()) / "blazepose"
    if _complete(folder):
        return _paths(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name("blazepose.lock")):
            if not _complete(folder):
                _fill(folder, fetch_wheel)
    except OSError as error:
        raise UserError(
            f"the BlazePose weights cannot be kept in {folder}: {error}. "
            "Set MUSCLEMAP_CACHE to a folder that can be written to and has 10 MB free."
        ) from error
    return _paths(folder)


def blazepose_ready() -> bool:
    """Whether ``blazepose_files`` would find both files without fetching anything."""
    by_hand = os.environ.get("MUSCLEMAP_BLAZEPOSE_DIR")
    return _complete(Path(by_hand).expanduser() if by_hand else cache_folder() / "blazepose")


def _paths(folder: Path) -> tuple[Path, Path]:
    detector, landmark = BLAZEPOSE_FILES
    return folder / detector, folder / landmark


def _complete(folder: Path) -> bool:
    return all(_checked(folder / name, sha256) for name, (_, sha256) in BLAZEPOSE_FILES.items())


def _fill(folder: Path, fetch_wheel: Callable[[Path], Path]) -> None:
    _say(f"musclemap: fetching the BlazePose weights ({MEDIAPIPE}, 35 MB, once) into {folder}")
    with tempfile.TemporaryDirectory() as temporary:
        wheel = fetch_wheel(Path(temporary))
        try:
            with zipfile.ZipFile(wheel) as archive:
                content = {n: archive.read(place) for n, (place, _) in BLAZEPOSE_FILES.items()}
        except (zipfile.BadZipFile, KeyError) as error:
            raise UserError(
                f"{wheel.name} is not the wheel it should be: {error}. {BY_HAND}"
            ) from None
    for name, (_, sha256) in BLAZEPOSE_FILES.items():
        if (found := sha256_of(content[name])) != sha256:
            raise UserError(
                f"{name} out of {wheel.name} has the sha256 {found}, not {sha256}: "
                f"it was damaged or changed on the way, and was not kept. {BY_HAND}"
            )
    for name, data in content.items():
        _keep(folder / name, data)


def read_weights(source: str | Path, sha256: str | None, cache_dir: Path | None = None) -> bytes:
    """A weights file given by the user: a path, or an http(s) URL that is fetched once and cached.

    Args:
        source: path or URL.
        sha256: of the file as given (of the archive, for an archive). A URL must have one: what
            comes from the network is not run unchecked.
        cache_dir: in place of ``cache_folder()``.

    Returns:
        The bytes of the file.

    Raises:
        UserError: missing, unreachable, too large, or another checksum than ``sha256``.
    """
    source = str(source)
    wanted = sha256.strip().lower() if sha256 else None
    if wanted is not None and (len(wanted) != 64 or set(wanted) - set("0123456789abcdef")):
        raise UserError(f"a sha256 has 64 hexadecimal digits, got {sha256!r}")
    if urllib.parse.urlsplit(source).scheme in ("http", "https"):
        if wanted is None:
            raise UserError(
                f"give the sha256 of {source} (--weights-sha256, --detector-sha256): weights from "
                "the network are not run unchecked"
            )
        kept = (cache_dir or cache_folder()) / "weights" / wanted
        if _checked(kept, wanted):
            data = kept.read_bytes()
        else:
            _say(f"musclemap: fetching {source} (once) into {kept.parent}")
            data = _get(source)
            _compare(data, wanted, source)
            kept.parent.mkdir(parents=True, exist_ok=True)
            _keep(kept, data)
    else:
        path = Path(source).expanduser()
        if not path.is_file():
            raise UserError(f"no weights file {source}: give the path of a file or an http(s) URL")
        data = path.read_bytes()
        if wanted is not None:
            _compare(data, wanted, source)
    return data


def _compare(data: bytes, wanted: str, source: str) -> None:
    if (found := sha256_of(data)) != wanted:
        raise UserError(f"{source} has the sha256 {found}, not {wanted}: damaged, or another file")


def _get(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - scheme checked above
            data: bytes = answer.read(LARGEST_WEIGHTS_BYTES + 1)
    except (urllib.error.URLError, OSError) as error:
        raise UserError(
            f"{url} could not be fetched: {error}. Fetch it yourself and give its path."
        ) from None
    if len(data) > LARGEST_WEIGHTS_BYTES:
        raise UserError(f"{url} is larger than {LARGEST_WEIGHTS_BYTES} bytes: not a pose model")
    return data


def model_in(data: bytes, source: str | Path) -> bytes:
    """The model in a weights file: of a zip archive the one .onnx file, else the file itself.

    Raises:
        UserError: a broken archive, or one without exactly one model of a sane size.
    """
    if not is_archive(data):
        return data
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            models = [item for item in archive.infolist() if item.filename.endswith(".onnx")]
            if len(models) != 1:
                raise UserError(f"{source} should hold one .onnx file, it holds {len(models)}")
            if models[0].file_size > LARGEST_WEIGHTS_BYTES:
                raise UserError(f"the model in {source} has {models[0].file_size} bytes: too large")
            return archive.read(models[0])
    except zipfile.BadZipFile as error:
        raise UserError(f"{source} is a broken zip archive: {error}") from None


def is_archive(data: bytes) -> bool:
    """Whether these are the first bytes of a ZIP file, as PyTorch writes."""
    return data[:4] == b"PK\x03\x04"
