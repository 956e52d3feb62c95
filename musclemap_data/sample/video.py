"""One synthetic video: its frames, and the exact truth about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from musclemap_data.sample.body import build_mesh, rest_origins
from musclemap_data.sample.motions import EXERCISES, Performance, perform
from musclemap_data.sample.plan import SampleSize, VideoPlan
from musclemap_data.sample.render import Camera, draw, screen_points
from musclemap_data.sample.scene import draw_camera, draw_look, draw_room
from musclemap_data.sample.skeleton import Array, Bones, coco_joints, euler
from musclemap_data.sample.surface import skin_vertices
from musclemap_data.sample.tools import Part, tools_of, with_parts
from musclemap_data.sample.truth import Flow, joint_visibility, true_flow


@dataclass(frozen=True)
class _Clip:
    performance: Performance
    tools: list[Part]
    yaw: float
    shift: Array
    low: Array
    high: Array
    start_frame: int
    end_frame: int  # one past the last


class SyntheticVideo:
    """A synthetic workout video that can be asked for any frame.

    The same plan and size give the same frames, bit for bit, in any order and any process.

    Attributes:
        body: the person's mesh; ``mesh`` is the same with the tools of all clips.
        frames: number of frames.
        clip_frames: first frame and one past the last frame of every clip.
    """

    def __init__(self, plan: VideoPlan, size: SampleSize) -> None:
        self.plan, self.size = plan, size
        rng = np.random.default_rng(list(plan.seed))
        look = draw_look(rng)
        self.room = draw_room(rng)
        self.camera_man = draw_camera(rng)
        self.body = build_mesh(look, size.vertex_step_m, 0.52 * size.vertex_step_m)
        self._origins = rest_origins(look.size)
        self._dimensions = look.size
        self._clips: list[_Clip] = []
        frame = 0
        for clip_plan in plan.clips:
            performance = perform(clip_plan.activity, look.size, rng, size.clip_s, as_filmed=True)
            ranges = EXERCISES[clip_plan.activity].view_deg
            low_deg, high_deg = ranges[int(rng.integers(len(ranges)))]
            # People turn to the camera, not to the wall behind them.
            yaw = np.radians(rng.uniform(low_deg, high_deg)) + self.camera_man.azimuth
            start = frame + round(size.pause_s * size.fps)
            end = start + int(np.ceil(performance.seconds * size.fps))
            low, high = self._box(performance, float(yaw))
            shift = -(low + high) / 2 * np.array([1.0, 0.0, 1.0])
            self._clips.append(
                _Clip(
                    performance,
                    tools_of(clip_plan.activity, performance),
                    float(yaw),
                    shift,
                    low + shift,
                    high + shift,
                    start,
                    end,
                )
            )
            frame = end
        self.mesh = with_parts(self.body, [part for clip in self._clips for part in clip.tools])
        self.frames = frame
        self.clip_frames = [(clip.start_frame, clip.end_frame) for clip in self._clips]

    def _box(self, performance: Performance, yaw: float) -> tuple[Array, Array]:
        few = slice(None, None, 23)
        turn = euler(0.0, yaw, 0.0)
        low, high = np.full(3, np.inf), np.full(3, -np.inf)
        for time_s in np.linspace(0.0, performance.seconds, 16):
            points = self._skin(performance.bones(float(time_s)), few) @ turn.T
            low, high = np.minimum(low, points.min(0)), np.maximum(high, points.max(0))
        low[1] = 0.0
        return low, high

    def _skin(self, bones: Bones, which: slice = slice(None)) -> Array:
        translation = bones.origin - np.einsum("bij,bj->bi", bones.rotation, self._origins)
        mesh = self.body
        skinned: Array = skin_vertices(
            np.ascontiguousarray(mesh.vertices[which]),
            np.ascontiguousarray(mesh.bones[which]),
            np.ascontiguousarray(mesh.weights[which]),
            bones.rotation,
            translation,
        )
        return skinned

    def _clip_of(self, frame: int) -> _Clip:
        if not 0 <= frame < self.frames:
            raise IndexError(f"frame {frame} of a video with {self.frames} frames")
        return next(clip for clip in self._clips if frame < clip.end_frame)

    def _time_in(self, clip: _Clip, frame: int) -> float:
        return (frame - clip.start_frame) / self.size.fps

    def camera(self, frame: int) -> Camera:
        """The camera of a frame."""
        clip = self._clip_of(frame)
        return self.camera_man.at(
            frame / self.size.fps, clip.low, clip.high, self.size.width, self.size.height
        )

    def vertices(self, frame: int) -> Array:
        """The posed mesh [V, 3] of a frame on the stage, in metres: the body, then all tools.

        Those of other clips are a single point, of which nothing is drawn.
        """
        clip = self._clip_of(frame)
        time_s = self._time_in(clip, frame)
        bones = clip.performance.bones(time_s)
        body = self._skin(bones)
        solids = [
            part.vertices(bones, time_s) if each is clip else np.repeat(body[:1], part.size, axis=0)
            for each in self._clips
            for part in each.tools
        ]
        points = np.concatenate([body, *solids]) if solids else body
        return points @ euler(0.0, clip.yaw, 0.0).T + clip.shift

    def image(self, frame: int) -> npt.NDArray[np.uint8]:
        """The frame, uint8 [H, W, 3] RGB."""
        noise_seed = self.plan.seed[0] * 1_000_003 + self.plan.seed[1] * 10_007 + frame
        return draw(self.mesh, self.vertices(frame), self.camera(frame), self.room, noise_seed)

    def joints_m(self, frame: int) -> Array:
        """The COCO-17 joints [17, 3] on the stage, in metres."""
        clip = self._clip_of(frame)
        bones = clip.performance.bones(self._time_in(clip, frame))
        points = coco_joints(self._dimensions, bones)
        return np.asarray(points @ euler(0.0, clip.yaw, 0.0).T + clip.shift)

    def joints(self, frame: int) -> npt.NDArray[np.float32]:
        """The COCO-17 joints float32 [17, 3]: x, y in pixels, and 1 if the camera sees it or 0."""
        camera = self.camera(frame)
        seen = camera.project(self.joints_m(frame))
        screen, height_m = screen_points(camera, self.vertices(frame)), self._dimensions.height
        visible = joint_visibility(seen, screen, self.mesh.faces, camera, height_m)
        return np.column_stack([seen[:, :2], visible]).astype(np.float32)

    def flow(self, frame: int) -> Flow:
        """The exact flow from a frame to the next one of the same clip.

        Raises:
            ValueError: the next frame is in another clip (a cut lies between).
        """
        if self._clip_of(frame) is not self._clip_of(frame + 1):
            raise ValueError(f"there is a cut between frames {frame} and {frame + 1}")
        return true_flow(
            self.mesh.faces,
            (self.vertices(frame), self.vertices(frame + 1)),
            (self.camera(frame), self.camera(frame + 1)),
            self.room.wall_z,
        )

    def phase(self, frame: int) -> float:
        """Share of the repetition that is done, in [0, 1); -1 in the pause before a clip."""
        clip = self._clip_of(frame)
        return clip.performance.phase(self._time_in(clip, frame))
