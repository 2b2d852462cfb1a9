from __future__ import annotations

import contextlib

import pytest
from caveau.framework import wire
from caveau.framework.wire import Wire, format_duration, parse_bool, parse_duration
from hypothesis import given, settings
from hypothesis import strategies as st

few = settings(max_examples=50, deadline=None)  # the machine may be busy
WIRES = {name: value for name, value in vars(wire).items() if isinstance(value, Wire)}

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
anything = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)
looks_right = st.from_regex(r"\A[+-]?[0-9.]{1,30}(ns|us|µs|ms|s|m|h|d|x)?([0-9]{0,3}[smh])?\Z") | st.sampled_from(
    ["0x1f", "-0x1", "0x", "1_000", "١", "1e5", " 7 ", "+", "-", ".", "a=b", "a=b,c=d", "{", '{"a": 1}', "true", "NaN",
     "9" * 5000, "=", "1,2,3", "1,,x", "\ud800", '{"a": "\ud800"}']
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(WIRES))
def test_parsing_raises_nothing_but_value_error(name):
    @few
    @given(anything | looks_right)
    def check(raw):
        with contextlib.suppress(ValueError):
            WIRES[name].parse(raw)

    check()


@pytest.mark.parametrize("name", sorted(WIRES.keys() - {"ANY", "MAP", "LIST", "STRING", "STRINGS"}))
def test_parsing_what_was_parsed_changes_nothing(name):
    @few
    @given(anything | looks_right)
    def check(raw):
        try:
            value = WIRES[name].parse(raw)
        except ValueError:
            return
        if value != "":
            assert WIRES[name].parse(value) == value

    check()


@few
@given(st.integers(-9_223_372_036, 9_223_372_036))
def test_durations_round_trip(seconds):
    assert parse_duration(format_duration(seconds)) == seconds
    assert parse_duration(seconds) == seconds
    assert parse_duration(str(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59, "59s"), (60, "1m0s"), (90, "1m30s"), (3600, "1h0m0s"), (5445, "1h30m45s"), (2764800, "768h0m0s"),
     (-1, "-1s"), (-90, "-1m30s")],
)  # fmt: skip
def test_durations_are_printed_as_go_does(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [(30, 30), (1.5, 1.5), ("90", 90), ("1h30m", 5400), ("1.5h", 5400), ("7d", 604800), ("1m30s", 90), ("100ms", 0.1),
     ("-1s", -1), ("-30", -30), ("+5s", 5), ("", 0), (" 5s ", 5), (".5s", 0.5), ("1h1h", 7200)],
)  # fmt: skip
def test_durations(raw, seconds):
    assert parse_duration(raw) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "raw", ["x", "1x", "1h x", "h", "--1s", "1 h", "1.2.3s", "١s", True, None, [], {}, "293y", 10**400, float("nan"),
            float("inf"), "9300000000", "9" * 500, "1e3", "1.5d", "3000000h"]
)  # fmt: skip
def test_what_is_no_duration(raw):
    with pytest.raises(ValueError, match=r"."):
        parse_duration(raw)


def test_seconds_are_not_negative_unless_signed():
    with pytest.raises(ValueError, match="cannot provide negative value"):
        wire.SECONDS.parse("-1s")
    assert wire.SIGNED_SECONDS.parse("-1s") == -1
    assert wire.SECONDS.parse("1.9s") == 1


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("STRING", 5, "5"), ("STRING", True, "1"), ("STRING", False, "0"), ("STRING", 1.5, "1.5"),
        ("STRING", 2**70, str(2**70)),
        ("INT", "5", 5), ("INT", "-5", -5), ("INT", "0x1f", 31), ("INT", " 7 ", 7), ("INT", "", 0), ("INT", 5.0, 5),
        ("INT", True, 1), ("INT", -(2**63), -(2**63)),
        ("BOOL", "t", True), ("BOOL", "False", False), ("BOOL", 1, True), ("BOOL", 0, False), ("BOOL", "", False),
        ("COMMA_STRINGS", "a, b,,c", ["a", "b", "c"]), ("COMMA_STRINGS", ["a,b", 1], ["a,b", "1"]),
        ("COMMA_STRINGS", "", []), ("COMMA_STRINGS", 5, ["5"]),
        ("STRINGS", "a,b", ["a,b"]), ("STRINGS", ["a", 1], ["a", "1"]), ("STRINGS", "", []),
        ("COMMA_INTS", "1, 2", [1, 2]), ("COMMA_INTS", ["1", 2], [1, 2]), ("COMMA_INTS", 3, [3]),
        ("COMMA_INTS", "", []),
        ("MAP", {"a": [1]}, {"a": [1]}),
        ("PAIRS", {"a": 1, "b": "c"}, {"a": "1", "b": "c"}), ("PAIRS", ["a=b", "c = d=e"], {"a": "b", "c": "d=e"}),
        ("PAIRS", "a=b", {"a": "b"}), ("PAIRS", '{"a": 1}', {"a": "1"}), ("PAIRS", "", {}),
        ("LIST", [1, {}], [1, {}]), ("LIST", "a", ["a"]),
        ("ANY", {"a": None}, {"a": None}),
    ],
)  # fmt: skip
def test_values(name, raw, value):
    parsed = WIRES[name].parse(raw)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("STRING", []), ("STRING", {}), ("STRING", None),
        ("INT", "x"), ("INT", "1.5"), ("INT", 1.5), ("INT", 2**63), ("INT", str(2**64)), ("INT", []), ("INT", "١"),
        ("INT", "1_0"), ("INT", None),
        ("BOOL", "yes"), ("BOOL", []), ("BOOL", None),
        ("COMMA_STRINGS", [[]]), ("COMMA_STRINGS", {}), ("STRINGS", [{}]),
        ("COMMA_INTS", "1,x"), ("COMMA_INTS", [1.5]), ("COMMA_INTS", {}),
        ("MAP", []), ("MAP", "x"), ("MAP", None),
        ("PAIRS", "x"), ("PAIRS", ["=x"]), ("PAIRS", "{"), ("PAIRS", '{"a": []}'), ("PAIRS", 5),
        ("LIST", {}),
    ],
)  # fmt: skip
def test_what_is_refused(name, raw):
    with pytest.raises(ValueError, match=r"."):
        WIRES[name].parse(raw)


@pytest.mark.parametrize("name", sorted(WIRES))
def test_null_is_a_zero_that_parses(name):
    zero = WIRES[name].zero()
    assert WIRES[name].parse(zero) == zero


def test_a_refusal_does_not_repeat_what_is_inside_a_value():
    with pytest.raises(ValueError, match=r".") as error:
        parse_bool({"password": "hunter2"})
    assert "hunter2" not in str(error.value)
