"""``policy fmt`` lays out as ``bao policy fmt`` does, and changes no meaning."""

from __future__ import annotations

from pathlib import Path

import pytest
from caveau.cli.hcl_format import formatted
from caveau.server import hcl
from hypothesis import given
from hypothesis import strategies as st

from .conftest import Runner

MESSY = """# top
path "a/*"   {
capabilities=["read",   "list"]
  // why
    min_wrapping_ttl = "1s"   # trailing
  allowed_parameters={
   "x"=["1"]
     "longer_key" = []
  }
}
path "b" { capabilities = ["deny"] }
path "c" {
  policy = "write"


  required_parameters = [
  "a",
     "b"
  ]
}
/* block
comment */
path "d" {}
"""
TIDY = """# top
path "a/*" {
  capabilities = ["read", "list"]

  // why
  min_wrapping_ttl = "1s" # trailing

  allowed_parameters = {
    "x"          = ["1"]
    "longer_key" = []
  }
}

path "b" {
  capabilities = ["deny"]
}

path "c" {
  policy = "write"

  required_parameters = [
    "a",
    "b",
  ]
}

/* block
comment */
path "d" {}
"""
SAMPLES = [
    MESSY,
    TIDY,
    'path "a" {capabilities=["read"]}',
    'name = "x"\npath "a" {\n\n\ncapabilities = ["read"]\nmax_wrapping_ttl = 10\n\n}\n\n\n\npath "b" {\n}\n',
    'path "{{identity.entity.id}}/*" {\n\tcapabilities = ["create","update","read","delete","list"]\n}\n',
    'path "a" {\n  # one\n  # two\n  capabilities = ["read"]\n}\n',
]


def test_layout() -> None:
    assert formatted(MESSY) == TIDY


@pytest.mark.parametrize("source", SAMPLES)
def test_twice_is_once(source: str) -> None:
    assert formatted(formatted(source)) == formatted(source)


def test_heredocs_stay_as_they_are() -> None:
    source = "a {\nb = <<EOT\n  x\n y\nEOT\nc=1\n}\n"
    assert formatted(source) == "a {\n  b = <<EOT\n  x\n y\nEOT\n\n  c = 1\n}\n"


@pytest.mark.peer
@pytest.mark.parametrize("source", SAMPLES)
def test_the_original_agrees(caveau: Runner, bao: Runner, tmp_path: Path, source: str) -> None:
    ours, theirs = tmp_path / "ours.hcl", tmp_path / "theirs.hcl"
    for file, runner in ((ours, caveau), (theirs, bao)):
        file.write_text(source)
        assert runner("policy", "fmt", str(file)) == (0, f"Success! Formatted policy: {file}\n", "")
    assert ours.read_text() == theirs.read_text()


def test_what_does_not_parse_is_left_alone(caveau: Runner, tmp_path: Path) -> None:
    file = tmp_path / "bad.hcl"
    file.write_text('path "a" { foo = ')
    ran = caveau("policy", "fmt", str(file))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("failed to parse policy: ")
    assert file.read_text() == 'path "a" { foo = '


STRINGS = st.text(st.characters(codec="ascii", min_codepoint=32, exclude_characters='"\\{}$')).map('"{}"'.format)
WORDS = st.text("abc_1", min_size=1, max_size=6).map("k{}".format)
SCALARS = STRINGS | st.integers(0, 99).map(str) | st.sampled_from(["true", "false"])
VALUES = SCALARS | st.lists(SCALARS, max_size=3).map(lambda items: "[" + " , ".join(items) + "]")
ITEMS = st.recursive(
    st.tuples(WORDS, VALUES).map(" = ".join),
    lambda inner: st.tuples(WORDS, STRINGS, st.lists(inner, max_size=3)).map(
        lambda parts: f"{parts[0]}   {parts[1]} {{\n" + "\n".join(parts[2]) + "\n}"
    ),
    max_leaves=8,
)


def _meaning(value: hcl.Value) -> object:
    if isinstance(value, hcl.Block):
        return [(item.key, item.labels, _meaning(item.value)) for item in value.items]
    return [_meaning(item) for item in value] if isinstance(value, list) else value


@given(st.lists(ITEMS, max_size=4).map("\n\n".join))
def test_the_meaning_stays(source: str) -> None:
    assert _meaning(hcl.parse(formatted(source))) == _meaning(hcl.parse(source))
