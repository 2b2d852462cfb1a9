from __future__ import annotations

from typing import Annotated

import pytest
from caveau.engines.cubbyhole import Cubbyhole
from caveau.engines.kv import KvV1, KvV2
from caveau.framework.engine import Engine
from caveau.framework.messages import Request
from caveau.framework.openapi import document, paths
from caveau.framework.params import Field, NoParams, Params
from caveau.framework.pathhelp import mount_help, path_help
from caveau.framework.routes import delete, list_, patch, read, update
from caveau.framework.wire import SECONDS


class Named(Params):
    name: Annotated[str, Field("Name of the key.")]


class Page(Params):
    after: Annotated[str, Field("Start after this.")] = ""


class Settings(Named):
    secret: Annotated[str, Field("The secret.", sensitive=True)]
    period: Annotated[int, Field("How often.", SECONDS)] = 30
    kind: Annotated[str, Field("The kind.", choices=("rsa", "ec"))] = "ec"
    old: Annotated[bool, Field("Not used.", deprecated=True)] = False
    from_: Annotated[str, Field("Whence.", aliases=("source",))] = ""


class Keys(Engine):
    """Keep keys.

    And sign with them.
    """

    @read("keys/{name}")
    async def read_key(self, req: Request, p: Named):
        """Read a key.

        All of it.
        """

    @update("keys/{name}", exists="key_exists")
    async def write_key(self, req: Request, p: Settings):
        """Write a key."""

    @patch("keys/{name}")
    async def patch_key(self, req: Request, p: Settings):
        """Change a key."""

    @delete("keys/{name}", sudo=True)
    async def delete_key(self, req: Request, p: Named):
        """Delete a key."""

    @list_("keys")
    async def list_keys(self, req: Request, p: Page):
        """List keys."""

    @update("login[/{name:path}]", auth=False)
    async def login(self, req: Request, p: Settings):
        """Log in."""

    @read("{name:path}", hidden=True)
    async def other(self, req: Request, p: Named):
        """Explain."""

    async def key_exists(self, req: Request, p: Named) -> bool:
        return False


ITEMS = paths(Keys, "keep/", "secrets")


def test_every_path_once_and_hidden_ones_not():
    assert sorted(ITEMS) == ["/keep/keys", "/keep/keys/{name}", "/keep/login", "/keep/login/{name}"]


def test_operations_and_flags_of_a_path():
    item = ITEMS["/keep/keys/{name}"]
    assert {"get", "post", "patch", "delete"} <= item.keys()
    assert item["x-vault-createSupported"] is item["x-vault-sudo"] is True
    assert "x-vault-unauthenticated" not in item
    assert ITEMS["/keep/login"]["x-vault-unauthenticated"] is True


def test_captures_are_path_parameters():
    [parameter] = ITEMS["/keep/keys/{name}"]["parameters"]
    assert (parameter["name"], parameter["in"], parameter["required"]) == ("name", "path", True)
    assert "parameters" not in ITEMS["/keep/keys"]


def test_the_body_of_a_write():
    content = ITEMS["/keep/keys/{name}"]["post"]["requestBody"]["content"]
    schema = content["application/json"]["schema"]
    assert schema["required"] == ["secret"]
    assert schema["properties"] == {
        "secret": {"type": "string", "description": "The secret.", "x-vault-displayAttrs": {"sensitive": True}},
        "period": {"type": "string", "format": "duration", "default": 30, "description": "How often."},
        "kind": {"type": "string", "enum": ["rsa", "ec"], "default": "ec", "description": "The kind."},
        "old": {"type": "boolean", "description": "Not used.", "deprecated": True},
        "from": {"type": "string", "description": "Whence."},
        "source": {"type": "string", "description": "Whence.", "deprecated": True},
    }
    assert list(ITEMS["/keep/keys/{name}"]["patch"]["requestBody"]["content"]) == ["application/merge-patch+json"]
    assert "name" in ITEMS["/keep/login"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]


def test_the_query_of_a_list():
    query = {p["name"]: p for p in ITEMS["/keep/keys"]["get"]["parameters"]}
    assert query["list"]["schema"]["enum"] == ["true"]
    assert query["after"]["in"] == "query"


@pytest.mark.parametrize("engine", [KvV1, KvV2, Cubbyhole, Keys])
def test_operation_ids_are_unique_and_every_path_parameter_is_declared(engine):
    items = paths(engine, "m/", "secrets")
    ids = [op["operationId"] for item in items.values() for op in item.values() if isinstance(op, dict)]
    assert len(ids) == len(set(ids))
    for path, item in items.items():
        declared = {p["name"] for p in item.get("parameters", [])}
        assert {part[1:-1] for part in path.split("/") if part.startswith("{")} == declared


def test_the_document():
    doc = document(ITEMS, "1.2.3")
    assert (doc["openapi"], doc["info"]["version"]) == ("3.0.2", "1.2.3")
    assert list(doc["paths"]) == sorted(ITEMS)


def test_help_of_a_mount_lists_its_paths():
    text = mount_help(Keys)
    assert "Keep keys.\n\nAnd sign with them." in text
    for line in ("    keys/{name}\n", "    keys\n        List keys.", "    login[/{name:path}]\n        Log in."):
        assert line in text
    assert "Explain." not in text


def test_help_of_a_path_names_its_parameters():
    text = path_help(Keys, "keys/k1")
    assert text.startswith("Request:        keys/k1\nMatching Route: keys/{name}\n")
    assert "    period (duration (sec))\n\n        How often.\n" in text
    for words in ("Read a key.\n\nAll of it.", "Write a key.", "Delete a key."):
        assert words in text
    assert "Log in." not in text


def test_help_of_a_path_that_does_not_exist():
    class Nothing(Engine):
        """Nothing."""

        @read("x")
        async def f(self, req: Request, p: NoParams):
            """F."""

    assert path_help(Nothing, "y") is None


@pytest.mark.parametrize("engine", [KvV1, KvV2, Cubbyhole])
def test_every_route_has_a_path_help(engine):
    for route in engine.routes:
        path = route.template.replace("[", "").replace("]", "").replace("{path:path}", "some/where")
        assert route.summary in path_help(engine, path)
