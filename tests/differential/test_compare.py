"""The comparison sees what a client would notice, and nothing else."""

from __future__ import annotations

import orjson
import pytest
from caveau.tests.differential.compare import Answer, differences, even_out


def answer(body: object, status: int = 200, **headers: str) -> Answer:
    return Answer(status, {k.replace("_", "-"): v for k, v in headers.items()}, orjson.dumps(body))


def aspects(ours: object, theirs: object) -> list[str]:
    return [d.aspect for d in differences(answer(ours), answer(theirs))]


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {}, ["keys a"]),
        ({"d": {"a": 1}}, {"d": {"b": 1}}, ["keys d.a", "keys d.b"]),
        ({"a": "1"}, {"a": 1}, ["type a"]),
        ({"a": None}, {"a": ""}, ["type a"]),
        ({"a": True}, {"a": 1}, ["type a"]),
        ({"a": []}, {"a": ["x"]}, ["type a"]),
        ({"a": [{"b": 1}]}, {"a": [{"b": "1"}]}, ["type a[].b"]),
        ({"a": ["x", "y"]}, {"a": ["y", "x"]}, ["value a[]", "value a[]"]),
        ({"a": ["x"]}, {"a": ["x", "y"]}, ["value a[]"]),
        ({"a": "x"}, {"a": "y"}, ["value a"]),
        ({"a": False}, {"a": True}, ["value a"]),
        ({"a": 1}, {"a": 2}, ["value a"]),
        ({"ttl": 2764799}, {"ttl": 2764800}, []),
        ({"ttl": 3600}, {"ttl": 7200}, ["value ttl"]),
        ({"time": 1800000000}, {"time": 1800000900}, []),
        ({"errors": ["a"]}, {"errors": ["b"]}, ["error"]),
        ({"errors": []}, {"errors": ["b"]}, ["type errors"]),
        ({"errors": ["a"]}, {"data": {}}, ["error"]),
        ({"otp": "abc"}, {"otp": "xyz"}, []),
    ],
)
def test_json_differences(ours: object, theirs: object, found: list[str]) -> None:
    assert aspects(ours, theirs) == found


def test_status_headers_and_plain_bodies_count() -> None:
    ours = Answer(200, {"content-type": "text/html"}, b"one")
    theirs = Answer(204, {"content-type": "application/json", "date": "now"}, b"two")
    assert [d.aspect for d in differences(ours, theirs)] == ["status", "header Content-Type", "body"]


def test_depth_and_shape_limit_what_is_looked_at() -> None:
    ours, theirs = answer({"a": {"b": {"c": 1}}, "v": 1}), answer({"a": {"b": {"d": 1}}, "v": 2})
    assert [d.aspect for d in differences(ours, theirs)] == ["keys a.b.c", "keys a.b.d", "value v"]
    assert [d.aspect for d in differences(ours, theirs, depth=2)] == ["value v"]
    assert [d.aspect for d in differences(ours, theirs, values=False)] == ["keys a.b.c", "keys a.b.d"]


@pytest.mark.parametrize(
    ("text", "even"),
    [
        ("hvs.CAESIJabcdefghijklmnopqrstuvwxyz", "<token>"),
        ("s.zwtRgMXhfmV5kxIJgj5c0VcZ", "<token>"),
        ("hvb." + "A" * 60, "<batch token>"),
        ("piWdccS6AxUX7WhaGfTgvwDt", "<accessor>"),
        ("koMUnIydYRFawNcmzuIhrTMU", "<accessor>"),
        ("686409dc1978e8d78b0843544a5ddfac", "<accessor>"),
        ("kv_1a2b3c4d auth_token_1a2b3c4d", "kv_<hex> auth_token_<hex>"),
        ('nonce is "8b35e884-0697-fb36-ec82-f1b11fcda3b1"', 'nonce is "<uuid>"'),
        ("2026-11-24T08:14:36.133935613Z", "<time>"),
        ("http://127.0.0.1:8200/v1", "http://<address>/v1"),
        ("2.7.2", "<version>"),
        ('no handler for route "none/x". route entry not found.',) * 2,
        ("10.0.0.0/8",) * 2,
    ],
)
def test_noise_is_evened_out(text: str, even: str) -> None:
    assert even_out(text) == even
