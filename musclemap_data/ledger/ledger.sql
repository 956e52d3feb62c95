CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE videos (
    video_id TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    local_path TEXT,              -- absolute source of a local url
    state TEXT NOT NULL,          -- planned, downloaded, failed
    attempts INTEGER NOT NULL DEFAULT 0,
    file TEXT,                    -- relative to the data directory
    bytes INTEGER,
    sha256 TEXT,
    duration_s REAL,
    title TEXT, uploader TEXT, licence TEXT,
    tool TEXT,                    -- what fetched it, with its version
    failure_class TEXT, failure_stage TEXT, failure_reason TEXT,
    seconds REAL,                 -- time the last attempt took
    updated_at TEXT NOT NULL
) STRICT;
CREATE TABLE clips (
    clip_id TEXT PRIMARY KEY,
    video_id TEXT NOT NULL REFERENCES videos (video_id),
    start_s REAL NOT NULL,
    end_s REAL,
    activity TEXT NOT NULL,
    split TEXT NOT NULL,
    state TEXT NOT NULL,          -- planned, built, failed, withdrawn, whole
    attempts INTEGER NOT NULL DEFAULT 0,
    shard_number INTEGER,         -- its place, fixed at first planning
    shard_row INTEGER,
    source_sha256 TEXT,           -- of the video it was built from
    failure_class TEXT, failure_stage TEXT, failure_reason TEXT,
    timings TEXT,                 -- JSON: stage -> seconds
    damaged_frames INTEGER,       -- at which the decoder complained of the video
    skeleton_quality REAL,        -- of the skeleton in its row, 0 to 1
    updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX clips_by_video ON clips (video_id);
CREATE INDEX clips_by_shard ON clips (split, shard_number);
