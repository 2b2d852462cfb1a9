"""What a policy text means, and what is refused. Numbers are those of acl-semantics items."""

import pytest
from caveau.framework.errors import InvalidRequest
from caveau.server.policy import Factor, Rule, builtin, parse_policy


def rule(body: str, path: str = "a/b") -> Rule:
    (only,) = parse_policy("p", f'path "{path}" {{ {body} }}').rules
    return only


def warnings(text: str) -> str:
    return "\n".join(parse_policy("p", text).warnings)


def test_a_full_rule() -> None:
    found = rule(
        """
        comment = "why"
        capabilities = ["create", "list"]
        allowed_parameters = { Foo = ["x*", true, 3], "*" = [] }
        denied_parameters = { "bar" = [] }
        required_parameters = ["foo"]
        min_wrapping_ttl = "1m"
        max_wrapping_ttl = 90
        pagination_limit = "0x10"
        list_scan_response_keys_filter_path = "x/{{ .key }}"
        expiration = "2030-01-01T00:00:00Z"
        """,
        "/a/b",
    )
    assert found == Rule(
        path="a/b",
        capabilities=frozenset({"create", "list"}),
        allowed={"foo": ("x*", True, 3), "*": ()},
        denied={"bar": ()},
        required=("foo",),
        min_wrapping_ttl=60.0,
        max_wrapping_ttl=90.0,
        pagination_limit=16,
        filter_path="x/{{ .key }}",
        expiration=1893456000.0,
        line=1,
    )


@pytest.mark.parametrize(
    ("body", "capabilities"),
    [
        ('capabilities = ["read"] capabilities = ["list"]', "list read"),  # 15: repeats accumulate
        ('capabilities = ["deny", "bogus"]', "deny"),  # 15: deny ends the reading
        ('policy = "read" capabilities = ["update"]', "list read update"),  # 15: policy adds
        ('policy = "deny" capabilities = ["update"]', "deny"),  # 15: except deny, which replaces
        ('policy = "write"', "create delete list read update"),  # 15: no patch
        ('policy = "sudo"', "create delete list read sudo update"),
        ('policy = "bogus" policy = "read"', "list read"),
        ('policy = ""', ""),
        ("capabilities = {}", ""),
        ('capabilities = ["patch", "scan", "sudo", "recover", "subscribe"]', "patch recover scan subscribe sudo"),
    ],
)
def test_capabilities(body: str, capabilities: str) -> None:
    assert rule(body).capabilities == set(capabilities.split())


def test_json_reads_like_hcl() -> None:
    for text in (
        '{"path": {"a": {"capabilities": ["read"]}, "b": {"policy": "deny"}}}',
        '{"path": [{"a": {"capabilities": ["read"]}}, {"b": {"policy": "deny"}}]} and text after it',
        '{"path": {"a": {"capabilities": ["read"]}}, "path": {"b": {"policy": "deny"}}}',
        'path "a" { capabilities = ["read"] }\npath "b" { policy = "deny" }\nname = "ignored"',
    ):
        assert [(r.path, r.capabilities) for r in parse_policy("p", text).rules] == [("a", {"read"}), ("b", {"deny"})]


def test_15_repeated_json_keys_are_a_union() -> None:
    text = '{"path": {"a": {"capabilities": ["read"], "capabilities": ["list"]}}}'
    assert parse_policy("p", text).rules[0].capabilities == {"read", "list"}


