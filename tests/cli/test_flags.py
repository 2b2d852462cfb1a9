"""Flags are read as Go reads them."""

from __future__ import annotations

import pytest
from caveau.cli.flags import Flag, UsageError, parse, trailing
from hypothesis import given
from hypothesis import strategies as st

DECLARED = (
    Flag("format", "string", "", env="FORMAT"),
    Flag("force", "bool", "", aliases=("f",)),
    Flag("cas-required", "*bool", ""),
    Flag("cas", "int", "", default=-1),
    Flag("threshold", "uint", ""),
    Flag("ttl", "duration", ""),
    Flag("policy", "strings", ""),
    Flag("metadata", "key=value", ""),
)


def test_all_spellings_of_a_value() -> None:
    for argv in (["-format=json", "x"], ["-format", "json", "x"], ["--format=json", "x"], ["--format", "json", "x"]):
        flags, rest = parse(DECLARED, argv)
        assert (flags.text("format"), rest) == ("json", ["x"])


def test_a_boolean_takes_its_value_only_after_an_equals_sign() -> None:
    flags, rest = parse(DECLARED, ["-force", "false"])
    assert flags.on("force")
    assert rest == ["false"]
    assert not parse(DECLARED, ["-force=false"])[0].on("force")
    assert parse(DECLARED, ["-f=T"])[0].on("force")


def test_an_unset_optional_boolean_is_not_false() -> None:
    assert parse(DECLARED, [])[0].maybe("cas-required") is None
    assert parse(DECLARED, ["-cas-required=false"])[0].maybe("cas-required") is False


def test_repeated_flags_add_up() -> None:
    flags, _ = parse(DECLARED, ["-policy=a", "-policy", " b ", "-metadata=x=1", "-metadata=y=a=b", "-metadata=x=2"])
    assert flags.texts("policy") == ["a", "b"]
    assert flags.pairs("metadata") == {"x": "2", "y": "a=b"}
    assert flags.given("policy")
    assert not flags.given("ttl")


def test_defaults_and_durations() -> None:
    flags, _ = parse(DECLARED, ["-ttl=90"])
    assert flags.number("ttl") == 90 * 10**9
    assert flags.number("cas") == -1
    assert parse(DECLARED, ["-ttl=1h30m"])[0].number("ttl") == 5400 * 10**9


def test_parsing_stops_at_the_first_argument_and_at_two_dashes() -> None:
    assert parse(DECLARED, ["path", "-force"])[1] == ["path", "-force"]
    assert parse(DECLARED, ["--", "-force"])[1] == ["-force"]
    assert parse(DECLARED, ["-", "-force"])[1] == ["-", "-force"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-zzz"], "flag provided but not defined: -zzz"),
        (["-format"], "flag needs an argument: -format"),
        (["---x"], "bad flag syntax: ---x"),
        (["-=x"], "bad flag syntax: -=x"),
        (["-cas=x"], 'invalid value "x" for flag -cas: strconv.ParseInt: parsing "x": invalid syntax'),
        (["-cas=9223372036854775808"], 'invalid value "9223372036854775808" for flag -cas: strconv.ParseInt: '
         'parsing "9223372036854775808": value out of range'),
        (["-threshold=-1"], 'invalid value "-1" for flag -threshold: strconv.ParseUint: parsing "-1": invalid syntax'),
        (["-ttl=zz"], 'invalid value "zz" for flag -ttl: time: invalid duration "zz"'),
        (["-force=maybe"], 'invalid boolean value "maybe" for -force: strconv.ParseBool: parsing "maybe": '
         "invalid syntax"),
        (["-metadata=zz"], 'invalid value "zz" for flag -metadata: missing = in KV pair: "zz"'),
    ],
)  # fmt: skip
def test_messages(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(DECLARED, argv)
    assert str(caught.value) == message


def test_environment_fills_in_and_the_command_line_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_FORMAT", "yaml")
    assert parse(DECLARED, [])[0].text("format") == "yaml"
    monkeypatch.setenv("BAO_FORMAT", "json")
    assert parse(DECLARED, [])[0].text("format") == "json"
    assert parse(DECLARED, ["-format=table"])[0].text("format") == "table"


def test_a_bad_environment_value_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_SKIP_VERIFY", "perhaps")
    with pytest.raises(UsageError, match="VAULT_SKIP_VERIFY"):
        parse((Flag("skip", "bool", "", env="SKIP_VERIFY"),), [])


def test_late_flags_are_found_except_those_read_anywhere() -> None:
    assert trailing(["path", "-field=a", "-", "-format=json", "k=v", "--x"]) == ["-field=a", "--x"]


@given(st.text(), st.lists(st.text()))
def test_any_value_survives(value: str, rest: list[str]) -> None:
    flags, left = parse(DECLARED, ["-format", value, "--", *rest])
    assert flags.text("format") == value
    assert left == rest


@given(st.lists(st.text(alphabet="-=abf123x", max_size=6)))
def test_any_command_line_is_read_or_refused(argv: list[str]) -> None:
    try:
        _, rest = parse(DECLARED, argv)
    except UsageError:
        return
    assert argv[len(argv) - len(rest) :] == rest
