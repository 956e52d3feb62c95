"""Proposals as a file that people read and edit."""

from __future__ import annotations

import pytest

from musclemap_data.errors import UserError
from musclemap_data.segment.proposals import (
    PROPOSALS_FILE,
    Proposal,
    proposal_id,
    read_proposals,
    write_proposals,
)

CLIP = Proposal(
    "videos/-a.mp4", "-a", proposal_id("-a", 1.5, 4), 1.5, 4.0, "squat", "jump_squat", 2.5, False,
    0.83, ("2.5 repetitions", "both ways alike"), "", (1.5, 2.75, 4.0),
    (0.25, 0.1, 0.5, 0.9),
)  # fmt: skip
REST = Proposal("videos/-a.mp4", "-a", proposal_id("-a", 4, 9), 4.0, 9.0, left_out="stands")


def test_proposals_are_read_as_they_were_written(tmp_path):
    write_proposals(tmp_path / PROPOSALS_FILE, [CLIP, REST])
    assert read_proposals(tmp_path / PROPOSALS_FILE) == [CLIP, REST]
    assert CLIP.proposal == "s_-a_0001500_0004000"


def test_a_file_from_a_spreadsheet_is_read(tmp_path):
    path = tmp_path / "p.csv"
    write_proposals(path, [CLIP])
    lines = path.read_text(encoding="utf-8").splitlines()
    shorter = [line.rsplit(",", 2)[0] for line in lines]  # without borders and box
    path.write_bytes(("\ufeff" + "\r\n".join(shorter) + "\r\n").encode())
    (read,) = read_proposals(path)
    assert (read.start, read.reasons, read.borders, read.box) == (1.5, CLIP.reasons, (), ())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("start,", "begin,", "line 1: missing columns: start"),
        ("1.500,4.000", "4.000,1.500", "line 2: start 4.000 and end 1.500"),
        ("1.500,4.000", "x,4.000", "line 2: could not convert"),
        ("1.500,4.000", "nan,4.000", "line 2: start nan"),
        ("-a,s_", ",s_", "line 2: video_id and proposal"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, old, new, said):
    path = tmp_path / "p.csv"
    write_proposals(path, [CLIP])
    path.write_text(path.read_text().replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError, match=said):
        read_proposals(path)


def test_a_missing_file_names_the_command(tmp_path):
    with pytest.raises(UserError, match="musclemap segment"):
        read_proposals(tmp_path / "none.csv")
