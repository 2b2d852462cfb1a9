"""``kv`` where the oracle is no guide: people at terminals, wrapping, tokens that may not patch."""

from __future__ import annotations

import sys

import pytest

from ..conftest import Runner
from ..stub import Answer, Stub, serving

MOUNT = Answer(200, {"data": {"path": "secret/", "options": {"version": "2"}}})
OLD_MOUNT = Answer(200, {"data": {"path": "secret/", "options": {"version": "1"}}})
CURRENT = Answer(200, {"data": {"data": {"user": "u", "password": "p", "host": "h"}, "metadata": {"version": 3}}})
WRITTEN = Answer(200, {"data": {"version": 4}})


def run(caveau: Runner, stub: Stub, *argv: str) -> tuple[int, str, str]:
    return caveau(*argv[:2], f"-address={stub.address}", *argv[2:])


def at_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)


def test_put_names_the_keys_it_drops_to_a_person(caveau: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    at_terminal(monkeypatch)
    with serving(MOUNT, CURRENT, WRITTEN) as stub:
        code, _, err = run(caveau, stub, "kv", "put", "secret/db", "password=new")
    assert code == 0
    assert "no longer has: host, user." in err
    assert [asked.method for asked in stub.asked] == ["GET", "GET", "PUT"]
    assert "u" not in err.split(":")[0]


def test_put_says_nothing_where_nothing_is_dropped(caveau: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    at_terminal(monkeypatch)
    with serving(MOUNT, CURRENT, WRITTEN) as stub:
        assert run(caveau, stub, "kv", "put", "secret/db", "password=n", "user=u", "host=h", "x=y")[2] == ""
    with serving(MOUNT, Answer(403, {"errors": ["permission denied"]}), WRITTEN) as stub:
        assert run(caveau, stub, "kv", "put", "secret/db", "password=new")[::2] == (0, "")
    with serving(OLD_MOUNT, Answer(200, {"data": {"a": 1}}), Answer(204)) as stub:
        assert "no longer has: a." in run(caveau, stub, "kv", "put", "secret/db", "b=1")[2]


def test_put_asks_nothing_more_for_a_script(caveau: Runner) -> None:
    with serving(MOUNT, WRITTEN) as stub:
        code, _, err = run(caveau, stub, "kv", "put", "secret/db", "password=new")
    assert (code, err) == (0, "")
    assert [asked.method for asked in stub.asked] == ["GET", "PUT"]


@pytest.mark.parametrize("status", [403, 405])
def test_patch_reads_and_writes_where_it_may_not_patch(caveau: Runner, status: int) -> None:
    with serving(MOUNT, Answer(status, {"errors": ["no"]}), CURRENT, WRITTEN) as stub:
        code, _, _ = run(caveau, stub, "kv", "patch", "-remove-data=host", "secret/db", "password=new")
    assert code == 0
    assert stub.asked[-1].body == {"data": {"user": "u", "password": "new"}, "options": {"cas": 3}}


def test_patch_by_method_does_not_fall_back(caveau: Runner) -> None:
    with serving(MOUNT, Answer(403, {"errors": ["no"]})) as stub:
        assert run(caveau, stub, "kv", "patch", "-method=patch", "secret/db", "a=b")[0] == 2
    assert len(stub.asked) == 2


def test_a_wrapped_secret_is_shown_as_such(caveau: Runner) -> None:
    wrapped = Answer(200, {"wrap_info": {"token": "hvs.w", "ttl": 60, "creation_path": "secret/data/db"}})
    with serving(MOUNT, wrapped) as stub:
        code, out, _ = run(caveau, stub, "kv", "get", "-wrap-ttl=60", "-field=wrapping_token", "secret/db")
        assert (code, out) == (0, "hvs.w")
    assert "x-vault-wrap-ttl" not in stub.asked[0].headers  # the look at the mount is not to be wrapped
    assert stub.asked[1].headers["x-vault-wrap-ttl"] == "1m0s"


def test_a_server_that_knows_no_mounts_endpoint_is_version_1(caveau: Runner) -> None:
    with serving(Answer(404, {"errors": []}), Answer(200, {"data": {"a": "1"}})) as stub:
        assert run(caveau, stub, "kv", "get", "-field=a", "secret/db")[:2] == (0, "1")
    assert stub.asked[1].path == "/v1/secret/db"


def test_mount_in_the_middle_of_a_path(caveau: Runner) -> None:
    nested = Answer(200, {"data": {"path": "team/kv/", "options": {"version": "2"}}})
    with serving(nested, CURRENT) as stub:
        assert run(caveau, stub, "kv", "get", "-field=user", "team/kv/team/kv/x")[1] == "u"
    assert stub.asked[1].path == "/v1/team/kv/data/team/kv/x"


def test_a_destroyed_version_shows_its_metadata_only(caveau: Runner) -> None:
    gone = Answer(404, {"data": {"data": None, "metadata": {"destroyed": True, "version": 1}}})
    with serving(MOUNT, gone) as stub:
        code, out, _ = run(caveau, stub, "kv", "get", "secret/db")
    assert code == 0
    assert "== Data ==" not in out
    assert "destroyed    true" in out
