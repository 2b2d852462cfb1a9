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
    # Tokens, KV and the cubbyhole.
    Intended("Go's libraries say what they could not parse; here the text says what to send instead",
             aspect="error", ours=r".*(error converting input for field|error parsing|validation failed: expected).*",
             theirs=r".*(strconv\.|unconvertible type|time: \w+ |cannot provide negative value '"
                    r"|requested wrap ttl|key pair at ).*"),
    Intended("a role's block of addresses is told from a path of a UNIX socket",
             aspect="error", ours=".* neither an IPv4 or IPv6 address .*", theirs=".* or a UNIX Socket"),
    Intended("bad input is the client's mistake, where OpenBao answers 500",
             request=r".*cubbyhole.*|GET \$kv2/data/a/|PATCH \$kv2/.*", aspect="status", ours="2..|4..", theirs="500"),
    Intended("a secret's path never ends in a slash: nothing is there",
             request=r"GET \$kv2/data/a/", aspect="type errors", ours="empty list", theirs="list"),
    Intended("a number as custom metadata is its text, in a patch as in a write; OpenBao answers 500",
             request=r'PATCH \$kv2/metadata/a \{"custom_metadata": \{"x": 1\}\} .*', aspect="body", ours="",
             theirs=".*cannot unmarshal number.*"),
    Intended("the media type of a patch may have a charset (RFC 9110); OpenBao answers 500, and has one version less",
             request=r"PATCH \$kv2/data/a .*", aspect=r"error|value data\.version",
             ours="no errors|7", theirs=".*resource does not exist.*|6"),
    Intended("in a merge patch null means removal only as a member's value, not inside an array (RFC 7386)",
             request=r"GET \$kv2/data/a", aspect=r"keys data\.data\.l\[\]\.a", ours="null", theirs="absent"),
    Intended("OpenBao takes a negative number of versions for one of over four billion",
             request=r'POST \$kv2/(config|metadata/a) \{"max_versions": -.*', aspect="status|body"),
    Intended("what OpenBao stored for a negative number of versions",
             request=r"GET \$kv2/(config|metadata/a)",
             aspect=r"value data\.(max_versions|current_metadata_version)", theirs="42949672..|3"),
    Intended("the name of a custom metadata field is told once, and cut to the length that it may have",
             request=r"POST \$kv2/metadata/a .*", aspect="error", ours=".*(length of key|unprintable).*"),
    Intended("a hint names the command line it is about",
             aspect=r"value warnings\[\]", ours="Invalid path .* On the command line, use .*"),
    Intended("OpenBao names the version it upgrades to before it knows it",
             aspect=r"value warnings\[\]", ours=".*to version 2\\..*", theirs=".*to version 0\\..*"),
    Intended("a warning turns OpenBao's 404 of an empty list into a 200 without keys",
             request=".*(LIST|list=true).*no_such_parameter.*|LIST .*no_such_parameter=1",
             aspect="status|error", ours=r"404|\[\]", theirs="200|no errors"),
    Intended("texts of one's own choice are hashed like every token's here: there is nothing to warn of",
             request=r'POST auth/token/create.*"id": .*', aspect=r"(type|value) warnings(\[\])?"),
    Intended("token_no_default_policy counts in every role; OpenBao forgets it in one without lists of policies",
             request=r'POST auth/token/create/p-\$n .*', aspect=r"value auth\.(token_)?policies\[\]"),
    Intended("so that token cannot look itself up",
             request="periodic GET auth/token/lookup-self", aspect="status|error", ours=".*permission denied.*|403"),
    Intended("a role's explicit maximum becomes the token's own, and is kept when the role is loosened",
             request="t GET auth/token/lookup-self", aspect=r"value data\.explicit_max_ttl", theirs="0"),
    Intended("a role's explicit maximum bounds its batch tokens too",
             request=r'POST auth/token/create/r-\$n \{"type": "batch"\}',
             aspect=r"value (auth\.lease_duration|warnings\[\])"),
    Intended("the root token of a development server is made like every root token, not by a request",
             aspect=r"value data\.(display_name|path)", ours="root|auth/token/root", theirs="token|auth/token/create"),
    Intended("the server's log is nobody's but the server's",
             request="POST auth/token/tidy", aspect=r"value warnings\[\]"),
    Intended("how much is left of the maximum when each server is asked",
             aspect=r"value warnings\[\]", ours="TTL of .* exceeded .*", theirs="TTL of .* exceeded .*"),
)
