import secrets
from collections import Counter

import pytest
from caveau.server.accessors import LETTERS, Accessors


@pytest.fixture
def accessors():
    return Accessors(secrets.token_bytes(32))


def test_each_tells_the_other(accessors):
    keys = [secrets.token_hex(16) for _ in range(500)] + ["0" * 32, "f" * 32, secrets.token_hex(16) + ".a1B2c3"]
    for key in keys:
        accessor = accessors.of(key)
        assert len(accessor.partition(".")[0]) == 24
        assert set(accessor.partition(".")[0]) <= set(LETTERS)
        assert accessors.key(accessor) == key


def test_nobody_else_makes_the_same(accessors):
    key = secrets.token_hex(16)
    other = Accessors(secrets.token_bytes(32))
    assert other.of(key) != accessors.of(key)
    assert other.key(accessors.of(key)) != key


def test_neighbours_have_nothing_in_common(accessors):
    made = [accessors.of(f"{number:032x}") for number in range(2000)]
    assert len(set(made)) == 2000
    for place in {*range(1, 22)} - {11}:  # the first letter of each half is one of 22
        assert max(Counter(text[place] for text in made).values()) < 90


@pytest.mark.parametrize(
    "text", ["", "a", "b" * 24, "9" * 24, "9" * 5000, "é" * 24, "\ud800" * 24, " " * 24, "." * 24, "٣" * 24]
)
def test_of_no_token(accessors, text):
    assert accessors.key(text) == ""


def test_a_slip_is_found(accessors):
    good = accessors.of(secrets.token_hex(16))
    for place in range(24):
        for letter in LETTERS:
            text = good[:place] + letter + good[place + 1 :]
            assert bool(accessors.key(text)) == (text == good)
    assert accessors.key(good + "x") == accessors.key(good[:-1]) == accessors.key(f" {good}") == ""
