"""Decisions, by the numbers of acl-semantics, and what callers of an ACL rely on."""

import tracemalloc
from types import SimpleNamespace
from typing import Any

import pytest
from caveau.server.policy import ACL, builtin, parse_policy
from hypothesis import given, settings
from hypothesis import strategies as st


def acl(*texts: str, now: float = 0.0) -> ACL:
    return ACL((parse_policy(f"p{index}", text) for index, text in enumerate(texts)), now=now)


def caps(path: str, *pairs: tuple[str, str]) -> str:
    """Capabilities on ``path`` under rules given as (path, space-separated capabilities)."""
    text = "\n".join(
        f'path "{rule}" {{ capabilities = [{", ".join(f"{word!r}" for word in words.split())}] }}'.replace("'", '"')
        for rule, words in pairs
    )
    return " ".join(acl(text).capabilities(path))


ALL = 'capabilities = ["create", "read", "update", "patch", "delete", "list", "scan"]'


def allowed(conditions: str, data: dict[str, Any] | None = None, op: str = "update", **extra: Any) -> bool:
    return acl(f'path "a" {{ {ALL}\n{conditions} }}').allow(op, "a", data=data, **extra).allowed


@pytest.mark.parametrize(
    ("path", "pairs", "expected"),
    [
        ("a/b/c/d", [("a/+/c/d", "read"), ("a/b*", "list")], "list"),  # 1
        ("a/b", [("+/b", "read"), ("*", "list")], "read"),  # 2: no '*'
        ("a/b", [("*", "read"), ("+/b*", "list")], "read"),  # 2: fewer '+'
        ("a/b/c/d", [("a/+/+/d", "read"), ("a/+/c/+", "list")], "list"),  # 2: the greater text
        ("a/bb/c", [("+/b*", "read"), ("+/bb*", "list")], "list"),  # 2: the longer text
        ("a/b/c", [("+/+/c", "read"), ("+/b/+", "list")], "list"),  # 2: the greater text
        ("a+/x/c", [("a+/+/c*", "read"), ("a*", "list")], "list"),  # 1: the first '+' character counts
        ("a/b", [("a/*", "read"), ("a/b", "")], "deny"),  # 3
        ("a/b", [("a/*", "deny"), ("a/b", "read")], "read"),  # 3
        ("a/", [("a/+", "read")], "read"),  # 4
        ("a//c", [("a/+/c", "read")], "read"),  # 4
        ("a/xb", [("a/+b", "read")], "deny"),  # 4: literal
        ("a/+b", [("a/+b", "read")], "read"),
        ("a/x/c", [("a/*/c", "read")], "deny"),  # 4: literal
        ("a/*/c", [("a/*/c", "read")], "read"),
        ("a*x", [("a**", "read")], "read"),  # 4
        ("ax", [("a**", "read")], "deny"),  # 4
        ("a/b/", [("a/b", "read"), ("a/b/*", "list")], "read"),  # 5
        ("a/b/", [("a/b*", "read"), ("a/b/*", "list")], "list"),  # 5
        ("a/b", [("a/b/", "list")], "deny"),  # 6
        ("a", [("/a", "read")], "read"),  # 7
        ("///a", [("a", "read")], "read"),  # 7
        ("a", [("//a", "read")], "deny"),  # 7
        ("//a", [("//a", "read")], "deny"),  # 7
        ("", [("", "read")], "read"),
        ("anything/at/all", [("*", "sudo")], "sudo"),
        ("b", [("a", "read")], "deny"),
        ("a", [("a", "read"), ("a", "deny")], "deny"),
        ("a", [("a", "scan update create read")], "create read scan update"),
    ],
)
def test_capabilities(path: str, pairs: list[tuple[str, str]], expected: str) -> None:
    assert caps(path, *pairs) == expected
    assert caps(path, *reversed(pairs)) == expected


def test_6_a_real_list_asks_for_the_folder() -> None:
    here = acl('path "a/b/" { capabilities = ["list", "scan"] }')
    assert here.capabilities("a/b") == ["deny"]
    for op in ("list", "scan"):
        assert here.allow(op, "a/b").allowed
        assert here.allow(op, "a/b/").allowed
    assert not here.allow("read", "a/b").allowed
    # A deny on the folder counts for a list without the slash too (GHSA-xp3c-3jw3-4vcr).
    closed = acl('path "a/*" { capabilities = ["list"] }\npath "a/b/*" { capabilities = ["deny"] }')
    assert not closed.allow("list", "a/b").allowed
    assert not closed.allow("list", "a/b/").allowed


