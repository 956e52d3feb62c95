"""The COCO-17 joint order, which every pose backend answers in.

Left and right are the person's own. Source: the "person_keypoints" annotations of COCO
(Lin et al., "Microsoft COCO", ECCV 2014), whose order all common 2D pose models share.
"""

import numpy as np
import numpy.typing as npt

JOINTS: tuple[str, ...] = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip

JOINT_COUNT = len(JOINTS)

# Joint order of a mirrored skeleton: ``skeleton[..., MIRRORED, :]`` (and x = width - 1 - x).
MIRRORED: tuple[int, ...] = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)

# Joints joined by a bone: a tree plus the closed trunk.
BONES: tuple[tuple[int, int], ...] = (
    (0, 1), (0, 2), (1, 3), (2, 4), (0, 5), (0, 6),  # head
    (5, 6), (5, 7), (7, 9), (6, 8), (8, 10),  # arms
    (5, 11), (6, 12), (11, 12),  # trunk
    (11, 13), (13, 15), (12, 14), (14, 16),  # legs
)  # fmt: skip


def person_share(skeleton: npt.NDArray[np.float32]) -> float:
    """Share of a clip's frames in which a person was found; 0 for a clip of no frames.

    Args:
        skeleton: float32 [T, M, 17, 3].
    """
    if len(skeleton) == 0:
        return 0.0
    found = np.isfinite(skeleton[..., :2]).all(axis=-1) & (skeleton[..., 2] > 0)
    return float(found.any(axis=(1, 2)).mean())
