"""Downloaded videos to shards: cut a clip, compute its modalities, write its row."""
