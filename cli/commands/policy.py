"""``policy``: what tokens may do."""

from __future__ import annotations

import os
import sys

from .. import terminal
from ..command import ONE, Arity, Command, Group
from ..invocation import CommandError, Invocation


def read(run: Invocation) -> int:
    name = run.args[0].strip().lower()
    with run.failing(f"Error reading policy named {name}"):
        secret = run.client.read(f"sys/policies/acl/{name}")
    rules = ((secret or {}).get("data") or {}).get("policy")
    if not rules:
        raise CommandError(f"No policy named: {name}")
    return run.say(str(rules).strip()) if run.table else run.data({"policy": rules})


def write(run: Invocation) -> int:
    name, path = run.args[0].strip(), run.args[1].strip()
    lower = name.lower()
    if lower != name:
        terminal.warn(f'Policy name was converted from "{name}" to "{lower}"')
    if path == "-":
        rules = sys.stdin.read()
    else:
        try:
            with open(path, encoding="utf-8") as file:
                rules = file.read()
        except (OSError, UnicodeDecodeError) as e:
            raise CommandError(f"Error opening policy file: {_reason(path, e)}") from e
    with run.failing("Error uploading policy"):
        run.client.write(f"sys/policies/acl/{lower}", {"policy": rules})
    return run.say(f"Success! Uploaded policy: {lower}")


def list_(run: Invocation) -> int:
    with run.failing("Error listing policies"):
        secret = run.client.list("sys/policies/acl")
    names = ((secret or {}).get("data") or {}).get("keys") or []
    return run.say("\n".join(names)) if run.table else run.data(names)


def delete(run: Invocation) -> int:
    name = run.args[0].strip().lower()
    with run.failing(f"Error deleting {name}"):
        run.client.delete(f"sys/policies/acl/{name}")
    return run.say(f"Success! Deleted policy: {name}")


def format_(run: Invocation) -> int:
    from ...server import hcl
    from ..hcl_format import formatted

    path = os.path.expanduser(run.args[0].strip())
    try:
        with open(path, encoding="utf-8") as file:
            source = file.read()
    except (OSError, UnicodeDecodeError) as e:
        raise CommandError(f"Error reading source file: {_reason(path, e)}", 1) from e
    try:
        hcl.parse(source)
    except hcl.HclError as e:
        raise CommandError(f"failed to parse policy: {e}", 1) from e
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(formatted(source))
    except OSError as e:
        raise CommandError(f"Error writing result: {_reason(path, e)}", 1) from e
    return run.say(f"Success! Formatted policy: {path}")


def _reason(path: str, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"open {path}: {(error.strerror or str(error)).lower()}"
    return f"{path} is not UTF-8 text"


POLICY = Group(
    "policy",
    "Works with policies: the rules of what a token may do.",
    (
        Command(
            "delete", delete,
            "Deletes a policy. Tokens that have it lose what it allowed at once.\n\n    $ caveau policy delete app",
            summary="Delete a policy", usage="[options] NAME", arity=ONE,
        ),
        Command(
            "fmt", format_,
            "Formats a policy file in place, after checking that it parses.\n\n    $ caveau policy fmt app.hcl",
            summary="Format a policy file", usage="[options] PATH", arity=ONE,
        ),
        Command(
            "list", list_,
            "Lists the policies.\n\n    $ caveau policy list",
            summary="List policies", formats=True,
        ),
        Command(
            "read", read,
            "Shows a policy.\n\n    $ caveau policy read app",
            summary="Show a policy", usage="[options] [NAME]", arity=ONE, formats=True,
        ),
        Command(
            "write", write,
            "Uploads a policy from a file, or from standard input where PATH is -.\n\n"
            "    $ caveau policy write app app.hcl",
            summary="Upload a policy", usage="[options] NAME PATH", arity=Arity(2, 2),
        ),
    ),
)  # fmt: skip
