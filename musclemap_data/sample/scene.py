"""Chance: who works out, in what clothes, where, and how the camera stands."""

from __future__ import annotations

import colorsys
import itertools
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from musclemap_data.sample.clothes import Look
from musclemap_data.sample.render import Camera, Image, Room, look_at
from musclemap_data.sample.skeleton import Array, Dimensions, unit

Rng = np.random.Generator
Colour = tuple[float, float, float]

SKINS: tuple[Colour, ...] = (
    (0.93, 0.76, 0.66), (0.88, 0.69, 0.56), (0.80, 0.60, 0.46),
    (0.69, 0.49, 0.36), (0.56, 0.38, 0.27), (0.42, 0.28, 0.20),
)  # fmt: skip
HAIRS: tuple[Colour, ...] = (
    (0.09, 0.07, 0.06), (0.20, 0.13, 0.08), (0.34, 0.22, 0.13),
    (0.62, 0.46, 0.26), (0.48, 0.22, 0.12), (0.45, 0.44, 0.43),
)  # fmt: skip


def _colour(rng: Rng, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    return colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(*saturation), rng.uniform(*value))


def draw_look(rng: Rng) -> Look:
    """A person at random."""
    woman = rng.uniform() < 0.5
    skin = SKINS[rng.integers(len(SKINS))]
    dark = skin[0] < 0.65
    hair = HAIRS[rng.integers(2 if dark else len(HAIRS))]
    size = Dimensions(
        height=float(rng.normal(1.66 if woman else 1.77, 0.055)),
        leg_ratio=float(rng.uniform(0.97, 1.03)),
        arm_ratio=float(rng.uniform(0.97, 1.03)),
        shoulder_ratio=float(rng.uniform(0.90, 0.97) if woman else rng.uniform(1.02, 1.12)),
        hip_ratio=float(rng.uniform(1.0, 1.1) if woman else rng.uniform(0.92, 1.0)),
    )
    if woman:
        styles = ["tail", "bun", "long", "short"]
        sleeve = float(rng.choice([-1.0, -1.0, 0.28, 0.95]))
        length = float(rng.choice([0.30, 0.62, 0.90, 0.90]))
    else:
        styles = ["short", "short", "short", "bald", "bun"]
        sleeve = float(rng.choice([-1.0, 0.36, 0.40, 0.95]))
        length = float(rng.choice([0.42, 0.46, 0.90]))
    bright = rng.uniform() < 0.6
    shirt = _colour(rng, (0.35, 0.9), (0.5, 0.9)) if bright else (float(rng.uniform(0.1, 0.9)),) * 3
    accent = (0.93, 0.93, 0.93) if sum(shirt) < 1.6 else _colour(rng, (0.3, 0.9), (0.15, 0.4))
    pants = (
        (float(rng.uniform(0.08, 0.22)),) * 3
        if rng.uniform() < 0.6
        else _colour(rng, (0.3, 0.8), (0.25, 0.6))
    )
    return Look(
        size=size,
        bulk=float(rng.uniform(0.90, 1.02) if woman else rng.uniform(0.96, 1.10)),
        waist=float(rng.uniform(0.82, 0.95) if woman else rng.uniform(0.92, 1.06)),
        hips=float(rng.uniform(1.02, 1.14) if woman else rng.uniform(0.92, 1.0)),
        bust=float(rng.uniform(0.5, 1.0)) if woman else 0.0,
        muscle=float(rng.uniform(0.1, 0.5) if woman else rng.uniform(0.4, 1.0)),
        skin=skin,
        hair=hair,
        hair_style=str(rng.choice(styles)),
        shirt=shirt,
        shirt_accent=accent,
        sleeve=sleeve,
        crop=bool(woman and rng.uniform() < 0.4),
        pants=pants,
        pants_accent=_colour(rng, (0.0, 0.7), (0.6, 0.95)),
        pants_length=length,
        loose=float(rng.uniform(0.0, 0.4) if woman else rng.uniform(0.3, 1.0)),
        shoe=_colour(rng, (0.0, 0.8), (0.25, 0.9)),
        pattern=str(rng.choice(["plain", "stripes", "bars", "blocks", "camo", "chest"])),
        beard=bool(not woman and rng.uniform() < 0.3),
        texture_seed=int(rng.integers(1 << 30)),
    )


def _grain(rng: Rng, shape: tuple[int, int], sigma: float) -> Image:
    noise = rng.standard_normal(shape).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return np.asarray(soft / (soft.std() + 1e-6), np.float32)


