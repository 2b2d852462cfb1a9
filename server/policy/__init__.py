"""Policies: text to rules (`parse`), rules to decisions (`acl`), the built-in ones (`builtin`).

Pure: values in, values out. Nothing here reads a store, a clock or a request.
"""

from .acl import ACL
from .control import Control, Factor
from .grant import Decision, without_sudo
from .parse import Policy, Rule, parse_policy
from .templating import Identity

__all__ = ["ACL", "Control", "Decision", "Factor", "Identity", "Policy", "Rule", "parse_policy", "without_sudo"]
