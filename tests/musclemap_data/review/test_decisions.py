"""The file of decisions and what follows from it: undo, splits, merging, agreement, conflicts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sklearn.metrics import cohen_kappa_score

from musclemap_data.errors import UserError
from musclemap_data.review.decisions import (
    COLUMNS,
    Decision,
    DecisionFile,
    Kind,
    merge_decisions,
    read_decisions,
    write_decisions,
)
from musclemap_data.review.opinions import (
    State,
    Stretch,
    carry_over,
    conflicts,
    decided,
    opinions,
    overlap,
    review_agreement,
)

BEGAN = datetime(2026, 11, 1, 12, tzinfo=UTC)


class Writer:
    """Makes decisions, each a second after the one before."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(
        self,
        kind: Kind,
        clip: str = "p1",
        *,
        by: str = "ab",
        start: float = 1.0,
        end: float | None = 3.0,
        activity: str = "squat",
        **more: object,
    ) -> Decision:
        self.made += 1
        values: dict[str, object] = dict(
            decision=f"d{self.made:03}",
            time=(BEGAN + timedelta(seconds=self.made)).isoformat(),
            reviewer=by,
            kind=kind,
            proposal=clip.partition(".")[0],
            clip=clip,
            video_id="v",
            start_s=start,
            end_s=end,
            activity=activity,
            split_at_s=None,
            reason="another exercise" if kind is Kind.REJECT else "",
            undoes="",
            proposed_start_s=1.0,
            proposed_end_s=3.0,
            proposed_activity="squat",
        )
        return Decision(**(values | more))  # type: ignore[arg-type]


@pytest.fixture
def make() -> Writer:
    return Writer()


def states(decisions: list[Decision]) -> dict[str, str]:
    return {clip: str(each.state) for (_, clip), each in opinions(decisions).items()}


def test_what_is_written_is_read_back(tmp_path: Path, make: Writer):
    file = DecisionFile(tmp_path / "new" / "decisions.csv")
    written = [
        make(Kind.MOVE, start=0.25, end=None),
        make(Kind.REJECT, reason='text over it, "big", at 0:03'),
        make(Kind.SPLIT, split_at_s=2.0),
    ]
    for each in written:
        file.append(each)
    assert read_decisions(file.path) == written == file.decisions()
    assert file.path.read_text().splitlines()[0] == ",".join(COLUMNS)


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_half_line_of_a_killed_program_is_left_out_and_mended(tmp_path, make, cut):
    path = tmp_path / "decisions.csv"
    file = DecisionFile(path)
    first, second = make(Kind.ACCEPT), make(Kind.ACCEPT, "p2")
    file.append(first)
    file.append(second)
    path.write_bytes(path.read_bytes()[:-cut])
    resumed = DecisionFile(path)
    assert resumed.decisions() == [first]
    third = make(Kind.REJECT, "p3")
    resumed.append(third)
    assert read_decisions(path) == [first, third]


def test_a_header_that_was_cut_is_written_anew(tmp_path, make):
    path = tmp_path / "decisions.csv"
    path.write_text("decision,time,rev")
    only = make(Kind.ACCEPT)
    DecisionFile(path).append(only)
    assert read_decisions(path) == [only]


def test_two_programs_may_append_to_one_file(tmp_path, make):
    one, other = (DecisionFile(tmp_path / "d.csv") for _ in range(2))
    lines = [make(Kind.ACCEPT), make(Kind.ACCEPT, "p2", by="cd"), make(Kind.ACCEPT, "p3")]
    one.append(lines[0])
    other.append(lines[1])
    one.append(lines[2])
    assert one.decisions() == other.decisions() == lines


def test_a_clock_that_went_back_does_not_turn_the_order_around(tmp_path, make):
    file = DecisionFile(tmp_path / "d.csv")
    late = (BEGAN + timedelta(days=1)).isoformat()
    file.append(make(Kind.ACCEPT, time=late))
    file.append(make(Kind.REJECT))
    assert states(file.decisions()) == {"p1": "rejected"}


def test_a_file_saved_by_a_spreadsheet_is_still_read(tmp_path, make):
    path = tmp_path / "d.csv"
    written = [make(Kind.ACCEPT), make(Kind.REJECT, "p2")]
    write_decisions(path, written)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_decisions(path) == written


