from __future__ import annotations

import errno
import random
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from caveau.framework.errors import StoreError
from caveau.storage.raft.disk import Directory
from caveau.storage.raft.wal import Entry, Wal

from .disks import FakeDisk

SEGMENT = 2048


def entry(index: int, term: int = 1, size: int = 50) -> Entry:
    return Entry(bytes([index % 256]) * size, index, term)


def filled(disk: FakeDisk, count: int = 100) -> Wal:
    wal = Wal(disk, SEGMENT)
    wal.open()
    for index in range(1, count + 1):
        wal.append(entry(index))
        if index % 5 == 0:
            wal.flush()
    wal.flush()
    return wal


def test_everything_flushed_is_there_again(tmp_path: Path) -> None:
    disk = Directory(tmp_path / "raft")
    wal = Wal(disk, SEGMENT)
    assert wal.open().entries == []
    for index in range(1, 200):
        wal.append(entry(index, size=index))
        assert wal.dirty
        wal.vote(index, "node-a")
        wal.flush()
        assert not wal.dirty
    assert wal.segments > 5
    wal.close()
    disk.close()
    disk = Directory(tmp_path / "raft")
    found = Wal(disk, SEGMENT).open()
    assert found.entries == [entry(index, size=index) for index in range(1, 200)]
    assert (found.term, found.vote, found.torn) == (199, "node-a", False)


def test_files_are_the_owners_and_the_directory_one_process_at_a_time(tmp_path: Path) -> None:
    disk = Directory(tmp_path / "raft")
    Wal(disk).open()
    assert stat.S_IMODE((tmp_path / "raft").stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "raft").iterdir()} == {0o600}
    with pytest.raises(StoreError, match="in use by another process"):
        Directory(tmp_path / "raft")


def test_an_entry_replaces_the_one_it_conflicts_with_and_those_behind() -> None:
    disk = FakeDisk()
    wal = filled(disk)
    wal.append(entry(50, term=2))
    wal.append(entry(51, term=2))
    wal.flush()
    found = Wal(disk, SEGMENT).open()
    assert found.entries == [*(entry(i) for i in range(1, 50)), entry(50, 2), entry(51, 2)]


def test_begin_forgets_what_was_before() -> None:
    disk = FakeDisk()
    wal = filled(disk)
    wal.begin(entry(500, 3))
    wal.append(entry(501, 3))
    wal.flush()
    assert Wal(disk, SEGMENT).open().entries == [entry(500, 3), entry(501, 3)]


def test_compaction_keeps_space_bounded() -> None:
    disk = FakeDisk()
    wal = Wal(disk, SEGMENT)
    wal.open()
    for index in range(1, 2000):
        wal.append(entry(index))
        wal.flush()
        if index % 50 == 0:
            wal.compact(index - 20)
    assert wal.segments <= 4
    assert len(disk.files) <= 5
    entries = Wal(disk, SEGMENT).open().entries
    assert entries[0].idx <= 1930
    assert entries == [entry(i) for i in range(entries[0].idx, 2000)]


def test_compaction_after_a_truncation_keeps_what_is_left_of_the_old_run() -> None:
    disk = FakeDisk()
    wal = filled(disk, 100)
    for index in range(60, 90):
        wal.append(entry(index, 2))
    wal.flush()
    wal.compact(40)
    found = Wal(disk, SEGMENT).open().entries
    assert found[-1] == entry(89, 2)
    assert [e for e in found if 40 <= e.idx < 60] == [entry(i) for i in range(40, 60)]


def test_an_entry_longer_than_a_segment() -> None:
    disk = FakeDisk()
    wal = filled(disk, 3)
    wal.append(entry(4, size=10_000))
    wal.append(entry(5))
    wal.flush()
    assert Wal(disk, SEGMENT).open().entries == [entry(1), entry(2), entry(3), entry(4, size=10_000), entry(5)]


