import secrets
from collections import Counter

import pytest
from caveau.server.accessors import Accessors


@pytest.fixture
def accessors():
    return Accessors(secrets.token_bytes(32))


def test_each_tells_the_other(accessors):
    keys = [secrets.token_hex(16) for _ in range(500)] + ["0" * 32, "f" * 32, secrets.token_hex(16) + ".a1B2c3"]
    for key in keys:
        accessor = accessors.of(key)
        assert len(accessor.partition(".")[0]) == 32
        assert accessor != key
        assert accessors.key(accessor) == key


def test_nobody_else_makes_the_same(accessors):
    key = secrets.token_hex(16)
    other = Accessors(secrets.token_bytes(32))
    assert other.of(key) != accessors.of(key)
    assert other.key(accessors.of(key)) != key


def test_neighbours_have_nothing_in_common(accessors):
    made = [accessors.of(f"{number:032x}") for number in range(2000)]
    assert len(set(made)) == 2000
    for place in range(32):
        assert max(Counter(text[place] for text in made).values()) < 200


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "b" * 31,
        "b" * 33,
        "9" * 5000,
        "A" * 32,
        "g" * 32,
        "é" * 32,
        "\ud800" * 32,
        " " * 32,
        "٣" * 32,
        "." * 32,
    ],
)
def test_of_no_token(accessors, text):
    assert accessors.key(text) == ""
