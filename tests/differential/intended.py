"""Where Caveau means to differ from OpenBao: the one table, with the reason for each row.

Every row has to be of use: one that no difference matches any more fails the test, so that the table
never hides what is not there. Evened out before this table is consulted, because it concerns every
answer: tokens start with ``hvs.`` and ``hvb.`` here, with ``s.`` and ``b.`` there; version numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .compare import Difference


@dataclass(frozen=True, slots=True)
class Intended:
    """Regular expressions over a `Difference`, and over the request or command it was found on."""

    reason: str
    aspect: str
    request: str = ".*"
    ours: str = ".*"
    theirs: str = ".*"

    def explains(self, request: str, difference: Difference) -> bool:
        return all(re.fullmatch(pattern, text, re.DOTALL) for pattern, text in (
            (self.aspect, difference.aspect), (self.request, request),
            (self.ours, difference.ours), (self.theirs, difference.theirs)))


INTENDED = (
    Intended("Vault names the type of the mount in every envelope; OpenBao dropped it",
             aspect="keys mount_type", ours="string", theirs="absent"),
    Intended("Vault's answers about a policy have no more than its name and text",
             request=".* sys/polic(y|ies/acl)/.*", ours="absent",
             aspect=r"keys (data\.)?(allow_(slashes|wildcards)_in_identity_templates|cas_required|modified"
                    r"|version|expiration)"),
    Intended("Vault has no limit of 1000 strings in a request; depth and size are what is bounded here",
             request=r"POST \$kv1/a \$strings_1001", aspect="status|error|header .*|keys .*|body"),
    Intended("a one-time password is as long as a token: hvs. makes ours two characters longer",
             aspect=r"value (data\.)?otp_length", ours="28", theirs="26"),
    Intended("the build is dated under Vault's key, not OpenBao's",
             aspect=r"(keys|value) (.*\.)?(build|commit)_date"),
    Intended("Vault's health body says whether it is a performance standby",
             request=".*sys/health.*", aspect="keys performance_standby", ours="bool", theirs="absent"),
    Intended("the identity engine comes later",
             aspect=r"keys (data\.)?(secret\.)?identity/", ours="absent"),
    Intended("OpenBao's answer leaks Go formatting",
             aspect="error", theirs=r".*%!w\(.*"),
    Intended("how many entries were encrypted since the last rotation is each server's own affair",
             aspect=r"value (data\.)?encryptions"),
    Intended("the store's own name",
             aspect="value storage_type"),
)