def test_policies_add_up_and_deny_wins_in_any_order() -> None:
    read, update, deny = (f'path "a" {{ capabilities = ["{word}"] }}' for word in ("read", "update", "deny"))
    assert acl(read, update).capabilities("a") == ["read", "update"]
    assert acl(read, deny).capabilities("a") == acl(deny, read).capabilities("a") == ["deny"]


def test_root() -> None:
    root = ACL([parse_policy("root", builtin.ROOT), parse_policy("p", 'path "a" { policy = "deny" }')], now=0)
    assert root.is_root
    assert root.capabilities("a") == ["root"]
    decision = root.allow("delete", "a", data={"x": 1})
    assert (decision.allowed, decision.root, decision.sudo) == (True, True, True)
    assert root.resultant() == {"root": True}
    assert root.grants_under("x/")


def test_nothing_is_allowed_without_a_rule() -> None:
    for empty in (ACL([], now=0), acl('path "b" { policy = "sudo" }')):
        for op in ("create", "read", "update", "patch", "delete", "list", "scan", "help", ""):
            assert not empty.allow(op, "a").allowed
        assert not empty.is_root


def test_an_unknown_operation_is_refused() -> None:
    assert not acl('path "a" { policy = "sudo" }').allow("sudo", "a").allowed
    assert not acl('path "a" { policy = "sudo" }').allow("head", "a").allowed


def test_sudo_alone_grants_nothing() -> None:
    decision = acl('path "a" { capabilities = ["sudo"] }').allow("read", "a")
    assert (decision.allowed, decision.sudo) == (False, True)
    assert not acl('path "a" { policy = "write" }').allow("read", "a").sudo


def test_a_decision_names_rule_policies_and_reason() -> None:
    three = acl(
        'path "a/*" { capabilities = ["read"] }',
        'path "a/*" { capabilities = ["read", "update"] required_parameters = ["x"] }',
        'path "b" { capabilities = ["deny"] }',
    )
    decision = three.allow("read", "a/b", data={"x": 1})
    assert (decision.path, decision.policies, decision.reason) == ("a/*", ("p0", "p1"), "")
    assert three.allow("update", "a/b", data={"x": 1}).policies == ("p1",)
    refused = three.allow("update", "a/b", data={"secret": "value"})
    assert (refused.allowed, refused.path, refused.reason) == (False, "a/*", "parameter x is required")
    refused = three.allow("read", "b")
    assert (refused.path, refused.policies, refused.reason) == ("b", ("p2",), "the rule does not grant read")
    assert three.allow("read", "c").reason == "no rule for this path"


def test_expired_rules_do_not_exist_and_shadow_nothing() -> None:
    text = 'path "a/b" { capabilities = ["deny"] expiration = 100 }\npath "a/*" { policy = "read" expiration = 200 }'
    assert acl(text, now=99).capabilities("a/b") == ["deny"]
    assert acl(text, now=99).expires_at == 100
    assert acl(text, now=100).capabilities("a/b") == ["list", "read"]
    assert acl(text, now=100).expires_at == 200
    assert acl(text, now=200).capabilities("a/b") == ["deny"]
    assert acl(text, now=200).expires_at is None


