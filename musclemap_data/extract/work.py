"""The two kinds of jobs, and what runs them."""

from __future__ import annotations

from musclemap_data.extract import clip
from musclemap_data.extract.assemble import ShardJob, Written, write_job
from musclemap_data.extract.clip import ClipJob

Job = ClipJob | ShardJob
Outcome = clip.Outcome | Written


def run_job(job: Job) -> Outcome:
    """Extract a clip, or write a shard.

    Raises:
        UserError, ValueError, OSError: see ``clip.run_job`` and ``assemble.write_job``.
    """
    return write_job(job) if isinstance(job, ShardJob) else clip.run_job(job)
