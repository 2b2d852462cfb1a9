"""The texts of the two policies every server has: ``root``, and ``default``, which may be changed."""

from __future__ import annotations

from typing import Final

ROOT: Final = ""
"""No rules: ``ACL`` knows the policy ``root`` by its name, and allows everything."""

DEFAULT: Final = """\
# What every token may do unless it was made without this policy: look after itself and its own things.
# Unlike "root", this policy can be changed.

# Its own token.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}

# What it may do: on given paths, and over all (the web UI asks for the latter).
path "sys/capabilities-self" {
  capabilities = ["update"]
}
path "sys/internal/ui/resultant-acl" {
  capabilities = ["read"]
}

# Its own entity, where it has one.
path "identity/entity/id/{{identity.entity.id}}" {
  capabilities = ["read"]
}
path "identity/entity/name/{{identity.entity.name}}" {
  capabilities = ["read"]
}

# Leases. Only who holds a lease knows its id.
path "sys/leases/renew" {
  capabilities = ["update"]
}
path "sys/leases/lookup" {
  capabilities = ["update"]
}

# Its private store, which ends with the token.
path "cubbyhole/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}

# Response wrapping: wrap data, see what a wrapping token is good for, open it.
path "sys/wrapping/wrap" {
  capabilities = ["update"]
}
path "sys/wrapping/lookup" {
  capabilities = ["update"]
}
path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}

# Hashing of given data.
path "sys/tools/hash" {
  capabilities = ["update"]
}
path "sys/tools/hash/*" {
  capabilities = ["update"]
}

# Sign-in through an OIDC provider, which decides itself whom it lets in.
path "identity/oidc/provider/+/authorize" {
  capabilities = ["read", "update"]
}
"""

RESPONSE_WRAPPING: Final = """\
path "cubbyhole/response" {
  capabilities = ["create", "read"]
}
path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}
"""
"""What a wrapping token may do. The server gives it; nobody can write or assign it."""

CONTROL_GROUP: Final = """\
path "sys/control-group/request" {
  capabilities = ["update"]
}
path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}
"""
"""What the token may do that stands for a request which waits for approvals."""