@pytest.mark.parametrize(
    ("cell", "value", "message"),
    [
        ("kind", "approve", "kind 'approve'"),
        ("time", "yesterday", "is not a time"),
        ("reviewer", "a b; c", "reviewer 'a b; c'"),
        ("end_s", "0.5", "is not after start_s"),
        ("start_s", "nan", "is not a time in seconds"),
        ("clip", "q7", "clip must be the proposal or a part of it"),
    ],
)
def test_a_wrong_cell_is_named_with_its_line(tmp_path, make, cell, value, message):
    path = tmp_path / "d.csv"
    write_decisions(path, [make(Kind.ACCEPT), make(Kind.ACCEPT, "p2")])
    lines = path.read_text().splitlines()
    cells = lines[2].split(",")
    cells[COLUMNS.index(cell)] = value
    path.write_text("\n".join([*lines[:2], ",".join(cells), ""]))
    with pytest.raises(UserError, match="line 3") as caught:
        read_decisions(path)
    assert message in str(caught.value)


def test_undo_takes_back_what_it_names_and_nothing_else(make):
    move = make(Kind.MOVE, start=1.5)
    relabel = make(Kind.RELABEL, start=1.5, activity="lunge")
    accept = make(Kind.ACCEPT, start=1.5, activity="lunge")
    done = [move, relabel, accept]
    assert states(done) == {"p1": "accepted"}
    done.append(make(Kind.UNDO, undoes=accept.decision))
    assert states(done) == {"p1": "open"}
    done.append(make(Kind.UNDO, undoes=relabel.decision))
    assert opinions(done)["ab", "p1"].activity == "squat"
    assert opinions(done)["ab", "p1"].start_s == 1.5
    done.append(make(Kind.UNDO, undoes=move.decision))
    assert states(done) == {}


def test_an_accepted_clip_stays_accepted_when_moved_and_a_rejected_one_opens(make):
    assert states([make(Kind.ACCEPT), make(Kind.MOVE, start=1.2)]) == {"p1": "accepted"}
    assert states([make(Kind.REJECT), make(Kind.MOVE, start=1.2)]) == {"p1": "open"}


def test_the_parts_of_a_split_are_decided_alone_and_go_with_it(make):
    split = make(Kind.SPLIT, split_at_s=2.0)
    first = make(Kind.ACCEPT, "p1.1", end=2.0)
    second = make(Kind.REJECT, "p1.2", start=2.0)
    assert states([split]) == {"p1": "split", "p1.1": "open", "p1.2": "open"}
    found = opinions([split, first, second])
    assert (found["ab", "p1.1"].end_s, found["ab", "p1.2"].start_s) == (2.0, 2.0)
    assert [each.clip for each in decided(found)["ab", "p1"]] == ["p1.1"]
    undone = make(Kind.UNDO, undoes=split.decision)
    assert states([split, first, second, undone]) == {}
    again = make(Kind.ACCEPT)
    assert states([split, first, again]) == {"p1": "accepted"}


def test_files_merge_line_by_line_in_any_order(tmp_path, make):
    mine = [make(Kind.ACCEPT), make(Kind.REJECT, "p2")]
    theirs = [make(Kind.ACCEPT, by="cd"), make(Kind.ACCEPT, "p2", by="cd")]
    write_decisions(tmp_path / "a.csv", mine)
    write_decisions(tmp_path / "b.csv", theirs)
    write_decisions(tmp_path / "copy.csv", [mine[0], theirs[1]])
    paths = [tmp_path / f"{name}.csv" for name in ("a", "b", "copy")]
    merged = merge_decisions(paths)
    assert merged == merge_decisions(paths[::-1]) == mine + theirs
    assert [str(each) for each in conflicts(opinions(merged))] == [
        "p2: ab and cd differ: rejected and accepted"
    ]


def test_a_line_that_was_changed_by_hand_in_one_copy_does_not_merge(tmp_path, make):
    line = make(Kind.ACCEPT)
    write_decisions(tmp_path / "a.csv", [line])
    text = (tmp_path / "a.csv").read_text()
    (tmp_path / "b.csv").write_text(text.replace("squat", "lunge"))
    with pytest.raises(UserError, match=f"decision {line.decision} of ab about p1 differs"):
        merge_decisions([tmp_path / "a.csv", tmp_path / "b.csv"])


