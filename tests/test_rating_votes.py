"""Votes that come back: read from files and databases, and what is left out of them, counted by the reason."""

import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from promptavideo.rating.ballots import Ballots, Vote
from promptavideo.rating.collect import Record, collect, write
from promptavideo.rating.folder import files, unmerged, voted
from promptavideo.rating.plan import Plan
from promptavideo.schemas import VOTES, read_table
from studies import choosing, hand_over, make_plan, simulated_file, simulated_vote

PLAN = make_plan()


def read(folder: Path, plan: Plan = PLAN) -> tuple[Any, Record]:
    return collect(plan, [Path(file) for file in files(folder)])


def reasons(record: Record) -> dict[str, int]:
    return {reason: count for reason, count in record.left_out.items() if count}


def test_files_and_databases_become_one_table(tmp_path: Path) -> None:
    hand_over(tmp_path, "by-hand", simulated_file(PLAN, 2, "rater-b"))
    ballots = Ballots(tmp_path, PLAN)
    slot = ballots.join("rater-a")
    for place in range(1, len(PLAN.slots[0]) + 1):
        said = simulated_vote(PLAN, slot, place, choosing(PLAN, slot, place, first=False))
        ballots.vote(slot, Vote(rater="rater-a", **said))
    # The server still has the database open, and its last votes are not in the file itself.
    votes, record = read(tmp_path)
    ballots.close()
    assert record.read == record.counted == len(votes) == 2 * len(PLAN.slots[0]) and not reasons(record)
    by_rater = votes[votes["kind"] == "item"].groupby("rater")["outcome"].unique()
    assert by_rater["rater-a"].tolist() == ["loss"] and by_rater["rater-b"].tolist() == ["win"]
    checks = votes[votes["kind"] == "check"]
    assert set(checks["refiner"]) == {"intact"} and set(checks["against"]) == {"broken"} and len(checks) == 2
    assert votes["kind"].value_counts().to_dict() == {"item": 8, "check": 2, "repeat": 2}
    for row in votes.to_dict("records"):
        at = PLAN.slots[row["slot"] - 1][row["position"] - 1]
        assert row["left"] == PLAN.named[at.item].side(at.left).refiner
        wins = (row["answer"] == "left") == (row["left"] == row["refiner"])
        assert row["outcome"] == ("win" if wins else "loss")
    write(votes, record, tmp_path / "votes.parquet", tmp_path / "votes.record")
    assert len(read_table(tmp_path / "votes.parquet", VOTES)) == len(votes)


def test_no_votes_are_a_table_too(tmp_path: Path) -> None:
    votes, record = read(tmp_path / "nothing")
    write(votes, record, tmp_path / "votes.parquet", tmp_path / "votes.record")
    assert read_table(tmp_path / "votes.parquet", VOTES).empty and record.counted == 0


