from __future__ import annotations

from typing import Annotated

import pytest
from caveau.framework.engine import Context, Engine
from caveau.framework.errors import UnsupportedOperation, UnsupportedPath
from caveau.framework.messages import Lease, Request
from caveau.framework.params import Field, NoParams, Params
from caveau.framework.routes import compile_template, delete, list_, patch, read, route, scan, update


class Named(Params):
    name: Annotated[str, Field("Name of the key.")] = ""
    rest: Annotated[str, Field("What follows.")] = ""
    size: Annotated[int, Field("Size in bits.")] = 0


class Keys(Engine):
    """Keep keys."""

    @read("keys/{name}")
    async def read_key(self, req: Request, p: Named):
        """Read a key."""
        return {"name": p.name, "size": p.size}

    @update("keys/{name}", exists="key_exists")
    async def write_key(self, req: Request, p: Named):
        """Write a key."""
        return {"wrote": p.name}

    @delete("keys/{name}")
    async def delete_key(self, req: Request, p: Named):
        """Delete a key."""

    @read("keys/config")
    async def read_config(self, req: Request, p: NoParams):
        """Read the settings."""

    @list_("keys")
    @scan("keys")
    async def list_keys(self, req: Request, p: NoParams):
        """List keys."""

    @update("sign/{name}[/{rest}]", writes=False)
    async def sign(self, req: Request, p: Named):
        """Sign."""
        return {"name": p.name, "rest": p.rest}

    @read("raw/{name:segment}/tail")
    async def read_segment(self, req: Request, p: Named):
        """Read a segment."""

    @read("raw/{rest:path}")
    async def read_raw(self, req: Request, p: Named):
        """Read anything."""

    @read("some/{rest:some}")
    async def read_some(self, req: Request, p: Named):
        """Read at least something."""

    @update("login", auth=False)
    async def login(self, req: Request, p: NoParams):
        """Log in."""

    @patch("root", sudo=True, external=True)
    async def patch_root(self, req: Request, p: NoParams):
        """Patch the root."""

    @read("{rest:path}", hidden=True, sealed=True)
    async def any_other(self, req: Request, p: Named):
        """Read anything else."""

    async def key_exists(self, req: Request, p: Named) -> bool:
        return False


@pytest.mark.parametrize(
    ("op", "path", "handler", "captures"),
    [
        ("read", "keys/a", "read_key", {"name": "a"}),
        ("read", "keys/a-b.c_1", "read_key", {"name": "a-b.c_1"}),
        ("read", "keys/config", "read_config", {}),
        ("update", "keys/config", "write_key", {"name": "config"}),
        ("delete", "keys/a", "delete_key", {"name": "a"}),
        ("list", "keys", "list_keys", {}),
        ("list", "keys/", "list_keys", {}),
        ("scan", "keys/", "list_keys", {}),
        ("update", "sign/a", "sign", {"name": "a"}),
        ("update", "sign/a/sha2-256", "sign", {"name": "a", "rest": "sha2-256"}),
        ("read", "raw/ü x/tail", "read_segment", {"name": "ü x"}),
        ("read", "raw/a/b/tail", "read_raw", {"rest": "a/b/tail"}),
        ("read", "raw/", "read_raw", {"rest": ""}),
        ("read", "raw/line\nline", "read_raw", {"rest": "line\nline"}),
        ("read", "some/a/b", "read_some", {"rest": "a/b"}),
        ("read", "some/", "any_other", {"rest": "some/"}),
        ("read", "keys/-a", "any_other", {"rest": "keys/-a"}),
        ("read", "keys/a/", "any_other", {"rest": "keys/a/"}),
        ("read", "keysx", "any_other", {"rest": "keysx"}),
        ("read", "", "any_other", {"rest": ""}),
    ],
)
def test_a_path_goes_to_the_most_literal_template(op, path, handler, captures):
    found, got = Keys.match(op, path)
    assert (found.handler, got) == (handler, captures)


@pytest.mark.parametrize(
    ("op", "path"),
    [("patch", "keys/a"), ("list", "sign/a"), ("delete", "keys"), ("update", ""), ("read", "login/x")],
)
def test_only_the_operations_of_a_path(op, path):
    if op == "read":
        assert Keys.match(op, path)[0].handler == "any_other"
        return
    with pytest.raises(UnsupportedOperation, match="unsupported operation"):
        Keys.match(op, path)


class Small(Engine):
    """One route."""

    @read("config")
    async def read_config(self, req: Request, p: NoParams):
        """Read the settings."""


@pytest.mark.parametrize("path", ["", "config/", "config/x", "Config", "xconfig", "configx", "config\n"])
def test_a_path_that_does_not_exist(path):
    with pytest.raises(UnsupportedPath, match="unsupported path"):
        Small.match("read", path)


class Certificates(Engine):
    """Templates whose first segment is not always the same."""

    @read("ca[.pem]")
    async def read_ca(self, req: Request, p: NoParams):
        """Read the CA."""

    @read("v{name}/x")
    async def read_x(self, req: Request, p: Named):
        """Read x."""


@pytest.mark.parametrize(("path", "handler"), [("ca", "read_ca"), ("ca.pem", "read_ca"), ("v1/x", "read_x")])
def test_a_first_segment_that_varies(path, handler):
    assert Certificates.match("read", path)[0].handler == handler


