"""How each activity is performed and filmed, and the motion of one clip with natural timing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from musclemap_data.sample import (
    boxing,
    folds,
    hanging,
    jumps,
    legs,
    prone,
    reverse,
    sides,
    standing,
    steps,
    supine,
    support,
    weights,
)
from musclemap_data.sample.legs import HANDS_JOINED
from musclemap_data.sample.poses import (
    BEHIND_HEAD,
    EASES,
    GUARD,
    HANGING,
    ON_HIPS,
    Key,
    Style,
    free_arm,
    with_arms,
)
from musclemap_data.sample.skeleton import Array, Bones, Dimensions, Limb, Pose, solve

Repetition = Callable[[Dimensions, Style], list[Key]]


@dataclass(frozen=True)
class Exercise:
    """How to perform and to film one activity.

    Attributes:
        repetition: keys of one repetition.
        view_deg: ranges of the yaw (degrees) at which the person may turn to the camera.
        filmed: the rendered sample shows it. The others give skeletons only; to film one more
            changes what every seed of the sample draws.
        any_arms: people do it with any arms; skeletons vary them.
    """

    repetition: Repetition
    view_deg: tuple[tuple[float, float], ...]
    filmed: bool = False
    any_arms: bool = False


_FRONT = ((-40.0, 40.0),)
_QUARTER = ((-75.0, -20.0), (20.0, 75.0))
_UPRIGHT = ((-90.0, 90.0),)
_ANY = ((-180.0, 180.0),)
_ALONG = ((-115.0, -62.0), (62.0, 115.0))

EXERCISES: dict[str, Exercise] = {
    "squat": Exercise(standing.squat, _QUARTER, True, any_arms=True),
    "jump_squat": Exercise(standing.jump_squat, _QUARTER, True, any_arms=True),
    "lunge": Exercise(standing.lunge, _QUARTER, True, any_arms=True),
    "side_lunge": Exercise(standing.side_lunge, _FRONT, True, any_arms=True),
    "jumping_jack": Exercise(standing.jumping_jack, _FRONT, True),
    "high_knees": Exercise(standing.high_knees, ((-70.0, 70.0),), True, any_arms=True),
    "butt_kicks": Exercise(standing.butt_kicks, _QUARTER, True, any_arms=True),
    "arm_circle": Exercise(standing.arm_circle, _FRONT, True),
    "side_leg_raise": Exercise(standing.side_leg_raise, _FRONT, True, any_arms=True),
    "good_morning": Exercise(standing.good_morning, _QUARTER, True),
    "burpee": Exercise(prone.burpee, ((-95.0, -45.0), (45.0, 95.0)), True),
    "push_up": Exercise(prone.push_up, _ALONG, True),
    "plank": Exercise(prone.plank, _ALONG, True),
    "mountain_climber": Exercise(prone.mountain_climber, _ALONG, True),
    "donkey_kick": Exercise(prone.donkey_kick, _ALONG, True),
    "superman": Exercise(prone.superman, _ALONG, True),
    "side_plank": Exercise(prone.side_plank, ((-25.0, 25.0),), True),
    "crunch": Exercise(supine.crunch, _ALONG, True),
    "sit_up": Exercise(supine.sit_up, _ALONG, True),
    "glute_bridge": Exercise(supine.glute_bridge, _ALONG, True),
    "leg_raise": Exercise(supine.leg_raise, _ALONG, True),
    "bicycle_crunch": Exercise(supine.bicycle_crunch, _ALONG, True),
    "russian_twist": Exercise(supine.russian_twist, ((-80.0, -30.0), (30.0, 80.0)), True),
    "calf_raise_hold": Exercise(standing.calf_raise_hold, ((-75.0, 75.0),), True, any_arms=True),
    "hops_on_the_spot": Exercise(standing.hops_on_the_spot, ((-60.0, 60.0),), True),
    "march_twists": Exercise(standing.march_twists, _FRONT, True),
    "front_kicks": Exercise(standing.front_kicks, _QUARTER, True),
    "running": Exercise(standing.running, _QUARTER, True),
    "diamond_push_ups": Exercise(prone.diamond_push_ups, _ALONG, True),
    "raised_leg_push_ups": Exercise(prone.raised_leg_push_ups, _ALONG, True),
    "up_and_down_planks": Exercise(prone.up_and_down_planks, _ALONG, True),
    "plank_jacks": Exercise(prone.plank_jacks, _ALONG, True),
    "shoulder_taps": Exercise(prone.shoulder_taps, _ALONG, True),
    "hollow_hold": Exercise(supine.hollow_hold, _ALONG, True),
    "v_ups": Exercise(supine.v_ups, _ALONG, True),
    "scissors": Exercise(supine.scissors, _ALONG, True),
    "reverse_crunches": Exercise(supine.reverse_crunches, _ALONG, True),
    # On two feet.
    "barbell_squat": Exercise(legs.barbell_squat, _UPRIGHT),
    "sumo_squat": Exercise(legs.sumo_squat, _UPRIGHT, any_arms=True),
    "wall_sit": Exercise(legs.wall_sit, _UPRIGHT),
    "reverse_lunge": Exercise(legs.reverse_lunge, _UPRIGHT, any_arms=True),
    "curtsy_lunge": Exercise(legs.curtsy_lunge, _UPRIGHT, any_arms=True),
    "lunge_twist": Exercise(legs.lunge_twist, _UPRIGHT),
    "side_lunge_touch": Exercise(legs.side_lunge_touch, _FRONT),
    "squat_reach": Exercise(legs.squat_reach, _UPRIGHT),
    "squat_kick": Exercise(legs.squat_kick, _UPRIGHT),
    "single_leg_deadlift": Exercise(legs.single_leg_deadlift, _UPRIGHT),
    "deadlift": Exercise(legs.deadlift, _UPRIGHT),
    "standing_leg_raise": Exercise(legs.standing_leg_raise, _UPRIGHT, any_arms=True),
    "standing_side_crunch": Exercise(legs.standing_side_crunch, _FRONT),
    "marching": Exercise(steps.marching, _UPRIGHT),
    "side_kick": Exercise(legs.side_kick, _UPRIGHT),
    "step_up": Exercise(steps.step_up, _UPRIGHT, any_arms=True),
    "step_aerobics": Exercise(steps.step_aerobics, _UPRIGHT),
    "triangle_pose": Exercise(legs.triangle_pose, _FRONT),
    "hula_hoop": Exercise(steps.hula_hoop, _UPRIGHT),
    "elliptical": Exercise(steps.elliptical, _UPRIGHT),
    "stationary_cycling": Exercise(steps.stationary_cycling, _UPRIGHT),
    # Jumps.
    "box_jump": Exercise(jumps.box_jump, _UPRIGHT),
    "jump_rope": Exercise(jumps.jump_rope, _UPRIGHT),
    "jumping_lunge": Exercise(jumps.jumping_lunge, _UPRIGHT, any_arms=True),
    "lateral_hops": Exercise(jumps.lateral_hops, _FRONT),
    "skater_jump": Exercise(jumps.skater_jump, _FRONT),
    "squat_jack": Exercise(jumps.squat_jack, _UPRIGHT, any_arms=True),
    "star_jump": Exercise(jumps.star_jump, _FRONT),
    "tuck_jump": Exercise(jumps.tuck_jump, _UPRIGHT),
    # With a weight, a rope, a cable.
    "bicep_curl": Exercise(weights.bicep_curl, _UPRIGHT),
    "hammer_curl": Exercise(weights.hammer_curl, _UPRIGHT),
    "front_raise": Exercise(weights.front_raise, _UPRIGHT),
    "lateral_raise": Exercise(weights.lateral_raise, _UPRIGHT),
    "shoulder_press": Exercise(weights.shoulder_press, _UPRIGHT),
    "shrug": Exercise(weights.shrug, _UPRIGHT),
    "thruster": Exercise(weights.thruster, _UPRIGHT),
    "triceps_pushdown": Exercise(weights.triceps_pushdown, _UPRIGHT),
    "bent_over_row": Exercise(weights.bent_over_row, _UPRIGHT),
    "kettlebell_swing": Exercise(weights.kettlebell_swing, _UPRIGHT),
    "medicine_ball_slam": Exercise(weights.medicine_ball_slam, _UPRIGHT),
    "battle_ropes": Exercise(weights.battle_ropes, _UPRIGHT),
    "clean_and_jerk": Exercise(weights.clean_and_jerk, _UPRIGHT),
    "snatch": Exercise(weights.snatch, _UPRIGHT),
    "rowing_machine": Exercise(weights.rowing_machine, _UPRIGHT),
    "bench_press": Exercise(weights.bench_press, _ANY),
    # Boxing; against a wall.
    "arm_swing_back": Exercise(boxing.arm_swing_back, _UPRIGHT),
    "punches": Exercise(boxing.punches, _UPRIGHT),
    "kickboxing": Exercise(boxing.kickboxing, _UPRIGHT),
    "wall_push_up": Exercise(boxing.wall_push_up, _UPRIGHT),
    "doorway_row": Exercise(boxing.doorway_row, _UPRIGHT),
    # On the hands, face down.
    "high_plank": Exercise(support.high_plank, _ALONG),
    "wide_push_up": Exercise(support.wide_push_up, _ALONG),
    "archer_push_ups": Exercise(support.archer_push_ups, _ALONG),
    "circle_push_ups": Exercise(support.circle_push_ups, _ALONG),
    "spiderman_push_up": Exercise(support.spiderman_push_up, _ALONG),
    "t_push_up": Exercise(support.t_push_up, _ALONG),
    "knee_push_up": Exercise(support.knee_push_up, _ALONG),
    "pike_push_up": Exercise(folds.pike_push_up, _ALONG),
    "downward_dog": Exercise(folds.downward_dog, _ALONG),
    "inchworm": Exercise(folds.inchworm, _ALONG),
    "elbow_pike_plank": Exercise(folds.elbow_pike_plank, _ALONG),
    "plank_hip_dip": Exercise(support.plank_hip_dip, _ALONG),
    "plank_leg_lift": Exercise(support.plank_leg_lift, _ALONG),
    "renegade_row": Exercise(support.renegade_row, _ALONG),
    "squat_thrust": Exercise(support.squat_thrust, _ALONG),
    "hindu_push_up": Exercise(folds.hindu_push_up, _ALONG),
    "cobra_pose": Exercise(support.cobra_pose, _ALONG),
    "bear_plank": Exercise(support.bear_plank, _ALONG),
    "bear_crawl": Exercise(support.bear_crawl, _ALONG),
    "handstand_hold": Exercise(support.handstand_hold, _ANY),
    # On hands and knees, on one side.
    "bird_dog": Exercise(sides.bird_dog, _ALONG),
    "fire_hydrant": Exercise(sides.fire_hydrant, _ALONG),
    "side_plank_dip": Exercise(sides.side_plank_dip, _FRONT),
    "side_plank_rotation": Exercise(sides.side_plank_rotation, _FRONT),
    "lying_side_leg_raise": Exercise(sides.lying_side_leg_raise, _FRONT),
    "inner_thigh_lift": Exercise(sides.inner_thigh_lift, _FRONT),
    # Face up on hands and feet; seated.
    "crab_bridge": Exercise(reverse.crab_bridge, _ALONG),
    "crab_toe_touch": Exercise(reverse.crab_toe_touch, _ALONG),
    "crab_walk": Exercise(reverse.crab_walk, _ALONG),
    "reverse_plank": Exercise(reverse.reverse_plank, _ALONG),
    "reverse_plank_kick": Exercise(reverse.reverse_plank_kick, _ALONG),
    "bench_dip": Exercise(reverse.bench_dip, _ANY),
    "triceps_dip_hold": Exercise(reverse.triceps_dip_hold, _ANY),
    "boat_pose": Exercise(reverse.boat_pose, _ANY),
    "seated_knee_tuck": Exercise(reverse.seated_knee_tuck, _ANY),
    "spine_twist": Exercise(reverse.spine_twist, _ANY),
    # Hanging.
    "pull_up": Exercise(hanging.pull_up, _ANY),
    "monkey_bars": Exercise(hanging.monkey_bars, _ANY),
    "rope_climb": Exercise(hanging.rope_climb, _ANY),
    # On the back.
    "butterfly_sit_up": Exercise(supine.butterfly_sit_up, _ALONG),
    "dead_bug": Exercise(supine.dead_bug, _ALONG),
    "elbow_to_knee_crunch": Exercise(supine.elbow_to_knee_crunch, _ALONG),
    "flutter_kicks": Exercise(supine.flutter_kicks, _ALONG),
    "heel_touch": Exercise(supine.heel_touch, _ALONG),
    "single_leg_glute_bridge": Exercise(supine.single_leg_glute_bridge, _ALONG),
    "toe_touch_crunch": Exercise(supine.toe_touch_crunch, _ALONG),
    "windshield_wipers": Exercise(supine.windshield_wipers, _ALONG),
    "modified_scissors": Exercise(supine.modified_scissors, _ALONG),
}


@dataclass(frozen=True)
class Performance:
    """One clip's motion: repetitions one after another, each with its own tempo and depth.

    Attributes:
        size: the person's dimensions.
        keys: of all repetitions; starts[i] is the second at which keys[i] is reached.
        repetition_starts: seconds; the last entry is the end.
        sway: [4, 3] amplitude (m, rad, rad, Hz) and phase of the small motion of a living body.
    """

    size: Dimensions
    keys: tuple[Key, ...]
    starts: Array
    repetition_starts: Array
    sway: Array

    @property
    def seconds(self) -> float:
        """How long all repetitions take together, in seconds."""
        return float(self.repetition_starts[-1])

    def phase(self, time_s: float) -> float:
        """Share of the current repetition that is done, in [0, 1); -1 before the first."""
        if time_s < 0:
            return -1.0
        time_s = min(time_s, self.seconds - 1e-9)
        at = int(np.searchsorted(self.repetition_starts, time_s, side="right")) - 1
        start, end = self.repetition_starts[at], self.repetition_starts[at + 1]
        return float((time_s - start) / (end - start))

    def bones(self, time_s: float) -> Bones:
        """The body at a moment; before 0 it waits in the first pose."""
        clipped = min(max(time_s, 0.0), self.seconds - 1e-9)
        at = int(np.searchsorted(self.starts, clipped, side="right")) - 1
        here = self.keys[at]
        after = self.keys[(at + 1) % len(self.keys)]
        share = float((clipped - self.starts[at]) / max(here.seconds, 1e-9))
        rise = 4 * here.hop * share * (1 - share)
        share = EASES[here.ease](share)
        if after.pose is here.pose:
            share = 0.0
        first = self._breathe(here.pose, time_s)
        second = self._breathe(after.pose, time_s)
        return solve(self.size, first, second, share, rise)

    def _breathe(self, pose: Pose, time_s: float) -> Pose:
        waves = np.sin(2 * np.pi * self.sway[3] * time_s + self.sway[2])
        return replace(
            pose,
            pelvis=pose.pelvis + np.array([1.0, 0.25, 1.0]) * self.sway[0] * waves,
            spine=pose.spine + self.sway[1] * np.roll(waves, 1),
            head=pose.head + 1.5 * self.sway[1][:2] * waves[:2],
        )


OTHER_ARMS = (
    HANGING,
    ON_HIPS,
    HANDS_JOINED,
    GUARD,
    BEHIND_HEAD,
    free_arm(0, 0, 0.97, (0.6, -0.8, 0)),
)
"""Left arms that people use where an exercise leaves them free."""


def perform(
    activity: str,
    size: Dimensions,
    rng: np.random.Generator,
    at_least_s: float,
    *,
    as_filmed: bool = False,
) -> Performance:
    """Draws one clip's motion: whole repetitions that last ``at_least_s`` seconds or a little more.

    Args:
        activity: of ``EXERCISES``.
        size: the person's dimensions.
        rng: of everything drawn.
        at_least_s: seconds.
        as_filmed: as the rendered sample shows it, whose arms do not vary.

    Raises:
        ValueError: an activity that the sample cannot perform.
    """
    if activity not in EXERCISES:
        raise ValueError(f"unknown activity {activity!r}; the sample knows {sorted(EXERCISES)}")
    variant = int(rng.integers(4))
    stance, tempo = float(rng.uniform(0.9, 1.12)), float(rng.uniform(0.85, 1.2))
    depth = float(rng.uniform(0.88, 1.04))
    keys: list[Key] = []
    repetition_starts = [0.0]
    while repetition_starts[-1] < at_least_s:
        style = Style(
            depth=depth * float(rng.uniform(0.95, 1.03)),
            stance=stance,
            tempo=tempo * float(rng.uniform(0.94, 1.07)),
            variant=variant,
        )
        more = EXERCISES[activity].repetition(size, style)
        keys += more
        repetition_starts.append(repetition_starts[-1] + sum(key.seconds for key in more))
    starts = np.concatenate([[0.0], np.cumsum([key.seconds for key in keys])[:-1]])
    if EXERCISES[activity].any_arms and not as_filmed:
        # A stream of its own: whatever is drawn next is the same with other arms.
        own = rng.spawn(1)[0]
        if own.random() < 0.6:
            keys = _with_other_arms(keys, OTHER_ARMS[int(own.integers(len(OTHER_ARMS)))])
    sway = np.stack(
        [
            rng.uniform(0.001, 0.003, 3),
            rng.uniform(0.003, 0.012, 3),
            rng.uniform(0, 2 * np.pi, 3),
            rng.uniform(0.3, 0.9, 3),
        ]
    )
    return Performance(size, tuple(keys), starts, np.array(repetition_starts), sway)


def _with_other_arms(keys: list[Key], arm: Limb) -> list[Key]:
    # Equal keys stay one object: between them the body holds still.
    poses = {id(key.pose): with_arms(key.pose, arm) for key in keys}
    return [replace(key, pose=poses[id(key.pose)]) for key in keys]