@pytest.mark.parametrize(
    ("conditions", "data", "expected"),
    [
        ("allowed_parameters = { n = [1] }", {"n": 1}, False),  # 8
        ("denied_parameters = { n = [1] }", {"n": 1}, True),  # 8
        ('allowed_parameters = { n = ["*"] }', {"n": "*"}, True),  # 9
        ('allowed_parameters = { n = ["*"] }', {"n": "x"}, False),  # 9
        ('allowed_parameters = { n = ["**"] }', {"n": ""}, True),  # 9
        ('allowed_parameters = { n = ["**"] }', {"n": True}, False),
        ('allowed_parameters = { n = ["a*b"] }', {"n": "axb"}, False),  # 9
        ('allowed_parameters = { n = ["a*"] }', {"n": "ab"}, True),
        ('allowed_parameters = { n = ["*b"] }', {"n": "ab"}, True),
        ('allowed_parameters = { n = ["*b*"] }', {"n": "abc"}, True),
        ('allowed_parameters = { n = ["x"] }', {"n": "y"}, False),
        ("allowed_parameters = { n = [] }", {"n": {"deep": 1}}, True),
        ("allowed_parameters = { n = [] }", {"m": 1}, False),
        ("allowed_parameters = { n = [true] }", {"n": True}, True),
        ("allowed_parameters = { n = [true] }", {"n": 1}, False),
        ("allowed_parameters = { n = [1] }", {"n": True}, False),
        ('allowed_parameters = { n = ["true"] }', {"n": True}, False),
        ('allowed_parameters = { n = [["x"]] }', {"n": ["x"]}, True),
        ('allowed_parameters = { n = [["x*"]] }', {"n": ["xy"]}, False),
        ("allowed_parameters = { n = [{}] }", {"n": {}}, True),
        ('allowed_parameters = { n = [""] }', {"n": None}, False),
        ('allowed_parameters = { "*" = ["x"], n = ["y"] }', {"m": "z", "n": "y"}, True),  # 11
        ('allowed_parameters = { "*" = [], n = ["y"] }', {"n": "z"}, False),  # 11
        ('denied_parameters = { "*" = ["x"] }', {"m": "z"}, False),  # 11
        ('denied_parameters = { "*" = [] }', {}, True),  # 11
        ("allowed_parameters = { n = [] }", {}, True),  # 11
        ('required_parameters = ["n"]', {}, False),  # 11
        ("denied_parameters = { n = [] }", {"n": 1}, False),
        ('denied_parameters = { n = ["x"] }', {"n": "y"}, True),
        ("denied_parameters = { n = [] } allowed_parameters = { n = [], m = [] }", {"n": 1}, False),
        ("allowed_parameters = { FOO = [] }", {"fOo": 1}, True),  # 12
        ("denied_parameters = { foo = [] }", {"FOO": 1}, False),  # 12
        ('required_parameters = ["Foo"]', {"foo": None}, True),  # 12
        ('required_parameters = ["Foo"]', {"Foo": 1}, False),  # 12
    ],
)
def test_parameters(conditions: str, data: dict[str, Any], expected: bool) -> None:
    for op in ("create", "read", "update", "patch"):  # 12: query arguments of a read are bound as well
        assert allowed(conditions, data, op) is expected


def test_12_lists_and_deletes_are_not_bound_by_parameters() -> None:
    for op in ("list", "scan", "delete"):
        assert allowed('required_parameters = ["n"] allowed_parameters = { n = [] }', {"m": 1}, op)


def test_13_merging() -> None:
    def merged(one: str, other: str, data: dict[str, Any], **extra: Any) -> set[bool]:
        texts = [f'path "a" {{ {ALL} {conditions} }}' for conditions in (one, other)]
        orders = [acl(*texts), acl(*reversed(texts)), acl("\n".join(texts))]
        return {order.allow("update", "a", data=data, **extra).allowed for order in orders}

    assert merged("", "allowed_parameters = { a = [] }", {"b": 1}) == {False}
    assert merged('allowed_parameters = { a = ["x"] }', "allowed_parameters = { a = [] }", {"a": "y"}) == {True}
    assert merged('allowed_parameters = { a = ["x"] }', 'allowed_parameters = { a = ["y"] }', {"a": "y"}) == {True}
    assert merged('denied_parameters = { a = ["x"] }', "denied_parameters = { a = [] }", {"a": "y"}) == {False}
    assert merged('required_parameters = ["x"]', 'required_parameters = ["y"]', {"x": 1}) == {False}
    for wrap, expected in ((5, False), (10, True), (20, True), (21, False)):
        bounds = ("min_wrapping_ttl = 10 max_wrapping_ttl = 40", "min_wrapping_ttl = 20 max_wrapping_ttl = 20")
        assert merged(*bounds, {}, wrap_ttl=wrap) == {expected}
    for seconds in (None, 0, 35, 100):  # min over max refuses everything
        assert merged("min_wrapping_ttl = 40", "max_wrapping_ttl = 30", {}, wrap_ttl=seconds) == {False}