def test_conflicts_say_on_what_two_people_differ(make):
    pairs = {
        "same": ({}, {"start": 1.2}),
        "label": ({}, {"activity": "lunge"}),
        "border": ({}, {"end": 3.75}),
    }
    decisions = [
        make(Kind.ACCEPT, name, by=who, **change)
        for name, changes in pairs.items()
        for who, change in zip(("ab", "cd"), changes, strict=True)
    ]
    decisions += [
        make(Kind.ACCEPT, "parts"),
        make(Kind.SPLIT, "parts", by="cd", split_at_s=2.0),
        make(Kind.ACCEPT, "parts.1", by="cd", end=2.0),
        make(Kind.ACCEPT, "parts.2", by="cd", start=2.0),
        make(Kind.ACCEPT, "half"),
        make(Kind.MOVE, "half", by="cd"),  # not decided: no conflict
    ]
    assert {each.proposal: each.what for each in conflicts(opinions(decisions))} == {
        "label": "squat and lunge",
        "border": "borders 0.00 s and 0.75 s apart",
        "parts": "1 and 2 clips",
    }


def test_agreement_is_cohens_kappa_over_what_both_decided(make):
    answers = [  # (ab, cd): a label, or no for a rejection
        ("squat", "squat"), ("squat", "lunge"), ("lunge", "lunge"), ("no", "no"),
        ("no", "squat"), ("plank", "plank"), ("no", "no"), ("lunge", "no"),
    ]  # fmt: skip
    decisions = []
    for number, pair in enumerate(answers):
        for who, answer, shift in zip(("ab", "cd"), pair, (0.0, 0.1), strict=True):
            kind = Kind.REJECT if answer == "no" else Kind.ACCEPT
            label = "squat" if answer == "no" else answer
            name = f"p{number}"
            decisions.append(make(kind, name, by=who, start=1 + shift, activity=label))
    decisions.append(make(Kind.ACCEPT, "p99"))  # of one of them only
    found = review_agreement(opinions(decisions), "ab", "cd")
    assert (found.both, found.accepted) == (8, 4)
    verdicts = [[answer == "no" for answer in said] for said in zip(*answers, strict=True)]
    assert found.verdict_kappa == pytest.approx(cohen_kappa_score(*verdicts))
    both = [pair for pair in answers if "no" not in pair]
    labels = list(zip(*both, strict=True))
    assert found.label_kappa == pytest.approx(cohen_kappa_score(*labels))
    assert found.label_same == 0.75
    assert found.border_largest_s == pytest.approx(0.1)
    assert found.border_median_s == pytest.approx(0.05)  # beginnings 0.1 s apart, ends 0


def test_two_reviewers_with_nothing_in_common_have_no_figures(make):
    decisions = [make(Kind.ACCEPT), make(Kind.ACCEPT, "p2", by="cd")]
    found = review_agreement(opinions(decisions), "ab", "cd")
    assert found.both == 0
    assert found.verdict_kappa is None and found.border_median_s is None


def test_decisions_follow_a_stretch_that_was_proposed_anew_under_another_name(make):
    old = [make(Kind.ACCEPT, "v_001", start=1.1), make(Kind.REJECT, "v_002")]
    old[1] = make(
        Kind.REJECT, "v_002", start=10, end=12, proposed_start_s=10.0, proposed_end_s=12.0
    )
    now = [
        Stretch("v_001", "v", 10.05, 12.0, "squat"),  # what was v_002
        Stretch("v_002", "v", 1.0, 3.1, "squat"),  # what was v_001
        Stretch("w_001", "w", 1.0, 3.0, "squat"),  # another video
    ]
    found = opinions(carry_over(old, now))
    assert found["ab", "v_001"].state is State.REJECTED
    assert found["ab", "v_002"].state is State.ACCEPTED
    assert found["ab", "v_002"].start_s == 1.1  # the reviewer's border, not the new proposal's
    assert ("ab", "w_001") not in found


def test_a_decision_whose_stretch_is_gone_is_kept_under_a_name_of_its_own(make):
    old = [make(Kind.ACCEPT, "v_001")]
    elsewhere = [Stretch("v_001", "v", 50.0, 52.0, "squat")]
    assert list(opinions(carry_over(old, elsewhere))) == [("ab", "v_001-1000")]
    assert list(opinions(carry_over(old, []))) == [("ab", "v_001")]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((1, 3), (1, 3), 1),
        ((1, 3), (2, 4), 1 / 3),
        ((1, 2), (3, 4), 0),
        ((0, None), (0, None), 1),
        ((0, None), (0, 5), 0),
    ],
)
def test_overlap_is_over_the_union(a, b, expected):
    assert overlap(a, b) == pytest.approx(expected)