def test_what_does_not_count_is_counted_by_its_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = simulated_file(PLAN, 1, "rater-a")
    number = len(whole["votes"])
    hand_over(tmp_path, "a", whole)
    hand_over(tmp_path, "b-the-same-again", whole)
    hand_over(tmp_path, "c-other-plan", simulated_file(make_plan(raters=2), 1, "rater-c"))
    hand_over(tmp_path, "d-unknown-slot", whole | {"slot": 99, "rater": "rater-d"})
    wrong = simulated_file(PLAN, 2, "rater-e")
    for change, vote in zip(
        ({"position": 99}, {"question": "other"}, {"answer": "middle"}, {"left": "x.mp4"}), wrong["votes"], strict=False
    ):
        vote |= change
    hand_over(tmp_path, "e-not-in-plan", wrong)
    back = simulated_file(PLAN, 3, "rater-f", {1: "left"})
    again = back["votes"][0] | {"vote": "again", "round": 1, "answer": "both-good"}
    hand_over(tmp_path, "f-taken-back", back | {"votes": [*back["votes"], again], "undone": [back["votes"][0]["vote"]]})
    with caplog.at_level(logging.INFO):
        votes, record = read(tmp_path)
    assert reasons(record) == {
        "other plan": number, "unknown slot": number, "not in the plan": 4, "duplicate": number, "undone": 1,
    }  # fmt: skip
    assert record.counted == len(votes) == record.read - sum(reasons(record).values())
    assert "left out, other plan" in caplog.text and "left out, undone: 1" in caplog.text
    taken_back = votes[votes["rater"] == "rater-f"]
    assert taken_back["answer"].tolist() == ["both-good"] and taken_back["outcome"].tolist() == ["tie-good"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "Expecting value"),
        ("[1, 2]", "it is no file of votes"),
        ('{"format": "other"}', "it is no file of votes"),
        ('{"format": "prompt-a-video-votes", "version": 2}', "its version 2 is not known"),
        ('{"format": "prompt-a-video-votes", "version": 1, "plan": "x"}', "Field required"),
        ('{"format": "prompt-a-video-votes", "version": 1, "plan": "x", "rater": "r", "slot": "1"}', "integer"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_named_and_stays(tmp_path: Path, text: str, told: str) -> None:
    path = hand_over(tmp_path, "wrong", text)
    hand_over(tmp_path, "good", simulated_file(PLAN, 1, "rater-a"))
    _, record = read(tmp_path)
    assert told in record.malformed[str(path)] and reasons(record) == {"malformed file": 1}
    assert record.counted == len(PLAN.slots[0]) and path.read_text() == text


def test_a_damaged_database_is_named_and_stays(tmp_path: Path) -> None:
    (tmp_path / "server-x.sqlite").write_bytes(b"SQLite format 3\0" + b"\xff" * 4000)
    sqlite3.connect(tmp_path / "server-y.sqlite").close()
    _, record = read(tmp_path)
    assert len(record.malformed) == 2 and (tmp_path / "server-x.sqlite").stat().st_size == 4016


def test_of_two_raters_at_one_place_the_one_with_more_votes_counts(tmp_path: Path) -> None:
    hand_over(tmp_path, "a", simulated_file(PLAN, 1, "rater-a", {1: "left", 2: "right"}))
    hand_over(tmp_path, "b", simulated_file(PLAN, 1, "rater-b"))
    hand_over(tmp_path, "c", simulated_file(PLAN, 2, "rater-d", {1: "left"}))
    hand_over(tmp_path, "d", simulated_file(PLAN, 2, "rater-c", {1: "left"}))
    votes, record = read(tmp_path)
    assert set(votes["rater"]) == {"rater-b", "rater-c"} and reasons(record) == {"conflicting slot": 3}
    assert record.conflicts == {"1": ["rater-a"], "2": ["rater-d"]}


def test_times_that_cannot_be_are_none(tmp_path: Path) -> None:
    said = simulated_file(PLAN, 1, "rater-a", {1: "left", 2: "left", 3: "left", 4: "left"})
    for vote, time in zip(said["votes"], (-1, 10**12, "soon", 1500), strict=True):
        vote["milliseconds"] = time
    hand_over(tmp_path, "a", said)
    votes, _ = read(tmp_path)
    assert votes["milliseconds"].isna().tolist() == [True, True, True, False]


def test_a_folder_says_of_which_plans_there_are_votes_and_what_a_server_still_holds(tmp_path: Path) -> None:
    ballots = Ballots(tmp_path, PLAN)
    assert voted(tmp_path) == {}, "a server that was only started holds none"
    slot = ballots.join("rater-a")
    before = unmerged(str(ballots.path))
    ballots.vote(slot, Vote(rater="rater-a", **simulated_vote(PLAN, slot, 1, "left")))
    assert unmerged(str(ballots.path)) != before
    path = hand_over(tmp_path, "a", simulated_file(make_plan(raters=2), 1, "rater-b"))
    assert voted(tmp_path) == {PLAN.id: [str(ballots.path)], make_plan(raters=2).id: [str(path)]}
    ballots.close()
    assert unmerged(str(ballots.path)) == [] and voted(tmp_path)[PLAN.id]