@pytest.mark.parametrize(
    ("bounds", "wrap_ttl", "expected"),
    [
        ("max_wrapping_ttl = 20", None, False),
        ("max_wrapping_ttl = 20", 0, True),
        ("max_wrapping_ttl = 20", 20, True),
        ("max_wrapping_ttl = 20", 21, False),
        ("max_wrapping_ttl = 1.5", 1, True),
        ("max_wrapping_ttl = 1.5", 2, False),
        ("max_wrapping_ttl = 0", None, True),
        ("max_wrapping_ttl = -1", None, True),
        ("min_wrapping_ttl = 10", None, False),
        ("min_wrapping_ttl = 10", 9, False),
        ("min_wrapping_ttl = 10", 10, True),
    ],
)
def test_14_wrapping(bounds: str, wrap_ttl: float | None, expected: bool) -> None:
    for op in ("update", "read", "list", "delete"):
        assert allowed(bounds, op=op, wrap_ttl=wrap_ttl) is expected


def test_pagination_limit() -> None:
    limit = "pagination_limit = 3"
    for asked, expected in (({}, True), ({"limit": 3}, True), ({"limit": "2"}, True), ({"limit": 0}, True),
                            ({"limit": 4}, False), ({"limit": "4"}, False), ({"limit": -1}, False)):  # fmt: skip
        assert allowed(limit, asked, "list") is expected
    two = acl(*(f'path "a" {{ {ALL} pagination_limit = {n} }}' for n in (3, 2, 0)))
    assert two.allow("list", "a").pagination_limit == 2
    assert two.allow("read", "a", data={"limit": 9}).allowed


def test_list_filter_shows_what_may_be_read_or_listed() -> None:
    here = acl(
        'path "kv/d" { capabilities = ["list"] list_scan_response_keys_filter_path = "{{.path}}{{ .key }}" }\n'
        'path "kv/d/k" { capabilities = ["read"] }\npath "kv/d/w" { capabilities = ["update"] }\n'
        'path "kv/d/sub" { capabilities = ["list"] }\npath "kv/d/sub2/" { capabilities = ["read"] }'
    )
    decision = here.allow("list", "kv/d")
    keys = ["k", "w", "x", "sub/", "sub2/"]
    assert here.visible(decision.filter_path, "kv/d", keys) == ["k", "sub/"]
    assert here.visible(decision.filter_path, "kv/d/", keys) == ["k", "sub/"]


def test_resultant() -> None:
    here = acl(
        'path "a" { capabilities = ["update", "patch", "read"] allowed_parameters = { n = [1, "x"] } '
        'required_parameters = ["n"] min_wrapping_ttl = 5 max_wrapping_ttl = "90s" }\n'
        'path "b/*" { capabilities = ["list"] denied_parameters = { n = [] } }\n'
        'path "c" { denied_parameters = { n = [] } }\npath "+/d" { policy = "read" }\npath "*" { policy = "read" }'
    )
    assert here.resultant() == {
        "exact_paths": {
            "a": {
                "capabilities": ["read", "update", "patch"],
                "allowed_parameters": {"n": [1, "x"]},
                "required_parameters": ["n"],
                "min_wrapping_ttl": 5,
                "max_wrapping_ttl": 90,
            },
            "c": {"capabilities": ["deny"]},
        },
        "glob_paths": {
            "": {"capabilities": ["list", "read"]},
            "b/": {"capabilities": ["list"], "denied_parameters": {"n": []}},
        },
        "root": False,
    }


@pytest.mark.parametrize(
    ("rule", "word", "expected"),
    [
        ("kv/*", "read", True),
        ("kv/a/b", "read", True),
        ("kv/a/b", "deny", False),
        ("k*", "read", True),
        ("kv2/*", "read", False),
        ("kv", "read", True),
        ("+/a", "read", True),
        ("+/+/a", "read", True),
        ("+/a*", "deny", False),
        ("kv/+/a/*", "read", True),
        ("kv2/+/a/*", "read", False),
        ("+", "read", True),
        ("kv/x", "sudo", True),
    ],
)
def test_grants_under(rule: str, word: str, expected: bool) -> None:
    assert acl(f'path "{rule}" {{ capabilities = ["{word}"] }}').grants_under("kv/") is expected


def test_grants_under_a_nested_mount() -> None:
    for rule, expected in (("a/+/c", True), ("a/+", True), ("+/b/*", True), ("+/x/+", False), ("+/bb*", False),
                           ("+/b*", True), ("a/+/*", True)):  # fmt: skip
        assert acl(f'path "{rule}" {{ policy = "read" }}').grants_under("a/b/") is expected, rule


