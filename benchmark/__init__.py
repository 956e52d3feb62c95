"""The benchmark: reads shards, trains, scores. Never touches a video."""
