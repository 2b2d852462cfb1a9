"""Key pairs and signatures, against published examples and PyJWT's own client side."""

from __future__ import annotations

import jwt
import pytest
from caveau.server.identity.oidc import signing

KTY = {"RS": "RSA", "ES": "EC", "Ed": "OKP"}


@pytest.mark.parametrize("algorithm", signing.ALGORITHMS)
def test_what_is_signed_can_be_verified_with_the_published_key_alone(algorithm):
    pair, other = signing.generate(algorithm), signing.generate(algorithm)
    token = signing.sign(pair, {"sub": "me"})
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "kid": pair.kid}
    assert signing.verify(token, [other.jwk, pair.jwk]) == {"sub": "me"}
    assert pair.jwk["kty"] == KTY[algorithm[:2]]
    assert (pair.jwk["kid"], pair.jwk["use"], pair.jwk["alg"]) == (pair.kid, "sig", algorithm)
    assert "d" not in pair.jwk
    with pytest.raises(ValueError, match="unable to validate the token signature"):
        signing.verify(token, [other.jwk])
    with pytest.raises(ValueError, match="unable to validate the token signature"):
        signing.verify(token, [{**other.jwk, "kid": pair.kid}])


def test_the_example_of_rfc_8037_verifies():
    key = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    signed = (
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    )
    jws = jwt.PyJWS()
    assert jws.decode(signed, jwt.PyJWK({**key, "alg": "EdDSA"}), algorithms=["EdDSA"]) == b"Example of Ed25519 signing"


def test_an_algorithm_cannot_be_chosen_by_the_token():
    pair = signing.generate("ES256")
    for forged in (
        jwt.encode({"sub": "me"}, None, "none", {"kid": pair.kid}),
        jwt.encode({"sub": "me"}, "k" * 64, "HS256", {"kid": pair.kid}),
    ):
        with pytest.raises(ValueError, match="unable to validate"):
            signing.verify(forged, [pair.jwk])


@pytest.mark.parametrize("text", ["", "x", "a.b", "a.b.c", "a.b.c.d", "é", "....", "e30.e30.e30"])
def test_what_is_no_token_is_refused(text):
    with pytest.raises(ValueError, match=r"error parsing token|unable to validate"):
        signing.verify(text, [signing.generate("EdDSA").jwk])


def test_half_hashes_are_those_of_the_standards_examples():
    """OpenID Connect Core 1.0, appendix A.4 and A.6."""
    code = "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk"
    assert signing.half_hash("RS256", code) == "LDktKdoQak3Pk0cnXxCltA"
    assert signing.half_hash("ES256", "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y") == "77QmUPtjPfzWtF2AnpK9RQ"
    assert len(signing.half_hash("RS384", code)) == 32
    assert len(signing.half_hash("ES512", code)) == len(signing.half_hash("EdDSA", code)) == 43
