"""Key pairs and signed tokens: JWK (RFC 7517), JWS (RFC 7515) with the algorithms of RFC 7518 and RFC 8037.

PyJWT does the work; it takes long to import and RSA takes long to compute, so callers go through a thread.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA")
_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class Pair:
    """A key pair: the private half as PKCS #8 PEM, the public one as the JWK that is published."""

    kid: str
    private: str
    jwk: Mapping[str, str]


def generate(algorithm: str) -> Pair:
    """A fresh key pair for one of ALGORITHMS. Slow for RSA."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from jwt import get_algorithm_by_name

    curves: dict[str, type[ec.EllipticCurve]] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
    private: Any
    if algorithm in curves:
        private = ec.generate_private_key(curves[algorithm]())
    elif algorithm == "EdDSA":
        private = ed25519.Ed25519PrivateKey.generate()
    else:
        private = rsa.generate_private_key(65537, _RSA_BITS)
    kid = str(uuid.uuid4())
    jwk = get_algorithm_by_name(algorithm).to_jwk(private.public_key(), as_dict=True)
    public = {name: value for name, value in jwk.items() if name != "key_ops"}
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(kid, pem.decode(), public | {"use": "sig", "kid": kid, "alg": algorithm})


def sign(pair: Pair, claims: Mapping[str, Any]) -> str:
    """The compact JWS of some claims."""
    import jwt
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key: Any = load_pem_private_key(pair.private.encode(), None, unsafe_skip_rsa_key_validation=True)  # made here
    return jwt.encode(dict(claims), key, pair.jwk["alg"], headers={"kid": pair.kid, "typ": None})


def verify(token: str, jwks: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """The claims of a token that one of the keys has signed; raises ValueError. Says nothing of its claims."""
    import jwt

    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise ValueError("error parsing token: not a signed JSON Web Token") from None
    for jwk in jwks:
        if jwk["kid"] == header.get("kid"):
            unchecked = dict.fromkeys(("verify_exp", "verify_iat", "verify_nbf", "verify_aud", "verify_iss"), False)
            try:
                return jwt.decode(token, jwt.PyJWK(dict(jwk)), algorithms=[jwk["alg"]], options=unchecked)  # type: ignore[arg-type]
            except jwt.PyJWTError:
                break
    raise ValueError("unable to validate the token signature")


def half_hash(algorithm: str, text: str) -> str:
    """``at_hash`` or ``c_hash`` of an access token or code (OpenID Connect Core 1.0, section 3.3.2.11)."""
    bits = "512" if algorithm == "EdDSA" else algorithm[-3:]  # Ed25519 hashes with SHA-512 (RFC 8032)
    digest = hashlib.new(f"sha{bits}", text.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