def _mottled(
    rng: Rng, base: Array | Colour, shape: tuple[int, int], *grains: tuple[float, float]
) -> Image:
    """A colour (0-255) with grains of (strength, size in texels), float32 [H, W, 3]."""
    tone = 1 + sum(strength * _grain(rng, shape, sigma) for strength, sigma in grains)
    return np.asarray(np.asarray(base) * np.asarray(tone)[..., None], np.float32)


def draw_floor(rng: Rng, texel_m: float) -> Image:
    """A floor texture, float32 [512, 512, 3], values 0-255, with an exercise mat at times."""
    n = 512
    kind = rng.choice(["boards", "rubber", "carpet", "grass", "tiles"])
    y, x = np.mgrid[:n, :n].astype(np.float32)
    if kind == "boards":
        base = np.array([168, 124, 82]) * rng.uniform(0.7, 1.15)
        width = 11
        board = (x // width).astype(int)
        tone = rng.uniform(0.82, 1.12, board.max() + 1)[board]
        speckle = rng.standard_normal((n, n)).astype(np.float32)
        streak = cv2.GaussianBlur(speckle, (0, 0), 1, sigmaY=9)
        image = (base * (tone + 0.5 * streak)[..., None]).astype(np.float32)
        image[x % width < 1] *= 0.72
    elif kind == "tiles":
        base = np.array([190, 186, 178]) * rng.uniform(0.6, 1.1)
        image = _mottled(rng, base, (n, n), (0.05, 2), (0.04, 12))
        image[(x % 40 < 2) | (y % 40 < 2)] *= 0.75
    elif kind == "grass":
        base = np.array([92, 124, 66]) * rng.uniform(0.8, 1.15)
        image = _mottled(rng, base, (n, n), (0.15, 0.8), (0.06, 9))
    elif kind == "rubber":
        image = _mottled(rng, np.full(3, rng.uniform(60, 105)), (n, n), (0.10, 0.9), (0.05, 14))
        image[_grain(rng, (n, n), 0.9) > 2.1] += 60
        image[(x % 84 < 1.5) | (y % 84 < 1.5)] *= 0.7
    else:
        base = np.array(_colour(rng, (0.05, 0.4), (0.35, 0.75))) * 255
        image = _mottled(rng, base, (n, n), (0.09, 1.1), (0.06, 10))
    if rng.uniform() < 0.6:  # a mat along x, under the person
        colour = np.array(_colour(rng, (0.3, 0.8), (0.3, 0.75))) * 255
        half_x, half_z = int(1.15 / texel_m), int(0.42 / texel_m)
        c = n // 2
        mat = _mottled(rng, colour, (2 * half_z, 2 * half_x), (0.04, 1.0))
        yy, xx = np.mgrid[: 2 * half_z, : 2 * half_x]
        mat[(xx + yy) % 16 < 2] *= 0.90
        border = (np.minimum(yy, yy[::-1]) < 3) | (np.minimum(xx, xx[:, ::-1]) < 3)
        mat[border] *= 0.7
        image[c - half_z : c + half_z, c - half_x : c + half_x] = mat
    smooth: npt.NDArray[np.float32] = cv2.GaussianBlur(image, (0, 0), 0.8)
    return np.clip(smooth, 8, 245).astype(np.float32)


def draw_wall(rng: Rng, texel_m: float) -> Image:
    """A wall texture, float32 [256, 640, 3], values 0-255."""
    height, width = 256, 640
    y, x = np.mgrid[:height, :width].astype(np.float32)
    kind = rng.choice(["paint", "bricks", "panels", "two_tone"])
    base = np.array(_colour(rng, (0.03, 0.30), (0.45, 0.88))) * 255
    image = _mottled(rng, base, (height, width), (0.025, 1.5), (0.03, 25))
    if kind == "bricks":
        base = np.array([158, 96, 76]) * rng.uniform(0.7, 1.2)
        image = _mottled(rng, base, (height, width), (0.10, 1.5), (0.06, 8))
        row = (y // 8).astype(int)
        image[(y % 8 < 1.5) | ((x + 9 * (row % 2)) % 18 < 1.5)] = 176
    elif kind == "panels":
        image[(x % 60) < 2] *= 0.8
    elif kind == "two_tone":
        image[y > height - 1.0 / texel_m] *= rng.uniform(0.55, 0.8)
    for _ in range(int(rng.integers(2, 6))):  # posters, windows, mirrors, shelves
        w, h = int(rng.integers(30, 90)), int(rng.integers(30, 80))
        left, top = int(rng.integers(0, width - w)), int(rng.integers(60, height - h - 40))
        tone = np.array(_colour(rng, (0.0, 0.7), (0.25, 0.95))) * 255
        cv2.rectangle(image, (left, top), (left + w, top + h), (tone * 0.45).tolist(), -1)
        inner = _mottled(rng, tone, (h - 5, w - 5), (0.15, 6))
        image[top + 3 : top + h - 2, left + 3 : left + w - 2] = inner
    image[y > height - 8] = (image[y > height - 8] * 0.3 + 150).clip(0, 230)  # skirting
    return np.clip(cv2.GaussianBlur(image, (0, 0), 1.0), 8, 245).astype(np.float32)


def draw_room(rng: Rng) -> Room:
    """A room at random."""
    texel_m = 0.0125
    azimuth, elevation = rng.uniform(-1.1, 1.1), rng.uniform(0.7, 1.15)
    level = np.cos(elevation)
    to_light = np.array([np.sin(azimuth) * level, np.sin(elevation), np.cos(azimuth) * level])
    warm = rng.uniform(-0.06, 0.08)
    strength = rng.uniform(0.42, 0.66)
    ambient = rng.uniform(0.40, 0.52)
    return Room(
        floor=draw_floor(rng, texel_m),
        wall=draw_wall(rng, texel_m),
        texel_m=texel_m,
        wall_z=float(-rng.uniform(1.5, 2.6)),
        to_light=unit(to_light),
        light=strength * np.array([1 + warm, 1.0, 1 - warm]),
        sky=ambient * np.array([0.98, 1.0, 1.05]),
        ground=ambient * 0.62 * np.array([1.05, 1.0, 0.92]),
        noise=float(rng.uniform(1.0, 2.5)),
    )


@dataclass(frozen=True)
class CameraMan:
    """A camera that frames the stage and sways a little, as one held by hand or on a soft tripod.

    Attributes:
        azimuth, height_m: where it stands.
        sway_m: size of the sway.
        phases: [6] radians.
    """

    azimuth: float
    height_m: float
    sway_m: float
    phases: npt.NDArray[np.float64]
    field_of_view: float

    def at(self, time_s: float, low: Array, high: Array, width: int, height: int) -> Camera:
        """The camera at one moment.

        Args:
            time_s: in the video.
            low, high: [3] corners of the box (metres) that the clip's motion fills.
            width, height: pixels.
        """
        centre = (low + high) / 2
        focal = height / 2 / np.tan(self.field_of_view / 2)
        across = np.array([np.cos(self.azimuth), 0.0, -np.sin(self.azimuth)])
        direction = np.array([np.sin(self.azimuth), 0.0, np.cos(self.azimuth)])
        corners = np.array(list(itertools.product(*zip(low, high, strict=True))))
        reach, towards = (corners - centre) @ across, (corners - centre) @ direction
        half_x, half_y, depth = np.abs(reach).max(), (high[1] - low[1]) / 2, towards.max()
        distance = depth * 0.6 + max(
            half_x * focal / (0.43 * width), half_y * focal / (0.43 * height), 1.6
        )
        t = 2 * np.pi * time_s
        p = self.phases
        sway = self.sway_m * np.array(
            [
                np.sin(0.37 * t + p[0]) + 0.4 * np.sin(1.1 * t + p[1]),
                0.6 * np.sin(0.43 * t + p[2]) + 0.3 * np.sin(1.3 * t + p[3]),
                0.5 * np.sin(0.29 * t + p[4]),
            ]
        )
        position = centre * np.array([1, 0, 1]) + direction * distance
        position[1] = self.height_m
        roll = 0.15 * self.sway_m * np.sin(0.31 * t + p[5])
        return look_at(position + sway, centre + 0.35 * sway, roll, focal, width, height)


def draw_camera(rng: Rng) -> CameraMan:
    """A camera position at random, on the open side of the room."""
    return CameraMan(
        azimuth=float(rng.uniform(-0.35, 0.35)),
        height_m=float(rng.uniform(0.75, 1.45)),
        sway_m=float(rng.choice([0.002, 0.008, 0.018])),
        phases=rng.uniform(0, 2 * np.pi, 6),
        field_of_view=float(rng.uniform(0.60, 0.80)),
    )
