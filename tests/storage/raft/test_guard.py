"""The holes that were found in PySyncObj 0.3.17, one by one, as one node sees them: its neighbours are this test."""

from __future__ import annotations

import pickle
from typing import Any

import pysyncobj.pickle
import pysyncobj.syncobj
import pytest
from caveau.storage.raft import commands, core, membership
from caveau.storage.raft.engine import Configuration, Role, Server
from caveau.storage.raft.guard import Diverged
from caveau.storage.raft.recovery import recover
from caveau.storage.raft.replica import Proposal, Replica
from caveau.storage.raft.timeouts import Timeouts
from caveau.storage.raft.wal import Entry, Wal

from .cluster import Events
from .disks import FakeDisk
from .simulator import State

MEMBERS = Configuration(tuple(Server(name, name) for name in "abc"), 1)


class Node:
    """``a`` of three, alone with the messages that it gets and sends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.chance = 0.5
        monkeypatch.setattr(pysyncobj.syncobj, "monotonicTime", lambda: self.now)
        self.disk, self.state = FakeDisk(), State(MEMBERS)
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.start()
        for name in "bc":
            self.replica.connected(name, True)

    def start(self) -> None:
        self.replica = Replica(
            "a",
            recover(Wal(self.disk), self.state),
            self.state,
            Events(),
            deliver=lambda node, message: self.sent.append((node, message)),
            room=lambda node: True,
            background=lambda work, then: None,
            clock=lambda: self.now,
            chance=lambda: self.chance,
            timeouts=Timeouts(),
        )
        self.round()

    def half(self) -> None:
        """Up to the disk."""
        self.replica.advance()

    def round(self) -> list[tuple[str, dict[str, Any]]]:
        """What it has sent by the end of it."""
        self.half()
        self.replica.log.wal.flush()
        done = self.replica.settle()
        self.state.apply(done)
        self.replica.finish(done)
        sent, self.sent = self.sent, []
        return sent

    def take(self, node: str, **message: Any) -> None:
        self.replica.receive(node, message)

    def append(self, *entries: Entry, prev: int, prev_term: int, term: int, commit: int = 0) -> None:
        self.take(
            "b",
            type="append_entries",
            term=term,
            commit_index=commit,
            entries=list(entries),
            prevLogIdx=prev,
            prevLogTerm=prev_term,
            seq=1,
            sent=1.0,
            lease=0.5,
            timeout=0.8,
        )

    def answer(self, node: str, following: int, term: int | None = None, success: bool = True) -> None:
        self.take(
            node,
            type="next_node_idx",
            term=self.replica.core.term if term is None else term,
            next_node_idx=following,
            reset=not success,
            success=success,
            seq=self.replica.guard.seq,
            sent=self.now,
            fsync=0.0,
        )

    def wait(self, seconds: float) -> list[tuple[str, dict[str, Any]]]:
        self.now += seconds
        return self.round() + self.round()

    def lead(self) -> None:
        self.wait(3)
        self.take("b", type="would_vote", term=1, granted=True)
        self.round()
        self.round()
        self.take("b", type="response_vote", term=1)
        self.round()
        assert self.replica.core.is_leader


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(monkeypatch)


def entry(index: int, term: int = 1) -> Entry:
    return Entry(commands.batch({f"k{index}": b"%d" % term}), index, term)


def acks(sent: list[tuple[str, dict[str, Any]]]) -> list[tuple[int, bool]]:
    return [(m["next_node_idx"], m["success"]) for _, m in sent if m["type"] == "next_node_idx"]


def kinds(sent: list[tuple[str, dict[str, Any]]]) -> set[str]:
    return {message["type"] for _, message in sent}


def test_an_acknowledgement_waits_for_the_disk(node: Node) -> None:
    node.append(entry(2), entry(3), prev=1, prev_term=0, term=1)
    node.half()
    assert node.sent == []
    assert acks(node.round()) == [(4, True)]
    assert [e.idx for e in Wal(node.disk).open().entries] == [1, 2, 3]


def test_a_vote_waits_for_the_disk_and_is_known_after_a_restart(node: Node) -> None:
    node.wait(3)
    node.take("b", type="request_vote", term=5, last_log_index=1, last_log_term=0, transfer=False)
    node.half()
    assert "response_vote" not in kinds(node.sent)
    assert "response_vote" in kinds(node.round())
    node.start()
    assert node.replica.core.term == 5
    node.wait(3)
    node.take("c", type="request_vote", term=5, last_log_index=1, last_log_term=0, transfer=False)
    assert "response_vote" not in kinds(node.round())


def test_a_repeated_append_cuts_nothing_off(node: Node) -> None:
    node.append(*(entry(i) for i in range(2, 12)), prev=1, prev_term=0, term=1)
    node.round()
    node.append(*(entry(i) for i in range(2, 6)), prev=1, prev_term=0, term=1, commit=11)
    assert acks(node.round()) == [(6, True)]
    assert node.replica.log.last == 11
    assert node.replica.core.commit == 5  # of the rest nobody has said that it is the leader's


def test_what_conflicts_is_replaced_from_there_on(node: Node) -> None:
    node.append(*(entry(i) for i in range(2, 12)), prev=1, prev_term=0, term=1)
    node.append(entry(5), entry(6, 2), prev=4, prev_term=1, term=2)
    assert acks(node.round())[-1] == (7, True)
    assert [(e.idx, e.term) for e in node.replica.log[4:]] == [(5, 1), (6, 2)]


def test_what_conflicts_with_what_is_committed_stops_the_node(node: Node) -> None:
    node.append(*(entry(i) for i in range(2, 6)), prev=1, prev_term=0, term=1, commit=4)
    node.round()
    with pytest.raises(Diverged, match="another entry 4"):
        node.append(entry(4, 2), prev=3, prev_term=1, term=2)


def test_what_is_missing_or_different_before_is_asked_for(node: Node) -> None:
    node.append(*(entry(i) for i in range(2, 6)), prev=1, prev_term=0, term=1, commit=3)
    node.round()
    node.append(entry(9), prev=8, prev_term=1, term=1, commit=9)
    assert acks(node.round()) == [(6, False)]
    node.append(entry(6, 2), prev=5, prev_term=2, term=2, commit=9)
    assert acks(node.round()) == [(4, False)]
    assert node.replica.core.commit == 3


def test_a_leader_of_before_is_told_and_not_followed(node: Node) -> None:
    node.append(entry(2, 4), prev=1, prev_term=0, term=4)
    node.round()
    node.append(entry(2, 3), prev=1, prev_term=0, term=3)
    assert node.round() == [("b", {"type": "newer_term", "term": 4})]
    assert node.replica.log[-1].term == 4


def test_success_does_not_move_the_leader_back_nor_count_twice(node: Node) -> None:
    node.lead()
    for _ in range(5):
        node.replica.propose(Proposal(entry(0).command, lambda index, error: None))
    node.round()
    assert node.replica.core.following("b") == 8
    node.answer("b", 4)
    assert node.replica.core.following("b") == 8
    assert node.replica.core.match("b") == 3
    node.answer("b", 99)  # nobody can have that
    assert node.replica.core.match("b") == 3
    node.answer("b", 2)
    assert node.replica.core.match("b") == 3


def test_answers_of_another_term_or_of_a_stranger_do_not_count(node: Node) -> None:
    node.lead()
    node.answer("b", 3, term=0)
    node.answer("x", 3)
    node.round()
    assert node.replica.core.match("b") == 0
    assert node.replica.core.commit == 1
    node.answer("b", 3)
    node.round()
    assert node.replica.core.commit == 2


def test_a_vote_counts_once_and_only_of_a_voter(node: Node) -> None:
    five = Configuration(tuple(Server(name, name, name in "abcde") for name in "abcdef"), 1)
    node.state.members = five
    node.start()
    for name in "bcdef":
        node.replica.connected(name, True)
    node.wait(3)
    for name in "bc":
        node.take(name, type="would_vote", term=1, granted=True)
    node.round()
    for name in "bbbff":
        node.take(name, type="response_vote", term=1)
    assert node.replica.core.role is Role.CANDIDATE
    node.take("c", type="response_vote", term=1)
    assert node.replica.core.role is Role.LEADER


def test_nobody_asks_for_votes_that_it_would_not_get(node: Node) -> None:
    assert kinds(node.wait(3)) == {"ask_vote"}
    assert kinds(node.wait(3)) == {"ask_vote"}
    assert node.replica.core.term == 0
    node.take("b", type="would_vote", term=1, granted=False)
    node.take("b", type="would_vote", term=9, granted=True)
    assert "request_vote" not in kinds(node.wait(0.01))


def test_while_a_leader_is_there_nobody_gets_a_vote_but_whom_it_chose(node: Node) -> None:
    node.append(prev=1, prev_term=0, term=1)
    node.round()
    asks = {"last_log_index": 9, "last_log_term": 9}
    node.take("c", type="request_vote", term=9, transfer=False, **asks)
    node.take("c", type="ask_vote", term=9, **asks)
    assert [m for _, m in node.round()] == [{"type": "would_vote", "term": 9, "granted": False}]
    assert node.replica.core.term == 1
    node.take("c", type="request_vote", term=9, transfer=True, **asks)
    assert "response_vote" in kinds(node.round())


def test_a_node_that_has_just_started_votes_for_nobody(node: Node) -> None:
    """It may have promised not to, before it was started."""
    node.start()
    node.take("c", type="request_vote", term=9, last_log_index=9, last_log_term=9, transfer=False)
    assert "response_vote" not in kinds(node.round())


def test_reads_need_no_round_while_a_majority_is_bound_and_none_is_while_leadership_is_handed_over(node: Node) -> None:
    node.lead()
    node.answer("b", 3)
    node.round()
    reads: list[int | None] = []
    node.replica.ask_index(reads.append)
    assert reads == [2]
    node.now += 0.41  # 0.5 seconds are promised, and clocks differ
    node.replica.ask_index(reads.append)
    assert reads == [2]
    node.round()
    node.answer("c", 3)
    node.round()
    assert reads == [2, 2]
    node.replica.handover.begin("b", lambda error: None)
    assert "timeout_now" in kinds(node.round())
    node.replica.ask_index(reads.append)
    node.answer("b", 3)
    assert reads == [2, 2]


def test_an_answer_to_a_read_of_an_earlier_life_is_none(node: Node) -> None:
    """The simulator found it: what the old process had asked was older than what the new one was to see."""
    numbers = []
    reads: list[int | None] = []
    for chance in (0.5, 0.6):
        node.chance = chance
        node.start()
        node.append(prev=1, prev_term=0, term=1)
        node.replica.ask_index(reads.append)
        numbers += [message["id"] for _, message in node.round() if message["type"] == "read_index"]
    node.take("b", type="read_answer", id=numbers[0], index=1)
    assert reads == []
    node.take("b", type="read_answer", id=numbers[1], index=1)
    assert reads == [1]


def test_the_leader_counts_itself_only_when_its_disk_has_it(node: Node) -> None:
    node.lead()
    node.answer("b", 3)
    node.round()
    before = node.replica.core.commit
    node.replica.propose(Proposal(entry(0).command, lambda index, error: None))
    node.half()
    assert "append_entries" in kinds(node.sent)  # its followers have it meanwhile
    node.answer("b", 4)
    assert node.replica.core.commit == before
    node.round()
    assert node.replica.core.commit == before + 1


def test_a_second_change_of_members_waits_for_the_first(node: Node) -> None:
    node.lead()
    node.answer("b", 3)
    node.round()
    answers: list[Exception | None] = []
    for name in "de":
        change = membership.adding(Server(name, name))
        node.replica.propose(Proposal(b"", lambda index, error: answers.append(error), change=change))
    node.half()
    assert node.sent == []  # no other node has it before this one's disk
    assert "append_entries" in kinds(node.round())
    assert [str(error) for error in answers] == ["the last change of the members is not finished: try again"]
    assert {server.id for server in node.replica.log.members.servers} == set("abcd")


def test_a_change_that_is_cut_off_is_taken_back(node: Node) -> None:
    changed = Entry(commands.configuration(Configuration((*MEMBERS.servers, Server("d", "d")))), 2, 1)
    node.append(changed, prev=1, prev_term=0, term=1)
    node.round()
    assert "d" in node.replica.core.voters
    node.append(entry(2, 2), prev=1, prev_term=0, term=2)
    node.round()
    assert sorted(node.replica.core.voters) == ["b", "c"]


def test_no_leader_without_answers_of_a_majority(node: Node) -> None:
    node.lead()
    node.answer("b", 3)
    node.round()
    outcomes: list[str] = []
    node.replica.propose(Proposal(entry(0).command, lambda index, error: outcomes.append(type(error).__name__)))
    node.round()
    node.wait(0.9)
    assert not node.replica.core.is_leader
    assert outcomes == ["OutcomeUnknown"]


@pytest.fixture
def _no_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: object) -> object:
        raise AssertionError("a pickle")

    for module in (pickle, pysyncobj.pickle):
        for name in ("loads", "load", "dumps", "dump"):
            monkeypatch.setattr(module, name, never, raising=False)


@pytest.mark.usefixtures("_no_pickle")
@pytest.mark.parametrize("kind", [2, 3])
def test_no_pickle_is_read_whatever_an_entry_says(node: Node, kind: int) -> None:
    evil = bytes([kind]) + pickle.PROTO + b"\x04cos\nsystem\n(S'true'\ntR."

    def take() -> None:
        node.append(Entry(evil, 2, 1), prev=1, prev_term=0, term=1, commit=9)
        node.round()

    with pytest.raises((ValueError, TypeError)):
        take()


def test_another_pysyncobj_is_refused(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "VERSION", "0.3.18")
    with pytest.raises(RuntimeError, match="only one whose inside is known"):
        node.start()
    monkeypatch.setattr(core, "VERSION", "0.3.17")
    monkeypatch.setattr(core, "_USED", (*core._USED, "isGone"))
    with pytest.raises(RuntimeError, match="lacks isGone"):
        node.start()
