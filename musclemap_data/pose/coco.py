from musclemap_data.coco import *  # noqa: F403