def test_look_ups_are_remembered_within_bounds() -> None:
    here = acl('path "a/*" { policy = "read" }')
    for number in range(5000):
        assert here.allow("read", f"a/{number}").allowed
        assert not here.allow("read", f"b/{number}").allowed
        assert here.allow("read", "a/" + "x" * 300 + str(number)).allowed
    assert len(here._asked) <= 2048
    assert max(map(len, here._asked)) <= 256


QUICK = settings(deadline=None, max_examples=60)  # a busy machine is no failure

SEGMENT = st.sampled_from(["a", "b", "ab", "+", "+b", ""])
PATHS = st.lists(SEGMENT.filter(lambda s: "+" not in s), min_size=1, max_size=4).map("/".join)
RULE_PATHS = st.builds(
    lambda parts, end: "/".join(parts) + ("" if parts[-1] == "+" else end),
    st.lists(SEGMENT, min_size=1, max_size=4),
    st.sampled_from(["", "*", "/*", "/"]),
)
WORDS = st.sets(st.sampled_from(["read", "update", "list", "sudo", "deny"]))
RULES = st.lists(st.tuples(RULE_PATHS, WORDS), max_size=6)


def text_of(pairs: list[tuple[str, set[str]]]) -> str:
    return "\n".join(
        f'path "{path}" {{ capabilities = [{", ".join(f"{chr(34)}{word}{chr(34)}" for word in sorted(words))}] }}'
        for path, words in pairs
    )


@QUICK
@given(RULES, PATHS)
def test_no_more_is_granted_than_some_rule_says(pairs: list[tuple[str, set[str]]], path: str) -> None:
    found = set(acl(text_of(pairs)).capabilities(path))
    assert found <= set().union({"deny"}, *(words for _, words in pairs))
    assert found == {"deny"} or "deny" not in found


@QUICK
@given(RULES, PATHS)
def test_order_of_rules_and_their_division_into_policies_do_not_matter(
    pairs: list[tuple[str, set[str]]], path: str
) -> None:
    expected = acl(text_of(pairs)).capabilities(path)
    assert acl(text_of(pairs[::-1])).capabilities(path) == expected
    assert acl(*(text_of([pair]) for pair in pairs)).capabilities(path) == expected


@QUICK
@given(RULES, PATHS, WORDS)
def test_an_exact_rule_decides_alone(pairs: list[tuple[str, set[str]]], path: str, words: set[str]) -> None:
    others = [pair for pair in pairs if pair[0].lstrip("/") != path.lstrip("/")]
    here = acl(text_of([*others, (path.lstrip("/"), words)]))
    for op in ("read", "update"):
        assert here.allow(op, path).allowed == (op in words and "deny" not in words)


@QUICK
@given(RULES, PATHS)
def test_deny_everything_adds_nothing_and_capabilities_agree_with_reads(
    pairs: list[tuple[str, set[str]]], path: str
) -> None:
    here = acl(text_of(pairs))
    for op in ("read", "update", "delete"):
        if here.allow(op, path).allowed:
            assert op in here.capabilities(path)
            assert here.grants_under(path)
            assert here.grants_under("")


def test_acls_of_many_entities_share_what_is_the_same_and_nothing_else():
    policy = parse_policy("default", builtin.DEFAULT)
    who = [SimpleNamespace(id=f"id-{n}", name=f"n{n}", metadata={}, aliases={}, groups=()) for n in range(11)]
    tracemalloc.start()
    first = ACL([policy], who[0], now=0)
    one, _ = tracemalloc.get_traced_memory()
    others = [ACL([policy], each, now=0) for each in who[1:]]
    ten = tracemalloc.get_traced_memory()[0] - one
    tracemalloc.stop()
    assert ten < 5 * one
    assert first.allow("update", "sys/wrapping/wrap") == others[0].allow("update", "sys/wrapping/wrap")
    assert first.allow("read", "identity/entity/id/id-0").allowed
    assert not others[0].allow("read", "identity/entity/id/id-0").allowed
    assert others[0].allow("read", "identity/entity/id/id-1").allowed
    changed = ACL([parse_policy("default", 'path "sys/wrapping/wrap" { capabilities = ["read"] }')], now=0)
    assert not changed.allow("update", "sys/wrapping/wrap").allowed
