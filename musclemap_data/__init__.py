"""Dataset construction: from video URLs to Parquet shards. Knows nothing of the models."""
