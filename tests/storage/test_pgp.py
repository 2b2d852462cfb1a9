"""Messages that GnuPG, a second implementation, decrypts; keys that cannot be used are refused."""

from __future__ import annotations

import base64
import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from caveau.framework.errors import InvalidRequest
from caveau.storage.pgp import PgpKey, parse_keys
from pysequoia import Tsk

needs_gpg = pytest.mark.skipif(shutil.which("gpg") is None, reason="needs gpg (Debian package gnupg)")


@pytest.fixture(scope="module")
def gpg_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("g")
    home.chmod(0o700)
    for name, algorithm in (("rsa@x.y", "rsa2048"), ("ec@x.y", "future-default")):
        gpg(home, "--passphrase", "", "--quick-gen-key", name, algorithm, "default", "0")
    fingerprint = fingerprints(home)[0]
    gpg(home, "--passphrase", "", "--quick-add-key", fingerprint, "rsa2048", "encr", "0")
    return home


def gpg(home: Path, *args: str, stdin: bytes = b"") -> bytes:
    argv = ["gpg", "--homedir", str(home), "--batch", "--quiet", *args]
    return subprocess.run(argv, input=stdin, capture_output=True, check=True).stdout


def fingerprints(home: Path) -> list[str]:
    listing = gpg(home, "--list-keys", "--with-colons").decode().splitlines()
    primary = [after for line, after in itertools.pairwise(listing) if line.startswith("pub:")]
    return [line.split(":")[9] for line in primary]


@needs_gpg
@pytest.mark.parametrize("name", ["rsa@x.y", "ec@x.y"])
def test_gnupg_decrypts(gpg_home: Path, name: str) -> None:
    binary = gpg(gpg_home, "--export", name)
    armoured = gpg(gpg_home, "--armor", "--export", name).decode()
    for text in (base64.b64encode(binary).decode(), armoured):
        key = PgpKey(text)
        assert key.fingerprint.upper() in fingerprints(gpg_home)
        assert key.fingerprint == key.fingerprint.lower()
        message = key.encrypt(b"share")
        assert b"share" not in message
        assert gpg(gpg_home, "--decrypt", stdin=message) == b"share"


def test_parse_keys_keeps_the_order() -> None:
    certs = [Tsk.generate(f"{n}@x.y").extract_certificate() for n in "ab"]
    texts = [base64.b64encode(bytes(cert)).decode() for cert in certs]
    assert [key.fingerprint for key in parse_keys(texts)] == [cert.fingerprint for cert in certs]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("x", "error decoding given PGP key: illegal base64 data"),
        ("eHh4", "error parsing given PGP key: "),
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----\nnonsense", "error parsing given PGP key: "),
        ("keybase:someone", "keybase: names are resolved by the client"),
        ("A" * (1 << 20) + "AAAA", "larger than 1 MiB"),
    ],
)
def test_what_is_no_key(text: str, error: str) -> None:
    with pytest.raises(InvalidRequest, match=error) as caught:
        PgpKey(text)
    assert "\n" not in str(caught.value)


@needs_gpg
def test_key_only_for_signing(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    gpg(tmp_path, "--passphrase", "", "--quick-gen-key", "s@x.y", "ed25519", "sign", "0")
    with pytest.raises(InvalidRequest, match="No suitable encryption subkey") as caught:
        PgpKey(gpg(tmp_path, "--armor", "--export", "s@x.y").decode())
    assert "\n" not in str(caught.value)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysequoia", None)
    with pytest.raises(InvalidRequest, match=r"install caveau\[pgp\]"):
        PgpKey("eHh4")
