"""Password policies: what a generated password consists of.

length = 20
rule "charset" {
  charset   = "abcdefghijklmnopqrstuvwxyz"
  min-chars = 1
}
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import orjson

from ..framework.errors import MultipleErrors, NotFound
from ..framework.storage import ReadView, View
from .hcl import Block, HclError, parse

MIN_LENGTH, MAX_LENGTH = 4, 100
_MAX_CHARSET = 4096


@dataclass(frozen=True, slots=True)
class Charset:
    """At least ``minimum`` characters of a password are of ``characters``."""

    characters: str
    minimum: int


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    length: int
    rules: tuple[Charset, ...]

    def generate(self) -> str:
        """A random password: the minimum of each rule, the rest of all characters, shuffled.

        Every position of the rest draws uniformly from the union of the rules' characters.
        """
        characters = [secrets.choice(rule.characters) for rule in self.rules for _ in range(rule.minimum)]
        union = "".join(sorted({c for rule in self.rules for c in rule.characters}))
        characters += [secrets.choice(union) for _ in range(self.length - len(characters))]
        secrets.SystemRandom().shuffle(characters)
        return "".join(characters)


def parse_password_policy(text: str) -> PasswordPolicy:
    """The policy in HCL or JSON text; raises InvalidRequest."""
    try:
        block = parse(text)
        lengths = [item.value for item in block.all("length")]
        rules = tuple(_rule(*found) for found in block.blocks("rule", 1))
    except HclError as error:
        raise MultipleErrors(f"invalid password policy: {error}") from None
    length = lengths[-1] if lengths else 0
    if not isinstance(length, int) or isinstance(length, bool):
        raise MultipleErrors("invalid password policy: length must be a number")
    if not MIN_LENGTH <= length <= MAX_LENGTH:
        raise MultipleErrors(f"passwords must be between {MIN_LENGTH} and {MAX_LENGTH} characters")
    if not rules:
        raise MultipleErrors("invalid password policy: no charset specified")
    needed = sum(rule.minimum for rule in rules)
    if needed > length:
        raise MultipleErrors(
            f"invalid password policy: specified rules require at least {needed} characters but {length} is specified"
        )
    return PasswordPolicy(length, rules)


def _rule(labels: tuple[str, ...], block: Block, line: int) -> Charset:
    if labels[0] != "charset":
        raise HclError(f"unrecognized rule type {labels[0]}", line)
    values = {item.key: item.value for item in block.items}
    characters, minimum = values.get("charset"), values.get("min-chars", 0)
    if not isinstance(characters, str) or not characters:
        raise HclError("no charset specified", line)
    if not characters.isprintable():
        raise HclError("non-printable character in charset", line)
    if len(characters) > _MAX_CHARSET:
        raise HclError(f"a charset has at most {_MAX_CHARSET} characters", line)
    if not isinstance(minimum, int) or isinstance(minimum, bool) or not 0 <= minimum <= MAX_LENGTH:
        raise HclError(f"min-chars must be a number from 0 to {MAX_LENGTH}", line)
    return Charset("".join(sorted(set(characters))), minimum)


class PasswordPolicies:
    """The password policies of one namespace; ``prefix`` is that of its storage keys."""

    def __init__(self, prefix: str) -> None:
        self._prefix = f"{prefix}sys/password/"

    async def names(self, view: ReadView) -> list[str]:
        return await view.list(self._prefix)

    async def text(self, view: ReadView, name: str) -> str:
        """The policy as it was written; raises NotFound."""
        raw = await view.get(self._prefix + name)
        if raw is None:
            raise NotFound(MultipleErrors("policy does not exist").args[0])
        text: str = orjson.loads(raw)
        return text

    def put(self, view: View, name: str, text: str) -> None:
        parse_password_policy(text)
        view.put(self._prefix + name, orjson.dumps(text))

    def delete(self, view: View, name: str) -> None:
        view.delete(self._prefix + name)

    async def generate(self, view: ReadView, name: str) -> str:
        """A password of the named policy; raises NotFound."""
        return parse_password_policy(await self.text(view, name)).generate()
