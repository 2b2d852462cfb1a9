"""The file device."""

from __future__ import annotations

import os

import pytest
from caveau.server.audit.file import FileDevice
from caveau.server.logs import archives


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.log"


def test_appends_with_its_mode(path):
    path.write_bytes(b"old\n")
    device = FileDevice(path, mode=0o640)
    device.write([b"a\n", b"b\n"])
    device.write([b"c\n"])
    assert path.read_bytes() == b"old\na\nb\nc\n"
    assert path.stat().st_mode & 0o777 == 0o640
    device.close()


def test_mode_zero_keeps_the_mode(path):
    path.touch(0o604)
    path.chmod(0o604)
    device = FileDevice(path, mode=0)
    device.write([b"a\n"])
    assert path.stat().st_mode & 0o777 == 0o604


def test_a_deleted_or_moved_file_is_made_anew(path):
    device = FileDevice(path)
    device.write([b"a\n"])
    path.unlink()
    device.write([b"b\n"])
    assert path.read_bytes() == b"b\n"
    path.rename(path.with_suffix(".1"))
    device.write([b"c\n"])
    assert path.read_bytes() == b"c\n"
    assert path.with_suffix(".1").read_bytes() == b"b\n"


def test_set_aside_by_size_and_kept_in_number(path):
    device = FileDevice(path, rotate_bytes=10, keep=2)
    for number in range(5):
        device.write([b"line %d..\n" % number])
    assert path.read_bytes() == b"line 4..\n"
    assert [each.read_bytes() for each in archives(path)] == [b"line 2..\n", b"line 3..\n"]


def test_set_aside_by_age(path, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("caveau.server.audit.file.time.time", lambda: now)
    device = FileDevice(path, rotate_seconds=60)
    device.write([b"a\n"])
    now += 59
    device.reopen()  # is not a new file
    device.write([b"b\n"])
    assert archives(path) == []
    now += 1
    device.write([b"c\n"])
    assert path.read_bytes() == b"c\n"
    assert [each.read_bytes() for each in archives(path)] == [b"a\nb\n"]


def test_a_group_that_does_not_fit_is_taken_back(path, monkeypatch):
    device = FileDevice(path)
    device.write([b"whole\n"])
    write, room = os.write, 3

    def full(fd, text):
        nonlocal room
        if not room:
            raise OSError(28, "No space left on device")
        part, room = room, 0
        return write(fd, text[:part])

    monkeypatch.setattr("caveau.server.audit.file.os.write", full)
    with pytest.raises(OSError, match="No space"):
        device.write([b"lost entry\n"])
    assert path.read_bytes() == b"whole\n"
    room = 3
    monkeypatch.setattr("caveau.server.audit.file.os.ftruncate", lambda *_: (_ for _ in ()).throw(OSError(1, "no")))
    with pytest.raises(OSError, match="No space"):
        device.write([b"lost entry\n"])
    monkeypatch.setattr("caveau.server.audit.file.os.write", write)
    device.write([b"next\n"])
    assert path.read_bytes() == b"whole\nlos\nnext\n"


def test_a_file_that_cannot_be_set_aside_grows_on(path, monkeypatch):
    device = FileDevice(path, rotate_bytes=4)
    monkeypatch.setattr("pathlib.Path.rename", lambda *_: (_ for _ in ()).throw(OSError(13, "no")))
    for number in range(3):
        device.write([b"%d\n" % number])
    assert path.read_bytes() == b"0\n1\n2\n"
