import json
from contextlib import suppress

import pytest
from caveau.server.hcl import MAX_DEPTH, MAX_LENGTH, Block, HclError, Item, parse
from hypothesis import given, settings
from hypothesis import strategies as st


def one(text: str) -> object:
    (item,) = parse(text).items
    return item.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a = 1", 1),
        ("a = -17", -17),
        ("a = 0x1F", 31),
        ("a = 0755", 0o755),
        ("a = 0", 0),
        ("a = 1.5", 1.5),
        ("a = 1e3", 1000.0),
        ("a = -2.5E-1", -0.25),
        ("a = true", True),
        ("a = false", False),
        ('a = ""', ""),
        ('a = "x # not a comment"', "x # not a comment"),
        (r'a = "q\"b\\n\n\t\u00e9\U0001F600\x41\101"', 'q"b\\n\n\té😀AA'),
        (r'a = "\xc3\xa9"', "é"),
        ('a = "cost $5"', "cost $5"),
        ('a = "{{identity.entity.id}}"', "{{identity.entity.id}}"),
        ('a = "x${f("y", {1})}z"', 'x${f("y", {1})}z'),
        ("a = []", []),
        ('a = ["x", 2, true, [3.5],]', ["x", 2, True, [3.5]]),
        ("a = <<EOF\none\n  two\nEOF\n", "one\n  two\n"),
        ("a = <<EOF\nEOF", ""),
        ("a = <<EOF\none\n  EOF\nEOF\n", "one\n  EOF\n"),
        ("a = <<-EOF\n    one\n      two\n    EOF\n", "one\n  two\n"),
        ("a = <<-EOF\n  one\n    EOF\n", "  one\n"),
        ("a = <<EOF\r\none\r\nEOF\r\n", "one\r\n"),
        ('{"a": null}', None),
        ('{"a": true}', True),
        ('{"a": "\\ud83d\\ude00\\/"}', "😀/"),
        ('{"a": "${x}"}', "${x}"),
        ('  \n{"a": [1, "b", [true]]} trailing text', [1, "b", [True]]),
    ],
)
def test_values(text: str, value: object) -> None:
    found = one(text)
    assert found == value
    assert type(found) is type(value)


def test_blocks_labels_comments_and_lines() -> None:
    text = """# one
    // two
    /* three
    */ ui = true
    listener "tcp" { address = "127.0.0.1:8200", tls_disable = 1 }
    "quoted key" = "x"  telemetry {}
    path "a" "b" {
      capabilities = ["read"]
    }
    """
    root = parse(text)
    assert [(item.key, item.labels, item.line) for item in root.items] == [
        ("ui", (), 4),
        ("listener", ("tcp",), 5),
        ("quoted key", (), 6),
        ("telemetry", (), 6),
        ("path", ("a", "b"), 7),
    ]
    assert root.items[1].value == Block((Item("address", (), "127.0.0.1:8200", 5), Item("tls_disable", (), 1, 5)), 5)


def test_repeated_keys_are_kept_in_order() -> None:
    for text in ("a = 1\nb = 2\na = 3", '{"a": 1, "b": 2, "a": 3}'):
        root = parse(text)
        assert [item.value for item in root.items] == [1, 2, 3]
        assert [item.value for item in root.all("a")] == [1, 3]


@pytest.mark.parametrize(
    "text",
    [
        'listener "tcp" { n = 1 }\nlistener "unix" { n = 2 }',
        "listener { tcp { n = 1 } }\nlistener = { unix = { n = 2 } }",
        "listener = [{ tcp = { n = 1 } }, { unix { n = 2 } }]",
        '{"listener": {"tcp": {"n": 1}, "unix": {"n": 2}}}',
        '{"listener": [{"tcp": {"n": 1}}, {"unix": [{"n": 2}]}]}',
        '{"listener": {"tcp": {"n": 1}}, "listener": {"unix": {"n": 2}}}',
    ],
)
def test_labels_and_nesting_are_the_same(text: str) -> None:
    found = [(labels, block.items[0].value) for labels, block, _ in parse(text).blocks("listener", 1)]
    assert found == [(("tcp",), 1), (("unix",), 2)]


def test_a_label_too_many_stands_for_a_block() -> None:
    ((labels, block, line),) = parse('\na "b" "c" { n = 1 }').blocks("a", 1)
    assert (labels, line) == (("b",), 2)
    assert [(item.key, type(item.value)) for item in block.items] == [("c", Block)]


