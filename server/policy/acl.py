"""What a token may do: its policies compiled once, then asked on every request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from .grant import Decision, Grant, merged
from .parse import Policy, Rule
from .paths import PathRules
from .templating import Identity, fill_filter_path, is_template, render

_ROOT: Final = Decision(allowed=True, root=True, sudo=True, policies=("root",))
_NO_RULE: Final = Decision(allowed=False, reason="no rule for this path")
_UNKNOWN: Final = Decision(allowed=False, reason="unknown operation")
_MEMO_PATHS: Final = 2048
_MEMO_LENGTH: Final = 256
_LISTED_ORDER: Final = ("create", "delete", "list", "read", "sudo", "update", "patch", "scan", "recover",
                        "subscribe", "deny")  # fmt: skip


class ACL:
    """The rules of ``policies`` for one token. The policy ``root`` allows everything.

    ``now`` is in seconds since the epoch: policies and rules past their expiration do not exist. ``expires_at`` is
    when the first of the others ends, and this ACL with it (None: never). Raises ``PermissionDenied``
    when a template would put a forbidden value into a path.
    """

    def __init__(self, policies: Iterable[Policy], identity: Identity | None = None, *, now: float) -> None:
        self.is_root = False
        self.expires_at: float | None = None
        rules: dict[str, list[tuple[str, Rule]]] = {}
        for policy in policies:
            if not self._lives(policy.expiration, now):
                continue
            self.is_root = self.is_root or policy.name == "root"
            for rule in policy.rules:
                path: str | None = rule.path
                if not self._lives(rule.expiration, now):
                    continue
                if is_template(rule.path):
                    path = render(rule.path, identity, slashes=policy.template_slashes,
                                  wildcards=policy.template_wildcards)  # fmt: skip
                if path is not None:
                    rules.setdefault(path, []).append((policy.name, rule))
        self._rules = PathRules({path: merged(path, tuple(found)) for path, found in rules.items()})
        self._asked: dict[str, Grant | None] = {}
        self._listed: dict[str, Grant | None] = {}

    def _lives(self, until: float | None, now: float) -> bool:
        """Whether what ends then is there now; if so, note when it ends."""
        if until is not None:
            if until <= now:
                return False
            self.expires_at = min(until, self.expires_at or until)
        return True

    def allow(
        self, op: str, path: str, *, data: Mapping[str, Any] | None = None, wrap_ttl: float | None = None
    ) -> Decision:
        """Whether ``op`` (create, read, update, patch, delete, list, scan) is allowed on ``path``.

        ``data`` holds body and query parameters; ``wrap_ttl`` the seconds asked for in X-Vault-Wrap-TTL,
        None without that header. A list or scan is of a folder: its path ends in a slash or gets one.
        """
        if self.is_root:
            return _ROOT
        memo = self._listed if op in ("list", "scan") else self._asked
        try:
            grant = memo[path]
        except KeyError:
            grant = self._find(memo, path)
        if grant is None:
            return _NO_RULE
        decision = grant.decisions.get(op, _UNKNOWN)
        if grant.conditional and decision.allowed and (why := grant.objection(op, data or {}, wrap_ttl)):
            return replace(decision, allowed=False, reason=why)
        return decision

    def sources(self, path: str) -> dict[str, list[str]]:
        """The policies behind the rule of ``path``, as ``Decision`` names it, with what each contributes."""
        grant = self._rules.at(path)
        return {} if grant is None else {name: sorted(words) for name, words in sorted(grant.sources.items())}

    def _find(self, memo: dict[str, Grant | None], path: str) -> Grant | None:
        if memo is self._listed:
            grant = self._rules.find_either(path if path.endswith("/") else path + "/")
        else:
            grant = self._rules.find(path)
        if len(path) <= _MEMO_LENGTH:
            if len(memo) >= _MEMO_PATHS:
                memo.clear()
            memo[path] = grant
        return grant

    def capabilities(self, path: str) -> list[str]:
        """Sorted capabilities on ``path``; ``["root"]`` of a root token, ``["deny"]`` where there are none."""
        if self.is_root:
            return ["root"]
        grant = self._rules.find_either(path)
        return ["deny"] if grant is None else sorted(grant.capabilities)

    def grants_under(self, prefix: str) -> bool:
        """Whether a rule gives anything but deny on ``prefix`` or on something below it.

        For showing a mount or not: a narrower deny may still take away what the rule gives.
        """
        if self.is_root or self.capabilities(prefix) != ["deny"]:
            return True
        return any("deny" not in grant.capabilities for grant in self._rules.below(prefix))

    def visible(self, filter_path: str, path: str, keys: Iterable[str]) -> list[str]:
        """The ``keys`` listed at ``path`` that a rule with ``filter_path`` (see ``Decision``) lets through.

        A key ending in a slash needs ``list`` on the path it stands for, another ``read``.
        """
        folder = path if path.endswith("/") else path + "/"
        return [key for key in keys if self._visible(fill_filter_path(filter_path, folder, key))]

    def _visible(self, path: str) -> bool:
        if path.endswith("/"):
            grant = self._rules.find_either(path)
            return grant is not None and "list" in grant.capabilities
        grant = self._rules.find(path)
        return grant is not None and "read" in grant.capabilities

    def resultant(self) -> dict[str, Any]:
        """The answer of ``sys/internal/ui/resultant-acl``; like Vault's, without ``+`` paths."""
        if self.is_root:
            return {"root": True}
        return {
            "exact_paths": {path: _shown(grant) for path, grant in sorted(self._rules.exact.items())},
            "glob_paths": {path: _shown(grant) for path, grant in sorted(self._rules.prefixes.items())},
            "root": False,
        }


def _shown(grant: Grant) -> dict[str, Any]:
    shown: dict[str, Any] = {"capabilities": [word for word in _LISTED_ORDER if word in grant.capabilities]}
    if "deny" in grant.capabilities:
        return shown
    fields = {
        "allowed_parameters": {name: list(values) for name, values in grant.allowed.items()},
        "denied_parameters": {name: list(values) for name, values in grant.denied.items()},
        "required_parameters": list(grant.required),
        "min_wrapping_ttl": int(grant.min_wrapping_ttl),
        "max_wrapping_ttl": int(grant.max_wrapping_ttl),
    }
    return shown | {name: value for name, value in fields.items() if value}
