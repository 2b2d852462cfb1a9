from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import pytest
from caveau.framework.errors import InvalidRequest
from caveau.framework.params import Field, NoParams, Params
from caveau.framework.wire import SECONDS
from hypothesis import given, settings
from hypothesis import strategies as st


class Key(Params):
    name: Annotated[str, Field("Name of the key.")]
    period: Annotated[int, Field("Rotate this often.", SECONDS, aliases=("old_period", "oldest_period"))] = 0
    kind: Annotated[str, Field("Kind of key.", choices=("rsa", "ec"))] = "ec"
    tags: Annotated[list[str], Field("Tags.")] = dataclasses.field(default_factory=list)
    options: Annotated[dict[str, Any], Field("Options.")] = dataclasses.field(default_factory=dict)
    exportable: Annotated[bool, Field("Whether it can be exported.")] = False


class Restricted(Key):
    limit: Annotated[int, Field("Limit.")] = 7


class Anything(Params):
    open = True
    path: Annotated[str, Field("Where.")]


def test_defaults_and_values():
    p, warnings = Key.load({"period": "1h", "tags": "a,b", "exportable": "true"}, {"name": "k"})
    assert (p.name, p.period, p.kind, p.tags, p.options, p.exportable) == ("k", 3600, "ec", ["a", "b"], {}, True)
    assert p.given == {"name", "period", "tags", "exportable"}
    assert warnings == []


def test_defaults_are_not_shared_between_requests():
    first, _ = Key.load({}, {"name": "k"})
    first.tags.append("x")
    second, _ = Key.load({}, {"name": "k"})
    assert second.tags == []


def test_a_subclass_has_the_fields_of_its_base():
    p, _ = Restricted.load({"limit": "3", "name": "n"}, {})
    assert (p.name, p.limit, p.kind) == ("n", 3, "ec")


def test_null_is_the_zero_of_the_type_and_was_given():
    p, _ = Restricted.load({"name": None, "limit": None, "tags": None, "exportable": None}, {})
    assert (p.name, p.limit, p.tags, p.exportable) == ("", 0, [], False)
    assert "limit" in p.given


class Move(Params):
    from_: Annotated[str, Field("Whence.")]


def test_a_field_named_like_a_keyword():
    assert Move.load({"from": "a"}, {})[0].from_ == "a"
    with pytest.raises(InvalidRequest, match=r"missing from$"):
        Move.load({"from_": "a"}, {})


def test_a_required_field_that_is_missing():
    with pytest.raises(InvalidRequest, match="missing name"):
        Key.load({"period": 1}, {})


@pytest.mark.parametrize("body", [{"old_period": 5}, {"oldest_period": "5s"}, {"old_period": 9, "period": 5}])
def test_older_names_of_a_field(body):
    p, warnings = Key.load(body, {"name": "k"})
    assert (p.period, warnings) == (5, [])
    assert "period" in p.given


def test_an_error_names_the_field_as_the_client_wrote_it():
    with pytest.raises(InvalidRequest) as error:
        Key.load({"old_period": "x"}, {"name": "k"})
    assert str(error.value).startswith('Field validation failed: error converting input for field "old_period": ')


def test_choices():
    assert Key.load({"kind": "rsa"}, {"name": "k"})[0].kind == "rsa"
    with pytest.raises(InvalidRequest, match="unsupported kind 'dsa'; use one of: rsa, ec"):
        Key.load({"kind": "dsa"}, {"name": "k"})


def test_unknown_parameters_are_reported_sorted():
    _, warnings = Key.load({"zip": 1, "period": 1, "Alpha": 2, "bit": 3}, {"name": "k"})
    assert warnings == ["Endpoint ignored these unrecognized parameters: [Alpha bit zip]"]


def test_the_path_wins_over_the_body():
    p, warnings = Key.load({"name": "other"}, {"name": "k"})
    assert p.name == "k"
    assert warnings == [
        "Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [name]"
    ]


def test_an_open_class_takes_the_whole_body_without_warnings():
    body = {"path": "mine", "x": [1]}
    p, warnings = Anything.load(body, {"path": "a/b"})
    assert (p.path, p.extra, warnings) == ("a/b", body, [])
    assert Anything.load({}, {"path": "a"})[0].extra == {}


def test_no_params_ignores_all():
    assert NoParams.load({"a": 1}, {})[1] == ["Endpoint ignored these unrecognized parameters: [a]"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
names = st.sampled_from(sorted(Restricted._known)) | st.text()


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(names, json_values))
def test_any_body_loads_or_is_an_invalid_request(body):
    try:
        p, _ = Restricted.load(body, {"name": "k"})
    except InvalidRequest:
        return
    for name, spec in Restricted.specs.items():
        assert type(getattr(p, name)) in (spec.wire.zero().__class__, type(None))


def test_a_field_without_documentation_fails_at_class_creation():
    with pytest.raises(TypeError, match=r"Bad\.name: annotate it"):

        class Bad(Params):
            name: str


def test_a_field_with_the_wrong_annotation_fails_at_class_creation():
    with pytest.raises(TypeError, match=r"Bad\.name: annotate it"):

        class Bad(Params):
            name: Annotated[str, "Name."]


def test_a_type_without_a_wire_fails_at_class_creation():
    with pytest.raises(TypeError, match=r"Bad\.name: no wire type is known"):

        class Bad(Params):
            name: Annotated[bytes, Field("Name.")]