def test_blocks_refuses_what_is_no_block() -> None:
    with pytest.raises(HclError, match=r'line 2: "listener" must be a block with a label'):
        list(parse("\nlistener = 3").blocks("listener", 1))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a = \n", 2, "expected a value, found the end"),
        ("a = b", 1, "expected a value, found 'b'"),
        ("a = null", 1, "expected a value"),
        ('a "b" = 1', 1, "expected '{', found '='"),
        ("\n\na { b = 1", 3, "expected a key, found the end"),
        ("}", 1, "expected a key, found '}'"),
        ("= 1", 1, "expected a key"),
        ('a = ["x" "y"]', 1, "expected ',' or ']'"),
        ('a = "x\ny"', 1, "string is not closed"),
        ('\na = "x', 2, "string is not closed"),
        ('a = "${x', 1, "'${' is not closed"),
        (r'a = "\q"', 1, "unknown escape"),
        (r'a = "\xff"', 1, "not UTF-8"),
        (r'a = "\ud800"', 1, "not a Unicode character"),
        (r'a = "\UFFFFFFFF"', 1, "not a Unicode character"),
        ("a = 1x", 1, "invalid number"),
        ("a = 089", 1, "invalid number"),
        ("a = 9223372036854775808", 1, "out of range"),
        ("a = 1e999", 1, "out of range"),
        ("a = " + "9" * 5000, 1, "invalid number"),
        ("/* open", 1, "comment is not closed"),
        ("a = <<EOF\nx", 1, "heredoc is not closed by EOF"),
        ("a = <<", 1, "invalid heredoc"),
        ("a = 1\0", 1, "expected"),
        ('{"a": 1 "b": 2}', 1, "expected ',' or '}'"),
        ('{"a" = 1}', 1, "expected ':'"),
        ('{"a": 1', 1, "found the end"),
        ("{a: 1}", 1, "expected a key"),
        ('{"a": {} // no comments here\n}', 1, "expected"),
    ],
)
def test_errors_tell_the_line(text: str, line: int, message: str) -> None:
    with pytest.raises(HclError) as caught:
        parse(text)
    assert caught.value.line == line
    assert message in caught.value.message
    assert str(caught.value) == f"line {line}: {caught.value.message}"


def test_depth_and_length_are_bounded() -> None:
    deep = MAX_DEPTH
    assert parse("a = " + "[" * deep + "]" * deep)
    assert len(parse("a { b = [] }\n" * deep * 2).items) == deep * 2
    for text in ("a = " + "[" * (deep + 1) + "]" * (deep + 1), "a {" * 100_000, '{"a":' * 100_000):
        with pytest.raises(HclError, match="nested deeper"):
            parse(text)
    assert parse("#" * MAX_LENGTH).items == ()
    with pytest.raises(HclError, match="longer"):
        parse("#" * (MAX_LENGTH + 1))


QUICK = settings(deadline=None)  # a busy machine is no failure

FRAGMENTS = [
    *"{}[]=,:\"\\#\n $-.<0179axuE", "/*", "*/", "//", "<<-EOF\n", "EOF\n", "${", 'path "a" {', "true", "0x",
    '{"a":', "null", "1e999", "\\u", "\\ud800", "\ufeff", "\0", "é",
]  # fmt: skip


@QUICK
@given(st.one_of(st.text(), st.lists(st.sampled_from(FRAGMENTS)).map("".join)))
def test_nothing_but_hclerror_is_raised(text: str) -> None:
    with suppress(HclError):
        parse(text)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.text(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
DOCUMENTS = st.dictionaries(
    st.text(),
    st.recursive(SCALARS, lambda x: st.one_of(st.lists(x), st.dictionaries(st.text(), x)), max_leaves=8),
    max_size=4,
)


def plain(value: object) -> object:
    if isinstance(value, Block):
        return {item.key: plain(item.value) for item in value.items}
    return [plain(entry) for entry in value] if isinstance(value, list) else value


@QUICK
@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 1]))
def test_json_documents_come_back_as_written(document: object, ascii_only: bool, indent: int | None) -> None:
    assert plain(parse(json.dumps(document, ensure_ascii=ascii_only, indent=indent))) == document