def test_flags():
    flags = {r.handler: r for r in Keys.routes}
    assert [h for h, r in flags.items() if not r.auth] == ["login"]
    assert [h for h, r in flags.items() if r.sudo] == [h for h, r in flags.items() if r.external] == ["patch_root"]
    assert [h for h, r in flags.items() if r.sealed] == ["any_other"]
    assert {h for h, r in flags.items() if r.writes} == {"write_key", "delete_key", "login", "patch_root"}
    assert flags["write_key"].exists == "key_exists"
    assert Keys.templates(lambda r: not r.auth) == ["login"]
    assert Keys.templates(lambda r: r.op == "read").count("keys/{name}") == 1


async def test_handle_parses_and_calls():
    engine = Keys(Context())
    assert await engine.handle(Request("create", "keys/a", None)) == {"wrote": "a"}
    assert await engine.handle(Request("read", "keys/a", None, {"size": "4"})) == {"name": "a", "size": 4}
    assert await engine.handle(Request("update", "sign/a", None)) == {"name": "a", "rest": ""}


async def test_an_engine_without_leases_renews_and_revokes_none():
    engine = Small(Context())
    with pytest.raises(UnsupportedOperation, match="not renewable"):
        await engine.renew(Request("update", "", None), Lease("kind"), 0)


def test_the_help_is_the_docstring():
    assert Small.help == "One route."
    assert {r.summary for r in Small.routes} == {"Read the settings."}


def test_routes_are_inherited_from_every_base():
    class More(Small):
        """More."""

        @update("config")
        async def write_config(self, req: Request, p: NoParams):
            """Write the settings."""

    assert {r.handler for r in More.routes} == {"read_config", "write_config"}
    assert More.help == "More."
    assert {r.handler for r in Small.routes} == {"read_config"}


@pytest.mark.parametrize(
    ("op", "template", "path", "matches"),
    [
        ("list", "a", "a/", True),
        ("read", "a", "a/", False),
        ("read", "a.b", "axb", False),
        ("read", "a[/b]", "a/b", True),
        ("read", "a[/b]", "a/", False),
        ("read", "{n}", "a-", False),
        ("read", "{n}", "ü", False),
        ("read", "{n:segment}", "ü", True),
        ("read", "{n:segment}", "a/b", False),
        ("read", "{n:path}", "", True),
        ("read", "{n:some}", "", False),
    ],
)
def test_templates(op, template, path, matches):
    assert bool(compile_template(template, folder=op in ("list", "scan")).fullmatch(path)) is matches


# Wrong declarations fail when the class is made.


def test_an_operation_that_does_not_exist():
    with pytest.raises(TypeError, match="unknown operation 'write'"):
        route("write", "x")


def test_a_route_without_parameters_annotated():
    with pytest.raises(TypeError, match=r"Bad\.f: read 'x': annotate the parameter p"):

        class Bad(Engine):
            @read("x")
            async def f(self, req: Request, p):
                """F."""


def test_a_route_whose_parameters_are_no_params_class():
    with pytest.raises(TypeError, match="annotate the parameter p with a Params class"):

        class Bad(Engine):
            @read("x")
            async def f(self, req: Request, p: dict):
                """F."""


def test_a_route_that_captures_what_is_not_declared():
    with pytest.raises(TypeError, match=r"captures undeclared \['other'\]"):

        class Bad(Engine):
            @read("{other}/{name}")
            async def f(self, req: Request, p: Named):
                """F."""


def test_a_route_without_help():
    with pytest.raises(TypeError, match="needs a docstring"):

        class Bad(Engine):
            @read("x")
            async def f(self, req: Request, p: NoParams): ...


@pytest.mark.parametrize("name", ["missing", "not_async"])
def test_a_route_whose_existence_check_is_no_coroutine_method(name):
    with pytest.raises(TypeError, match=f"{name} is not a coroutine method"):

        class Bad(Engine):
            @update("x", exists=name)
            async def f(self, req: Request, p: NoParams):
                """F."""

            def not_async(self, req: Request, p: NoParams) -> bool:
                return True


@pytest.mark.parametrize(
    ("first", "second"),
    [("x/{name}", "x/{rest}"), ("x[/{name}]", "x"), ("x/{name}", "x[/{rest:path}]")],
)
def test_two_handlers_of_one_path(first, second):
    with pytest.raises(TypeError, match="both answer read x"):

        class Bad(Engine):
            @read(first)
            async def f(self, req: Request, p: Named):
                """F."""

            @read(second)
            async def g(self, req: Request, p: Named):
                """G."""


@pytest.mark.parametrize(
    "template", ["x/{name:nothing}", "x/{name", "x/name}", "x/{}", "x/{a b}", "x[/{name}", "x]", "{name}/{name}"]
)
def test_a_template_that_cannot_be_read(template):
    with pytest.raises(TypeError, match="template"):

        class Bad(Engine):
            @read(template)
            async def f(self, req: Request, p: Named):
                """F."""


def test_a_handler_that_is_no_coroutine():
    with pytest.raises(TypeError, match="async"):

        class Bad(Engine):
            @read("x")
            def f(self, req: Request, p: NoParams):
                """F."""
