"""Generated passwords obey their policy, and policies that nothing could obey are refused."""

from __future__ import annotations

import string
from collections import Counter

import pytest
from caveau.framework.errors import InvalidRequest
from caveau.server.passwords import Charset, PasswordPolicy, parse_password_policy
from hypothesis import given
from hypothesis import strategies as st

CHARACTERS = string.ascii_letters + string.digits + "!#$%&()*+,-./:;<=>?@[]^_{|}~é€"
rules = st.lists(st.tuples(st.text(CHARACTERS, min_size=1, max_size=40), st.integers(0, 10)), min_size=1, max_size=8)


def text_of(length: int, given_rules: list[tuple[str, int]]) -> str:
    blocks = [f'rule "charset" {{\n charset = "{chars}"\n min-chars = {least}\n}}' for chars, least in given_rules]
    return "\n".join([f"length = {length}", *blocks])


@given(st.integers(4, 100), rules)
def test_passwords_obey_the_policy(length, given_rules):
    if sum(least for _, least in given_rules) > length:
        with pytest.raises(InvalidRequest, match="require at least"):
            parse_password_policy(text_of(length, given_rules))
        return
    password = parse_password_policy(text_of(length, given_rules)).generate()
    assert len(password) == length
    assert set(password) <= {c for chars, _ in given_rules for c in chars}
    for chars, least in given_rules:
        assert sum(c in chars for c in password) >= least


@given(st.text())
def test_any_text_is_a_policy_or_refused(text):
    try:
        policy = parse_password_policy(text)
    except InvalidRequest:
        return
    assert len(policy.generate()) == policy.length


def test_required_characters_are_anywhere():
    policy = PasswordPolicy(10, (Charset("1", 1), Charset("abc", 0)))
    places = Counter(policy.generate().index("1") for _ in range(1000))
    assert set(places) == set(range(10))


def test_repeated_characters_of_a_charset_weigh_no_more():
    policy = parse_password_policy(text_of(100, [("aaaaaaaaab", 0)]))
    count = Counter("".join(policy.generate() for _ in range(50)))
    assert 0.4 < count["a"] / 5000 < 0.6


def test_passwords_differ():
    policy = parse_password_policy(text_of(20, [(CHARACTERS, 0)]))
    assert len({policy.generate() for _ in range(200)}) == 200


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "between 4 and 100"),
        ("length = 3", "between 4 and 100"),
        ("length = 101", "between 4 and 100"),
        ('length = "x"', "length must be a number"),
        ("length = true", "length must be a number"),
        ("length = 20", "no charset"),
        ('length = 20\nrule "charset" { }', "no charset"),
        ('length = 20\nrule "charset" { charset = "" }', "no charset"),
        ('length = 20\nrule "none" { charset = "a" }', "unrecognized rule type none"),
        ('length = 20\nrule "charset" { charset = "a\\n" }', "non-printable"),
        ('length = 20\nrule "charset" { charset = "a" min-chars = -1 }', "min-chars"),
        ('length = 20\nrule "charset" { charset = "a" min-chars = 1.5 }', "min-chars"),
        ('length = 4\nrule "charset" { charset = "a" min-chars = 5 }', "at least 5 characters but 4"),
        ("nonsense", "invalid password policy"),
    ],
)
def test_refused(text, error):
    with pytest.raises(InvalidRequest, match=error):
        parse_password_policy(text)


def test_json_is_hcl_too():
    policy = parse_password_policy('{"length": 8, "rule": [{"charset": {"charset": "ab", "min-chars": 2}}]}')
    assert set(policy.generate()) <= {"a", "b"}