def test_15_a_path_without_a_label_is_the_path_called_path() -> None:
    (found,) = parse_policy("p", 'path { capabilities = ["read"] }').rules
    assert found.path == "path"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('path "a/b" { capabilities = ["bogus", "deny"] }', 'line 1: path "a/b": invalid capability "bogus"'),
        ('path "a" { capabilities = ["READ"] }', 'invalid capability "READ"'),
        ('path "a" { capabilities = [1] }', 'invalid capability "1"'),
        ('path "a" { capabilities = "read" }', '"capabilities" must be a list'),
        ('path "a" { capabilities = [true] }', "capabilities must be a list of strings"),
        ('path "a" {\n  capabilites = ["read"]\n}', 'line 2: path "a": invalid key "capabilites"'),
        ('path "a" {}\nfoo = 1', 'line 2: invalid key "foo"'),
        ('path "a" { policy = "bogus" }', 'invalid policy "bogus"'),
        ('path "a" { policy = ["read"] }', "invalid policy: expected a string"),
        ('path = "a"', "path must be a block"),
        ('path "a" "b" {}', "path must be a block with one label"),
        ('{"path": {"a": 3}}', '"path" must be a block'),
        ('path "a/+*" {}', "invalid use of wildcards ('+*' is forbidden)"),  # 4
        ('path "a/{{identity.entity.id" {}', "unbalanced templating characters"),
        ('path "a/}}" {}', "unbalanced templating characters"),
        ('path "a" { min_wrapping_ttl = "x" }', "invalid min_wrapping_ttl"),
        ('path "a" { min_wrapping_ttl = true }', "invalid min_wrapping_ttl"),
        ('path "a" { min_wrapping_ttl = 10 max_wrapping_ttl = 5 }', "max_wrapping_ttl cannot be less"),
        ('path "a" { expiration = "2030-01-01" }', "invalid expiration"),
        ('path "a" { expiration = "2030-99-01T00:00:00Z" }', "invalid expiration"),
        ('path "a" { pagination_limit = 1.5 }', "invalid pagination_limit"),
        ('path "a" { pagination_limit = "x" }', "invalid pagination_limit"),
        ('path "a" { pagination_limit = "09" }', "invalid pagination_limit"),
        ('path "a" { allowed_parameters = ["a"] }', "allowed_parameters must be a map"),
        ('path "a" { allowed_parameters = { a = "x" } }', '"a" must be a list'),
        ('path "a" { required_parameters = [true] }', "required_parameters must be a list of strings"),
        ('path "a" { capabilities = ["read"] list_scan_response_keys_filter_path = "{{.key}}" }', "list capability"),
        ('path "a" { capabilities = ["list"] list_scan_response_keys_filter_path = "x" }', "must hold {{ .key }}"),
        ('path "a" { policy = "read" list_scan_response_keys_filter_path = "{{.key}}{{.x}}" }', "only {{ .key }}"),
        ('path "a" { control_group = { factor "x" {} } }', 'factor "x" needs one identity block'),
        ('path "a" { control_group = { ttl = "1h" } }', "control_group has no factor"),
        ('path "a" { control_group = 1 }', "must be a block"),
        ('path "a" { control_group { factor "x" { identity { approvals = 1 } } } }', "names no group"),
        ('path "a" { control_group { factor "x" { identity { group_names = ["g"] approvals = 0 } } } }', "from 1 to"),
        ('path "a" { control_group { factor "x" { identity { group_names = [1] } } } }', "list of strings"),
        ('path "a" { control_group { factor "x" { identity { group_names = ["g"] who = 1 } } } }', 'key "who"'),
        ('path "a" { control_group { ttl = "-1h" factor "x" { identity { group_names = ["g"] } } } }', "negative"),
        (
            'path "a" { capabilities = ["read"] control_group { factor "x" { controlled_capabilities = ["list"] '
            'identity { group_names = ["g"] } } } }',
            'controlled capability "list" is not one of the rule',
        ),
        ('path "a" { capabilities = ["read" }', "line 1: expected ',' or ']', found '}'"),
        ('path "a"', "line 1:"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_policy("p", text)
    assert str(caught.value).startswith("failed to parse policy: line ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "bound"),
    [("1.5", 1.0), ('"1.5h"', 5400.0), ('"30"', 30.0), ('"1d"', 86400.0), ('"500ms"', 0.5), ("-5", 0.0),
     ('"-1s"', 0.0)],
)  # fmt: skip
def test_14_wrapping_bounds(text: str, bound: float) -> None:
    assert rule(f"max_wrapping_ttl = {text}").max_wrapping_ttl == bound


@pytest.mark.parametrize(
    ("text", "moment"),
    [('""', None), ("1900000000", 1.9e9), ('"1900000000"', 1.9e9), ("-1", -1.0), ("0", 0.0),
     ('"1970-01-01T01:00:01.5+01:00"', 1.5)],
)  # fmt: skip
def test_expiration(text: str, moment: float | None) -> None:
    assert rule(f"expiration = {text}").expiration == moment


def test_10_booleans_in_json_lists_are_lost() -> None:
    text = '{"path": {"a": {"allowed_parameters": {"n": [true], "m": [true, "x"]}}}}'
    policy = parse_policy("p", text)
    assert policy.rules[0].allowed == {"n": (), "m": ("x",)}
    assert 'allowed_parameters "n": booleans in JSON lists are ignored, so that any value matches' in policy.warnings[0]
    assert "any value" not in policy.warnings[1]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ('path "a" { allowed_parameters = { n = [1] } }', "numbers match no value of a request: 1 allows nothing"),  # 8
        ('path "a" { denied_parameters = { n = [1.5] } }', "1.5 denies nothing"),  # 8
        ('path "a" { denied_parameters = { n = ["*"] } }', "in \"*\" the '*' is a plain character"),  # 9
        ('path "a" { allowed_parameters = { n = ["a*b"] } }', 'in "a*b"'),  # 9
        ('path "a" { allowed_parameters = { "*" = ["x"] } }', "its values are ignored"),  # 11
        ('path "a" { denied_parameters = { "*" = ["x"] } }', "refuses every parameter"),  # 11
        ('path "//a" { policy = "deny" }', "two leading slashes"),  # 7
        ('path "a/*/c" {}', "'*' is a wildcard only as the last character"),  # 4
        ('path "a/+b" {}', "'+' is a wildcard only as a whole segment"),  # 4
        ('path "a" { mfa_methods = ["x"] }', "mfa_methods is not enforced"),
    ],
)
def test_warnings_where_a_rule_may_say_less_than_it_seems(text: str, warning: str) -> None:
    assert warning in warnings("\n" + text)
    assert "on line 2: " in warnings("\n" + text)