@pytest.mark.parametrize("seed", range(60))
def test_power_cuts_lose_nothing_that_was_flushed(seed: int) -> None:
    rng = random.Random(seed)
    disk = FakeDisk()
    promised: list[Entry] = []
    given: list[Entry] = []
    vote = (0, "")
    for _ in range(12):
        wal = Wal(disk, SEGMENT)
        found = wal.open()
        first = found.entries[0].idx if found.entries else 1
        kept = [e for e in promised if e.idx >= first]
        assert found.entries[: len(kept)] == kept
        assert found.term >= vote[0]
        promised = given = list(found.entries)
        vote = (found.term, found.vote)
        pending = vote
        disk.fail_after = rng.choice([None, None, rng.randint(0, 60)])
        try:
            for _ in range(rng.randint(0, 30)):
                for _ in range(rng.randint(1, 6)):
                    last = given[-1].idx if given else 0
                    if last and rng.random() < 0.1:
                        last = rng.randint(given[0].idx, last)
                        if promised and last < promised[-1].idx:
                            promised = [e for e in promised if e.idx <= last]
                        given = [e for e in given if e.idx <= last]
                    new = Entry(rng.randbytes(rng.choice([0, 30, 700])), last + 1, pending[0] + 1)
                    given = [*given, new]
                    wal.append(new)
                if rng.random() < 0.2:
                    pending = (pending[0] + 1, rng.choice("abc"))
                    wal.vote(*pending)
                if rng.random() < 0.8:
                    wal.flush()
                    promised, vote = list(given), pending
                if rng.random() < 0.1 and promised:
                    wal.compact(promised[len(promised) // 2].idx)
        except (StoreError, OSError):
            pass
        disk.cut_power(rng)


def flip(disk: FakeDisk, name: str, at: int) -> None:
    disk.files[name].durable[at] ^= 0x10


@pytest.mark.parametrize("which", [0, 1, -1])
@pytest.mark.parametrize("at", [2, 30, 40, 60, 100, 400, 700])
def test_a_flipped_bit_is_noticed(which: int, at: int) -> None:
    disk = FakeDisk()
    wal = filled(disk)
    wal.close()
    name = sorted(n for n in disk.files if n.endswith(".wal"))[which]
    flip(disk, name, at)
    with pytest.raises(StoreError, match=f"{name} of the log of the cluster is damaged"):
        Wal(disk, SEGMENT).open()


def test_a_torn_tail_is_cut_off_and_said() -> None:
    disk = FakeDisk()
    wal = filled(disk, 10)
    for index in (11, 12, 13):
        wal.append(entry(index))
    wal.flush()
    name = sorted(n for n in disk.files if n.endswith(".wal"))[-1]
    at = disk.read(name).index(entry(12).command)
    flip(disk, name, at)  # of a batch that was cut short: 12 is torn, 13 is whole
    found = Wal(disk, SEGMENT).open()
    assert found.torn
    assert found.entries == [entry(i) for i in range(1, 12)]
    assert not Wal(disk, SEGMENT).open().torn


@pytest.mark.parametrize("which", [1, 2, -1])
def test_a_missing_segment_is_noticed(which: int) -> None:
    disk = FakeDisk()
    filled(disk)
    name = sorted(n for n in disk.files if n.endswith(".wal"))[which]
    del disk.files[name]
    with pytest.raises(StoreError, match="missing"):
        Wal(disk, SEGMENT).open()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_refuses_is_named_and_nothing_is_promised_any_more(code: int) -> None:
    disk = FakeDisk()
    wal = filled(disk, 10)
    disk.fail_after, disk.error = 0, code
    wal.append(entry(11))
    with pytest.raises(StoreError, match="cannot be written"):
        wal.flush()
    disk.fail_after = None
    wal.append(entry(12))
    with pytest.raises(StoreError, match="cannot be written"):
        wal.flush()
    wal.close()
    assert [e.idx for e in Wal(disk, SEGMENT).open().entries][:10] == list(range(1, 11))


def test_a_full_disk(tmp_path: Path, limit: Callable[[int], None]) -> None:
    wal = Wal(Directory(tmp_path / "raft"), SEGMENT)
    wal.open()
    limit(SEGMENT // 2)
    for index in range(1, 100):
        wal.append(entry(index, size=20 * index))
    with pytest.raises(StoreError, match="File too large"):
        wal.flush()


@pytest.fixture
def limit() -> object:
    """No file may grow beyond so many bytes: what a full disk does, near enough."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        Directory(tmp_path / "file" / "raft")


def test_one_sync_for_all_that_waits() -> None:
    disk = FakeDisk()
    wal = Wal(disk, 1 << 20)
    wal.open()
    before = disk.syncs
    for index in range(1, 100):
        wal.append(entry(index))
    wal.flush()
    assert disk.syncs == before + 1
