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
        return all(
            re.fullmatch(pattern, text, re.DOTALL)
            for pattern, text in (
                (self.aspect, difference.aspect),
                (self.request, request),
                (self.ours, difference.ours),
                (self.theirs, difference.theirs),
            )
        )


INTENDED = (
    Intended(
        "Vault names the type of the mount in every envelope; OpenBao dropped it",
        aspect="keys mount_type",
        ours="string",
        theirs="absent",
    ),
    Intended(
        "Vault's answers about a policy have no more than its name and text: sys/policies/acl tells the rest too",
        request=".* sys/policy/.*",
        ours="absent",
        aspect=r"keys (data\.)?(allow_(slashes|wildcards)_in_identity_templates|cas_required|modified"
        r"|version|expiration)",
    ),
    Intended(
        "Vault enables audit devices through the API; OpenBao does only where its configuration allows it",
        aspect="error",
        request="(POST|PUT) sys/audit/.*",
        theirs="cannot enable audit device via API;.*",
    ),
    Intended(
        "Vault has no limit of 1000 strings in a request; depth and size are what is bounded here",
        request=r"POST \$kv1/a \$strings_1001",
        aspect="status|error|header .*|keys .*|body",
    ),
    Intended(
        "a one-time password is as long as a token: hvs. makes ours two characters longer",
        aspect=r"value (data\.)?otp_length",
        ours="28",
        theirs="26|0",
    ),
    Intended("the build is dated under Vault's key, not OpenBao's", aspect=r"(keys|value) (.*\.)?(build|commit)_date"),
    Intended(
        "Vault's health body says whether it is a performance standby",
        request=".*sys/health.*",
        aspect="keys performance_standby",
        ours="bool",
        theirs="absent",
    ),
    Intended("OpenBao's answer leaks Go formatting", aspect="error", theirs=r".*%!w\(.*"),
    Intended(
        "how many entries were encrypted since the last rotation is each server's own affair",
        aspect=r"value (data\.)?encryptions",
    ),
    Intended("the store's own name", aspect="value storage_type"),
    # Tokens, KV and the cubbyhole.
    Intended(
        "Go's libraries say what they could not parse; here the text says what to send instead",
        aspect="error",
        ours=r".*(error converting input for field|error parsing|validation failed: expected).*",
        theirs=r".*(strconv\.|unconvertible type|time: \w+ |cannot provide negative value '"
        r"|requested wrap ttl|key pair at ).*",
    ),
    Intended(
        "a role's block of addresses is told from a path of a UNIX socket",
        aspect="error",
        ours=".* neither an IPv4 or IPv6 address .*",
        theirs=".* or a UNIX Socket",
    ),
    Intended(
        "bad input is the client's mistake, where OpenBao answers 500",
        request=r".*cubbyhole.*|GET \$kv2/data/a/|PATCH \$kv2/.*",
        aspect="status",
        ours="2..|4..",
        theirs="500",
    ),
    Intended(
        "a secret's path never ends in a slash: nothing is there",
        request=r"GET \$kv2/data/a/",
        aspect="type errors",
        ours="empty list",
        theirs="list",
    ),
    Intended(
        "a number as custom metadata is its text, in a patch as in a write; OpenBao answers 500",
        request=r'PATCH \$kv2/metadata/a \{"custom_metadata": \{"x": 1\}\} .*',
        aspect="body",
        ours="",
        theirs=".*cannot unmarshal number.*",
    ),
    Intended(
        "the media type of a patch may have a charset (RFC 9110); OpenBao answers 500, and has one version less",
        request=r"PATCH \$kv2/data/a .*",
        aspect=r"error|value data\.version",
        ours="no errors|7",
        theirs=".*resource does not exist.*|6",
    ),
    Intended(
        "in a merge patch null means removal only as a member's value, not inside an array (RFC 7386)",
        request=r"GET \$kv2/data/a",
        aspect=r"keys data\.data\.l\[\]\.a",
        ours="null",
        theirs="absent",
    ),
    Intended(
        "OpenBao takes a negative number of versions for one of over four billion",
        request=r'POST \$kv2/(config|metadata/a) \{"max_versions": -.*',
        aspect="status|body",
    ),
    Intended(
        "what OpenBao stored for a negative number of versions",
        request=r"GET \$kv2/(config|metadata/a)",
        aspect=r"value data\.(max_versions|current_metadata_version)",
        theirs="42949672..|3",
    ),
    Intended(
        "the name of a custom metadata field is told once, and cut to the length that it may have",
        request=r"POST \$kv2/metadata/a .*",
        aspect="error",
        ours=".*(length of key|unprintable).*",
    ),
    Intended(
        "a hint names the command line it is about",
        aspect=r"value warnings\[\]",
        ours="Invalid path .* On the command line, use .*",
    ),
    Intended(
        "OpenBao names the version it upgrades to before it knows it",
        aspect=r"value warnings\[\]",
        ours=".*to version 2\\..*",
        theirs=".*to version 0\\..*",
    ),
    Intended(
        "a warning turns OpenBao's 404 of an empty list into a 200 without keys",
        request=".*(LIST|list=true).*no_such_parameter.*|LIST .*no_such_parameter=1",
        aspect="status|error",
        ours=r"404|\[\]",
        theirs="200|no errors",
    ),
    Intended(
        "texts of one's own choice are hashed like every token's here: there is nothing to warn of",
        request=r'POST auth/token/create.*"id": .*',
        aspect=r"(type|value) warnings(\[\])?",
    ),
    Intended(
        "token_no_default_policy counts in every role; OpenBao forgets it in one without lists of policies",
        request=r"POST auth/token/create/p-\$n .*",
        aspect=r"value auth\.(token_)?policies\[\]",
    ),
    Intended(
        "so that token cannot look itself up",
        request="periodic GET auth/token/lookup-self",
        aspect="status|error",
        ours=".*permission denied.*|403",
    ),
    Intended(
        "a role's explicit maximum becomes the token's own, and is kept when the role is loosened",
        request="t GET auth/token/lookup-self",
        aspect=r"value data\.explicit_max_ttl",
        theirs="0",
    ),
    Intended(
        "a role's explicit maximum bounds its batch tokens too",
        request=r'POST auth/token/create/r-\$n \{"type": "batch"\}',
        aspect=r"value (auth\.lease_duration|warnings\[\])",
    ),
    Intended(
        "the server's log is nobody's but the server's",
        request="POST (auth|sys)/.*/tidy.*",
        aspect=r"value warnings\[\]",
    ),
    Intended(
        "help never tells the caller's own token",
        request=r"GET auth/token/\w+-self\?help=1",
        aspect="keys id",
        ours="absent",
        theirs="string",
    ),
    # Logins.
    Intended(
        "bad input is the client's mistake, where OpenBao answers 500",
        request=r".* ((auth/(ar|up)-\$n|\$approle|\$userpass)/.*|auth/token/renew-self)",
        aspect="status",
        ours="4..",
        theirs="500",
    ),
    Intended(
        "what is wrong with an address, a password, an id or metadata is told alike everywhere",
        request=r"POST auth/(ar|up)-\$n/.*",
        aspect="error",
        ours=".*(neither an IPv4 or IPv6|bcrypt takes no more|role_id is empty|key=value pairs"
        "|cannot be greater than 'token_max_ttl').*",
    ),
    Intended(
        "bind-secret-id is a setting of a role like the others; OpenBao describes its path and does not serve it",
        request=r".* (auth/ar-\$n/role/r|\$approle/role/zq-\$n)/bind-secret-id.*",
        aspect=".*",
        ours="2..||bool|no errors|empty list",
    ),
    Intended(
        "an empty list is a list",
        request=r"GET auth/ar-\$n/role/r/token-bound-cidrs",
        aspect="type data.token_bound_cidrs",
        ours="empty list",
    ),
    Intended(
        "what was set under an old name is shown under it; OpenBao shows nothing",
        request=r"GET auth/ar-\$n/role/r/bound-cidr-list",
        aspect="type data.bound_cidr_list",
        ours="list",
    ),
    Intended(
        "one logs in with POST or PUT, and asks for help with GET",
        request=r".*(GET|DELETE|LIST|SCAN) (auth/ar-\$n|\$approle)/login.*",
        aspect="status|error",
        ours="unsupported operation|no errors|200",
    ),
    Intended(
        "a path has no slash at its end, whether it is written or deleted",
        request=r"DELETE \$approle/role/zq-\$n/secret-id(-accessor)?/destroy/",
        aspect="status|error",
        ours="404|.*unsupported path.*",
    ),
    Intended(
        "whose role is gone is told in the words of users that are",
        request="t POST auth/token/renew-self",
        aspect="error",
        ours=".* the role of this token has been deleted; it cannot be renewed.*",
    ),
    Intended(
        "a renewal tells how often the token can still be used, not how often it could at first",
        request="t POST auth/token/renew-self.*",
        aspect=r"value auth\.num_uses",
    ),
    Intended(
        "a setting of the lockout that cannot be read is told with its value",
        request=r"POST sys/auth/lo-\$n/tune .*",
        aspect="error",
        ours="invalid user_lockout_config: .*",
    ),
    # HTTP and JSON.
    Intended(
        "the words about what is no JSON are each parser's own",
        aspect="error",
        ours="failed to decode JSON input: .*",
        theirs="(failed to decode|refused) JSON input.*",
    ),
    Intended(
        "numbers may come as text everywhere, in sys/init, rekey and unseal too",
        aspect="error|status",
        request=r".*POST sys/(init|unseal|rekey/init|generate-root/attempt) \{.*",
        theirs=r".*json: cannot unmarshal .* into Go struct field .*|400",
    ),
    Intended(
        "one request has one JSON document: OpenBao drops what follows the first",
        request=r"(POST|GET) \$kv1/two.*",
        aspect="status|body|error",
    ),
    Intended(
        "half of a surrogate pair is no character (RFC 8259, section 8.2); OpenBao stores another in its place",
        request=r"(POST|GET) \$kv1/half.*",
        aspect="status|body|error",
    ),
    Intended(
        "a whole number is one however it is written",
        request=r'POST sys/tools/random \{"bytes": 4\.0\}',
        aspect="status|error",
    ),
    Intended(
        "where in the text base64 goes wrong is a detail of Go's decoder",
        aspect="error",
        ours=".*illegal base64 data",
        theirs=r".*illegal base64 data at input byte \d+",
    ),
    Intended(
        "a path with characters that cannot be printed is refused with a reason, by the same code as all else",
        request=r"GET /v1/secret/(%00|data/a%0Ab|data/a%C2%A0b)",
        aspect="body|header .*",
        theirs="|absent",
    ),
    Intended(
        "what is too large is refused by the same code as all else",
        request=r"POST \$kv1/a \$over_32_megabytes",
        aspect="header .*",
        theirs="absent",
    ),
    Intended("a path is text, and text is UTF-8", request="GET /v1/secret/data/%FF%FE", aspect="status|type errors"),
    Intended(
        "Go's router redirects from the root of a subtree, and does not know the subtree by an escaped slash",
        request="GET /v1/sys(%2fmounts)?",
        aspect=".*",
    ),
    Intended(
        "Go's server closes a connection after CONNECT, ours after a verb that it cannot parse",
        request=r"(\w+ )?(CONNECT|FOO) .*",
        aspect="header Connection",
    ),
    Intended(
        "OPTIONS without an origin is refused alike everywhere",
        request="OPTIONS sys/health",
        aspect="status|type errors",
    ),
    Intended(
        "a header that makes no sense is refused on every path",
        request=r"GET sys/seal-status \| X-Vault-Wrap-TTL: abc",
        aspect="status|error",
    ),
    Intended(
        "a sealed server does not read what it cannot use",
        request="POST sys/mounts/x bad",
        aspect="status|error",
        ours="503|Vault is sealed",
    ),
    Intended(
        "whether there is such a path, or it only cannot be listed, hangs on patterns that take a slash or not",
        request=r"(\w+ )?(LIST|SCAN) .*",
        aspect="status|error|type errors",
        ours="404|405|.*unsupported (path|operation).*",
        theirs="404|405|.*unsupported (path|operation).*",
    ),
    # The system.
    Intended(
        "bad input is the client's mistake, where OpenBao answers 500 or hangs up",
        request=".* sys/.*",
        aspect="status|error",
        ours="4..|permission denied",
        theirs="500|client token empty",
    ),
    Intended(
        "what is not there cannot be done, whatever the wrapping token; OpenBao looks at the token first",
        request=r"(weak )?(DELETE|LIST|SCAN|HEAD|GET) sys/wrapping/\w+(/|\?help=1)?",
        aspect="status|error",
        theirs=r"400|.*wrapping token is not valid or does not exist.*",
    ),
    Intended(
        "whoever may not is told so, also where nobody else could take over",
        request=r"(\w+ )?(POST|HEAD) sys/step-down",
        aspect="status|body",
        ours="403|.*permission denied.*",
    ),
    Intended(
        "what was approved of is carried out once; OpenBao does it as often as it is unwrapped",
        request="w POST sys/wrapping/unwrap",
        aspect="status|error",
        ours=r"400|\['wrapping token is not valid or does not exist'\]",
        theirs="200|no errors",
    ),
    Intended(
        "a control group's factor may name groups by their ids alone, and control all capabilities, as in Vault",
        request=r"POST sys/policies/acl/p-\$n .*control_group.*",
        aspect="status|body",
        ours="204|",
        theirs="400|.*missing (approving groups|controlled capabilities).*",
    ),
    Intended(
        "a method without what it needs is refused; OpenBao says nothing where there is no such method",
        request=r"(\w+ )?(POST|PUT) identity/mfa/method/\w+/0{8}-.*",
        aspect="status|body",
        ours="400|.*(is empty|must be set).*",
        theirs="204|",
    ),
    Intended(
        "secrets are made and destroyed with POST or PUT; with other verbs it would be the id of a method",
        request=r"(\w+ )?(GET|DELETE|HEAD|PATCH|LIST|SCAN) identity/mfa/method/totp/(admin-\w+|generate)",
        aspect="status|body|type errors",
        ours="204|404|405|empty list|",
    ),
    Intended(
        "Vault still has the older paths of leases",
        request=r"(GET|POST) sys/re(new|voke).*",
        aspect="status|error|body",
        theirs="404|.*unsupported path.*",
    ),
    Intended(
        "an entry of the store has a name; OpenBao accepts one without, and ends",
        request="(POST|PUT) sys/raw/?( .*)?",
        aspect="status|body|error",
    ),
    Intended(
        "one locks and unlocks with POST or PUT",
        request="(GET|DELETE|HEAD) sys/namespaces/api-lock/.*",
        aspect="status|error|type errors",
        ours="4..|namespace name cannot contain /|list",
    ),
    Intended(
        "that there is no such namespace, or that it is the root one, is told before what is wrong with a key",
        request="nosudo (POST|PUT) sys/namespaces/api-lock/unlock.*",
        aspect="error",
    ),
    Intended(
        "a status that HTTP does not have is refused; OpenBao hangs up",
        request=r"GET sys/health\?activecode=0",
        aspect=".*",
    ),
    Intended(
        "there is a path nowhere below a public one, and nobody is told how many errors that is",
        request="(GET|DELETE) (sys/(replication/status|internal/ui/mounts/)|identity/oidc/provider/.*)",
        aspect="error",
        ours="unsupported operation|.*unsupported path.*",
        theirs=".*unsupported (path|operation).*",
    ),
    Intended(
        "an empty list is a list",
        request=".*(LIST|GET) sys/policy/.*",
        aspect=r"(keys|type) (data\.)?(keys|policies)",
        ours="empty list",
    ),
    Intended(
        "each server describes its operations in its own words",
        request=r"GET sys/health\?help=1",
        aspect=r"(keys|value) openapi\.paths\..*",
    ),
    Intended(
        "sys/generate-root is in every client's description and another name of sys/generate-root/attempt;"
        " OpenBao describes it and does not serve it",
        request=r"(\w+ )?\w+ sys/generate-root(\?.*|/)?( .*)?",
        aspect=".*",
    ),
    Intended(
        "shares are given with POST or PUT only; OpenBao's handlers do not look at the method",
        request=r"(\w+ )?(GET|LIST|SCAN|DELETE|HEAD|PATCH) sys/(rekey|generate-root)/update.*",
        aspect="status|error|type errors",
        ours=r"405|.*unsupported (path|operation).*|empty list",
    ),
    Intended(
        "Vault's words about an operation that OpenBao split by namespace",
        aspect="error",
        ours="root generation already in progress|no rekey configuration found"
        "|rekey already in progress|incorrect nonce supplied; .*|'key' must be specified.*"
        "|invalid key: key is shorter.*",
        theirs=".*(for this namespace|rotation|nonce is required|key is shorter).*",
    ),
    Intended(
        "the parsers of HCL have each their words about what is wrong, and where",
        aspect="error",
        ours="failed to parse policy: .*",
        theirs="failed to parse policy: .*",
    ),
    Intended(
        "half a policy is refused",
        request=r'POST sys/policies/acl/p-\$n \{"policy": "\{\\"path\\": "\}|GET sys/policies/acl/p-\$n',
        aspect=r"status|body|value data\.version",
    ),
    Intended(
        "the parsers of HCL have each their words about what is wrong, and where",
        aspect="error",
        ours=r"1 error occurred:\n\t\* (invalid password policy|passwords must be).*",
        theirs=r"1 error occurred:\n\t\* (invalid password policy).*",
    ),
    Intended(
        "a patch too has to name the version that it replaces where the policy asks for that",
        request=r"PATCH sys/policies/acl/y-\$n .*",
        aspect="status|error",
        ours=r"400|\['check-and-set parameter required.*",
    ),
    Intended(
        "OpenBao lists root below every prefix",
        request=r"(\w+ )?(LIST|GET) sys/policies/detailed/acl/.*",
        aspect="status|error",
        ours=r"404|\[\]",
    ),
    Intended("an empty path is no path", request=r'.*sys/capabilities-self \{"paths": \[""\]\}', aspect="error"),
    Intended(
        "a name has no slash at its end",
        request=r"(GET|DELETE) sys/(policies/password|plugins/catalog|remount/status|loggers)/(.*/)?",
        aspect="status|error|body|type errors",
    ),
    Intended(
        "plugins are installed packages here, not registered binaries, whatever their checksum",
        request=r"(\w+ )?(POST|PUT) sys/plugins/catalog/.*",
        aspect="error",
        ours="plugins are not registered here: .*",
    ),
    Intended(
        "other auth methods and database plugins come later",
        request=".*sys/plugins/catalog.*",
        aspect=r"keys data\.(auth|database)|type data\.keys",
        ours="absent|empty list",
    ),
    Intended(
        "OpenBao's word on how it came by a plugin",
        request=".*sys/plugins/catalog/.*",
        aspect=r"keys data\.declarative",
        ours="absent",
    ),
    Intended(
        "Vault's words about encodings name what was given in quotes everywhere",
        aspect="error",
        ours="unsupported encoding format .*",
        theirs="unsupported encoding format .*",
    ),
    Intended(
        "Vault knows one source of entropy more than it uses, and no others",
        request=r'POST sys/tools/random \{"source": "none"\}',
        aspect="status|error",
    ),
    Intended(
        "generic is an old name of kv, and kv is what is mounted",
        request=r"GET sys/mounts/g-\$n",
        aspect=r"(keys|value) (data\.)?(deprecation_status|accessor|type)",
    ),
    Intended(
        "OpenBao's factory tells nothing of the version that it does not know",
        aspect="error",
        ours="no KV version .*",
        theirs="nil backend of type .*",
    ),
    Intended(
        "a lifetime is not negative",
        request=r'POST sys/mounts/\$kv1/tune \{"max_lease_ttl": "-1h"\}',
        aspect="status|body",
    ),
    Intended(
        "the help, and the names of the program, are each server's own",
        aspect=r"value (help|openapi\.info\..*|warnings\[\])",
        request=r".*\?help=.*|POST sys/remount .*",
    ),
    Intended(
        "a wrapping token may name itself; OpenBao counts its use twice, and answers 500",
        request=r"w2 POST sys/wrapping/unwrap \{.*",
        aspect="status|error",
        theirs=r"500|.*error decrementing wrapping token's use-count.*",
    ),
    Intended(
        "a wrapping token lives no longer than any other of auth/token may",
        request=r".* \| X-Vault-Wrap-TTL: 9{7,}",
        aspect=r"value wrap_info\.ttl",
        ours="2764800",
    ),
    Intended(
        "OpenBao's policy allows a wrapping token to be revoked by itself too, and is stored",
        request="GET sys/policies/acl/response-wrapping",
        aspect=r"value data\.(policy|version)|keys data\.modified",
    ),
    Intended(
        "the same operation has the same words as sys/rekey and sys/rekey-recovery-key",
        request=r"(\w+ )?(POST|PUT) sys/(rotate/(root|recovery)|rekey-recovery-key)/.*"
        r"|(\w+ )?(GET|DELETE) sys/rotate/recovery/verify.*",
        aspect="error",
        ours=r".*(rekey|this generation operation).*",
    ),
    Intended(
        "a backup is of shares that are encrypted, however it is asked for",
        request=r'POST sys/rotate/root/init .*"backup": true\}',
        aspect="status|error",
        ours=r"400|\['cannot request a backup .*",
    ),
    Intended(
        "the shares that were shown are counted, as in sys/rekey/verify",
        request="GET sys/rotate/root/verify",
        aspect=r"value data\.progress",
    ),
    Intended(
        "the size of an AES key is a detail of the seal",
        request="POST sys/unseal .*",
        aspect="error",
        theirs=".*invalid key size.*",
    ),
    Intended(
        "a provider says that it knows PKCE (RFC 8414), as Vault's does, and every grant that it answers",
        r"(keys code_challenge_methods_supported|value grant_types_supported\[\])",
        r".*GET identity/oidc/provider/.*",
    ),
    Intended(
        "the words about a template that is no JSON, or has the directives of a policy, are each parser's own",
        "error",
        r"POST identity/oidc/(role|scope)/.*",
        "error parsing template.*",
        "error parsing template.*",
    ),
    Intended(
        "userinfo is for access tokens; any other is told what is wrong whatever its policies",
        r"(status|header WWW-Authenticate|value error(_description)?)",
        r"weak .*identity/oidc/provider/[^/]+/userinfo.*",
    ),
    Intended(
        "the words about what is no token are each library's own",
        r"value error",
        r".*identity/oidc/introspect.*",
        "error parsing token.*",
        "error parsing token.*",
    ),
    Intended(
        "bad input is the client's mistake, where OpenBao answers 500",
        request="POST identity/.*",
        aspect="status",
        ours="400",
        theirs="500",
    ),
    Intended(
        "the value of what is refused is not repeated",
        request="POST identity/entity.*",
        aspect="error",
        ours=".*failed to load metadata pair.*",
    ),
    Intended(
        "nothing looks the same however it came to be nothing",
        request=".* identity/.*",
        aspect=r"type data\..*(metadata|member_entity_ids|merged_from_canonical_ids)",
    ),
    Intended(
        "names that are made up do not end in the namespace, as in Vault",
        request=".* identity/.*",
        aspect=r"value data\.(.*\.)?name",
        ours=r"(entity|group)_<hex>",
        theirs=r"(entity|group)_<hex>\.root",
    ),
    Intended(
        "the index of a group counts changes of the group, and not who joins it at a login or a merge",
        request="GET identity/group/.*",
        aspect=r"value data\.modify_index",
    ),
    Intended(
        "numbers are text too everywhere, and what is none is told like any other field",
        request="POST sys/leases/lookup .*",
        aspect="error",
        theirs="invalid lease ID",
    ),
    Intended(
        "no warnings are null on every path",
        request=".*GET sys/loggers.*",
        aspect="type warnings",
        ours="null",
        theirs="empty list",
    ),
    Intended(
        "what is the whole server's is refused in the same words however the namespace is named",
        aspect="error",
        request=r"(GET|POST) \$n/sys/.*",
        ours="operation unavailable in namespaces",
        theirs="operation only available in root namespace",
    ),
    Intended(
        "an answer is the same however the namespace is named; with one in the path OpenBao repeats no keys at the top",
        aspect="keys .*",
        request=r"(GET|POST) \$n/(sub/)?sys/(mounts|auth|capabilities).*",
        theirs="absent",
    ),
    Intended(
        "OpenBao names a type of Go's",
        aspect="error",
        request="PATCH sys/namespaces/.*",
        theirs=".*json.Number",
    ),
    Intended(
        "a token is nobody in a namespace that is not below its own, as in Vault",
        aspect="error",
        request="t GET kv/a",
        ours="permission denied",
    ),
    Intended(
        "a mount in the way of a namespace is told of the namespace, not of a mount in it",
        aspect="error",
        request=r"POST sys/mounts/\$n.*",
        ours=".*by the namespace.*",
    ),
    Intended(
        "bad input is the client's mistake, where OpenBao answers 500",
        request="DELETE identity/mfa/method/.*",
        aspect="status|error",
        theirs="500|.*still used by an enforcement configuration.*",
    ),
    Intended(
        "what cannot be read in the settings of an MFA method is not repeated: it may be a secret",
        aspect="error",
        request="POST identity/mfa/method/(okta|pingid) .*",
    ),
)