def test_an_ordinary_policy_has_no_warnings() -> None:
    assert not warnings('path "a/+/c/*" { policy = "write" allowed_parameters = { n = ["**", "x*", "*x"], "*" = [] } }')


def test_default_policy() -> None:
    policy = parse_policy("default", builtin.DEFAULT)
    assert not policy.warnings
    assert {r.path: "".join(sorted(word[0] for word in r.capabilities)) for r in policy.rules} == {
        "auth/token/lookup-self": "r",
        "auth/token/renew-self": "u",
        "auth/token/revoke-self": "u",
        "sys/capabilities-self": "u",
        "sys/internal/ui/resultant-acl": "r",
        "identity/entity/id/{{identity.entity.id}}": "r",
        "identity/entity/name/{{identity.entity.name}}": "r",
        "sys/leases/renew": "u",
        "sys/leases/lookup": "u",
        "cubbyhole/*": "cdlru",
        "sys/wrapping/wrap": "u",
        "sys/wrapping/lookup": "u",
        "sys/wrapping/unwrap": "u",
        "sys/tools/hash": "u",
        "sys/tools/hash/*": "u",
        "identity/oidc/provider/+/authorize": "ru",
    }


@pytest.mark.parametrize(
    "text",
    [
        """path "a" {
             capabilities = ["read", "list"]
             control_group = {
               ttl = "4h"
               factor "x" {
                 controlled_capabilities = ["read"]
                 identity {
                   group_names = ["B", "a"]
                   group_ids = ["1"]
                   approvals = 2
                   ttl = "5m"
                   self_authorization = true
                 }
               }
             }
           }""",
        """{"path": {"a": {"capabilities": ["read", "list"], "control_group": {"ttl": 14400, "factor": {"x": {
             "controlled_capabilities": ["read"], "identity": {"group_names": ["b", "A"], "group_ids": ["1"],
             "approvals": 2, "ttl": 300, "self_authorization": true}}}}}}}""",
    ],
)
def test_control_groups(text: str) -> None:
    (rule,) = parse_policy("p", text).rules
    assert rule.control_ttl == 4 * 3600
    assert rule.factors == (Factor("x", ("read",), ("1",), ("a", "b"), 2, 300.0, True),)
