"""The second factor of a login: asked for where there is one way to give it and somebody to ask."""

from __future__ import annotations

import sys

from . import terminal
from .envelope import Secret
from .invocation import Invocation


def is_wanted(secret: Secret | None) -> bool:
    """Whether an answer is that of a login which waits for a second factor."""
    return bool(secret and (secret.get("auth") or {}).get("mfa_requirement"))


def validate(run: Invocation, secret: Secret) -> Secret | None:
    """The answer to the second factor; None, and a word on what to do, where nobody is asked. Raises ClientError."""
    requirement = secret["auth"]["mfa_requirement"]
    constraints = list((requirement.get("mfa_constraints") or {}).values())
    methods = constraints[0].get("any") or [] if len(constraints) == 1 else []
    if len(methods) != 1 or run.flags.on("non-interactive") or not _at_terminal():
        terminal.warn(terminal.wrap(
            "This login needs a second factor. Send it to sys/mfa/validate with the request ID shown below."
        ))  # fmt: skip
        return None
    method = methods[0]
    passcode: list[str] = []
    if method.get("uses_passcode"):
        question = f"Passcode for the {method.get('type')} method {method.get('name') or method.get('id')}: "
        passcode = [run.prompt(question, lambda reason: f"cannot ask for a passcode: {reason}", 2)]
    else:
        terminal.warn(f"Confirm the login on your {method.get('type')} device.")
    body = {"mfa_request_id": requirement.get("mfa_request_id"), "mfa_payload": {method.get("id"): passcode}}
    return run.client.with_(token="").write("sys/mfa/validate", body)


def _at_terminal() -> bool:
    return sys.stdin.isatty()
