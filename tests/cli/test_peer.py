# ruff: noqa: E501 - command lines
"""``caveau X`` and ``bao X``, each against the same real server: the same exit code and the same bytes.

Times, identifiers and tokens are blanked, and so is the program's own name. ``WHO`` in a command is a
name of each program's own. Lines under ``FREE_TEXT`` are compared but for standard error, whose
sentences are ours.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ..peers import Server
from .conftest import Ran, Runner

# Later commands build on what earlier ones left, so all of them go to one worker, in their order.
pytestmark = [pytest.mark.peer, pytest.mark.xdist_group("cli-peer")]

READING = """
read kv1/foo
read /kv1/foo/
read -format=json kv1/foo
read -format=yaml kv1/foo
read -format=raw kv1/foo
read -format=pretty kv1/foo
read -format=zzz kv1/foo
read kv1/foo -format=json
read -field=a kv1/foo
read -field=a -format=json kv1/foo
read -field=data kv1/foo
read -field=data -format=yaml kv1/foo
read -field=zz kv1/foo
read -field=lease_duration kv1/foo
read kv1/odd
read -format=json kv1/odd
read -format=yaml kv1/odd
read -field=list kv1/odd
read -field=null kv1/odd
read kv1/none
read -format=json kv1/none
read -format=raw kv1/none
read kv1/foo version=1 c=d
read kv1/foo x
read kv1/foo -field=a
read
read -zzz kv1/foo
read -field kv1/foo
read -format
read -wrap-ttl=zz kv1/foo
read -wrap-ttl=60 kv1/foo
read -wrap-ttl=60 -format=json kv1/foo
read -wrap-ttl=60 -field=wrapping_token_ttl kv1/foo
read -tls-skip-verify=maybe kv1/foo
read -namespace=foo kv1/foo
read -header=zz kv1/foo
read sys/policies/acl/default
list kv1
list -format=json kv1
list -format=yaml kv1
list -format=raw kv1
list kv1/none
list -format=json kv1/none
list -limit=1 secret/metadata
list -limit=x kv1
list -detailed secret/metadata
list -format=json -detailed secret/metadata
scan secret/metadata
path-help kv1
path-help kv1/foo
path-help -format=json kv1
path-help zzz/a
status
status -format=json
status -format=yaml
status -field=version
status -field=zz
status -format=pretty
status x
"""

WRITING = """
write kv1/WHO a=1
write -format=json kv1/WHO a=1
write kv1/WHO
write -f kv1/WHO
write kv1/WHO a
write kv1/WHO a= =b
write kv1/WHO a=1 a=2 a=3
write kv1/WHO a=@/nonexist
write kv1/WHO @/nonexist
write kv1/WHO -
write kv1/WHO a=-
write
write sys/policies/acl/WHO policy=zz
write auth/userpass/login/ann password=pw
write auth/userpass/login/ann password=bad
write -field=token_policies auth/userpass/login/ann password=pw
patch kv1/WHO a=1
patch kv1/WHO
patch secret/data/base data=x
delete kv1/WHO
delete -format=json kv1/WHO
delete
delete kv1/WHO extra
"""

KV = """
kv put secret/WHO x=1
kv put -mount=secret WHO x=1 y=2
kv put -format=json secret/WHO x=1 y=2
kv put -format=yaml secret/WHO x=1 y=2
kv put -field=version secret/WHO x=1 y=2
kv put -cas=1 secret/WHO x=1
kv put -cas=0 secret/WHO-new x=1
kv put secret/WHO
kv put
kv put nomount/b x=1
kv put -mount=nomount b x=1
kv put secret x=1
kv put kv1/WHO x=1
kv put -cas=1 kv1/WHO x=1
kv get secret/base
kv get -mount=secret base
kv get -mount=/secret/ /base
kv get -format=json secret/base
kv get -format=yaml secret/base
kv get -format=raw secret/base
kv get -field=x secret/base
kv get -field=x -format=json secret/base
kv get -field=zz secret/base
kv get -field=data secret/base
kv get -version=1 secret/WHO
kv get -version=99 secret/base
kv get secret/none
kv get -format=json secret/none
kv get secret
kv get kv1/foo
kv get -format=json kv1/foo
kv get kv1/none
kv get
kv get a b
kv get secret/base -field=x
kv patch secret/WHO z=9
kv patch -method=rw secret/WHO z=8
kv patch -method=patch -cas=7 -remove-data=z secret/WHO
kv patch -cas=1 secret/WHO z=8
kv patch -method=zz secret/WHO z=8
kv patch secret/none z=8
kv patch -method=rw secret/none z=8
kv patch kv1/foo z=8
kv patch secret/WHO
kv patch -format=json secret/WHO w=1
kv rollback -version=2 secret/WHO
kv rollback secret/WHO
kv rollback -version=99 secret/WHO
kv rollback -version=1 kv1/foo
kv rollback -version=1 secret/none
kv destroy -versions=1 secret/WHO
kv rollback -version=1 secret/WHO
kv destroy secret/WHO
kv destroy -versions=1 kv1/foo
kv delete secret/WHO
kv get secret/WHO
kv get -format=json secret/WHO
kv get -field=x secret/WHO
kv undelete -versions=9 secret/WHO
kv undelete secret/WHO
kv undelete -versions=1 kv1/foo
kv delete -versions=1,2 secret/WHO
kv delete -versions=x secret/WHO
kv delete secret/none
kv delete kv1/WHO
kv metadata get secret/WHO
kv metadata get -format=json secret/base
kv metadata get secret/none
kv metadata get kv1/foo
kv metadata put -max-versions=3 -cas-required=false -delete-version-after=1h -custom-metadata=a=b secret/WHO
kv metadata patch -custom-metadata=c=d -remove-custom-metadata=a secret/WHO
kv metadata get -mount=secret WHO
kv metadata patch -max-versions=2 secret/none
kv metadata put -max-versions=x secret/WHO
kv metadata put -custom-metadata=zz secret/WHO
kv metadata put kv1/foo
kv metadata put -format=json secret/WHO
kv metadata delete secret/WHO
kv metadata delete kv1/foo
kv list secret/dir
kv list -mount=secret dir
kv list -format=json secret/dir
kv list secret/none
kv list
kv scan secret/dir
kv enable-versioning nomount
kv enable-versioning mine-WHO
"""

MOUNTS = """
secrets list
secrets list -detailed
secrets list -format=json
secrets list -format=yaml
secrets list -format=pretty
secrets enable -path=t-WHO transit
secrets enable -path=t-WHO transit
secrets enable -path=k-WHO -version=2 -description=mine -max-lease-ttl=2h kv
secrets enable
secrets enable a b
secrets enable nosuch
secrets enable plugin
secrets tune -max-lease-ttl=1h -description=hello -listing-visibility=unauth t-WHO
secrets tune nosuch
secrets tune
secrets move t-WHO u-WHO
secrets move nosuch t9
secrets move t1
secrets disable u-WHO
secrets disable k-WHO/
secrets disable
auth list
auth list -detailed
auth list -format=json
auth enable -path=a-WHO -max-lease-ttl=10m -default-lease-ttl=5m -token-type=batch approle
auth enable -path=a-WHO approle
auth enable nosuch
auth tune -default-lease-ttl=7m a-WHO
auth tune -user-lockout-threshold=5 -user-lockout-duration=10m -user-lockout-disable a-WHO
auth tune nosuch
auth move auth/a-WHO auth/b-WHO
auth move a b
auth move
auth help zz
auth disable b-WHO
auth disable
"""

POLICY_TOKEN_LEASE = """
policy list
policy list -format=json
policy write WHO FILE
policy write WHO /nonexist
policy write WHO
policy write WHO -
policy read WHO
policy read -format=json WHO
policy read -format=yaml WHO
policy read nosuch
policy read
policy delete WHO
policy delete default
policy fmt /nonexist
policy fmt
policy list x
policy delete
policy delete nosuch
policy delete root
policy read -field=policy default
policy read root
policy write root FILE
policy write a b c
token create
token create -policy=pol -policy=default -ttl=1h -metadata=a=b -display-name=zz
token create -policy=pol -format=json -use-limit=3 -period=30m -explicit-max-ttl=2h
token create -policy=nosuch -no-default-policy -renewable=false
token create -type=batch -ttl=1h -policy=pol
token create -wrap-ttl=60s
token create -wrap-ttl=60s -format=json
token create -wrap-ttl=60s -format=yaml -policy=pol
token create -wrap-ttl=60s -field=wrapping_token_ttl
token create -wrap-ttl=60s -field=wrapping_accessor -role=nosuch
token create -wrap-ttl=zz
token create -orphan -format=yaml -policy=pol
token create -field=policies
token create -field=zz
token create -ttl=zz
token create -role=nosuch
token create -type=zz
token create x
token create -id=mine-WHO -policy=pol -ttl=1h
token lookup
token lookup -format=json
token lookup mine-WHO
token lookup nosuch
token lookup a b
token lookup -accessor
token renew mine-WHO
token renew -increment=30m mine-WHO
token renew
token renew nosuch
token renew a b
token capabilities a/b
token capabilities mine-WHO a/b
token capabilities -format=json mine-WHO zz
token capabilities nosuch a/b
token capabilities
token revoke mine-WHO
token revoke -mode=orphan mine-WHO
token revoke
token revoke -self x
token revoke -mode=zz x
token revoke -accessor -self
token revoke -mode=orphan -self
token revoke -accessor -mode=orphan x
lease lookup
lease lookup nosuch
lease renew nosuch
lease revoke nosuch
lease revoke -sync zz
lease revoke -prefix zz
lease revoke -sync -prefix zz
lease revoke -force -prefix zz
lease revoke -force zz
lease revoke
lease revoke a b
lease lookup a b
lease lookup -format=json nosuch
lease renew
lease renew -increment=zz x
lease revoke -prefix
print token
unwrap
unwrap -format=json nosuch
unwrap -field=a nosuch
unwrap nosuch
unwrap a b
"""

SYSTEM = """
audit list
audit list -format=json
audit list -detailed
audit list -detailed -format=json
audit list -format=yaml
audit list x
audit enable
audit enable zz
audit enable -path=zz -description=d -local file file_path=/nonexistent/x
audit enable -format=json file file_path=/nonexistent/x
audit enable file a
audit enable file file_path=/nonexistent/x
audit disable nosuch
audit disable
audit disable a b
monitor -log-level=zz
monitor -log-format=zz
monitor x
namespace list
namespace scan x
namespace lookup
namespace delete
namespace lock zz
namespace unlock zz
namespace unlock -unlock-key=zz zz
namespace patch zz
namespace create a b
namespace create -custom-metadata=a=b n-WHO
namespace lookup n-WHO
namespace lookup -format=json n-WHO
namespace lookup zz
namespace patch -custom-metadata=a=c n-WHO
namespace patch n-WHO
namespace lock -format=json n-WHO
namespace unlock n-WHO
namespace unlock n-WHO
namespace seal-status n-WHO
namespace seal n-WHO
namespace delete n-WHO
namespace create
namespace list x
operator key-status
operator key-status x
operator init
operator init -status
operator init -status -format=json
operator unseal xx
operator unseal a b
operator rekey -target=zz -status
operator rekey a b
operator rotate-keys -status
operator rotate-keys -status -format=json
operator rotate-keys -cancel
operator rotate-keys -verify -cancel
operator rotate-keys -backup-retrieve
operator rotate-keys -backup-delete
operator generate-root -status
operator generate-root -cancel
operator generate-root -decode=xx
operator generate-root -decode=aGVsbG8 -otp=hell
operator generate-root -decode=KQQfGQo -otp=Hello
operator generate-root a b
operator step-down
login -no-print -no-store root
login -method=userpass username=ann password=bad
login -method=userpass
login bad
login root x
login -
login -token-only root
login -method=userpass -path=nosuch username=ann password=pw
"""

FREE_TEXT = """
namespace delete zz
version-history
version-history -format=json
login -method=userpass -format=json -no-store username=ann password=pw
login -method=userpass -field=token_policies username=ann password=pw
login -field=token_policies root
login -field=zz root
kv
kv zz
zz
auth
login
operator unseal
"""

DRY = """
read -output-curl-string kv1/foo a=b
read -output-policy kv1/foo
read -output-curl-string "kv1//foo/../b c%d?x#!'()*+,;=@é"
read -header=X-A=b -namespace=foo -mfa=a:b -output-curl-string -wrap-ttl=60 -policy-override kv1/foo
write -output-curl-string kv1/foo "a=it's" c=d
write -output-policy kv1/foo a=b
write -output-curl-string kv1/foo
delete -output-curl-string kv1/foo
delete -output-policy kv1/foo
list -output-curl-string -limit=3 kv1
list -output-policy kv1
scan -output-curl-string kv1
patch -output-curl-string secret/data/base a=b
patch -output-policy secret/data/base a=b
kv get -output-curl-string -version=2 secret/base
kv get -output-policy secret/base
kv put -output-curl-string -cas=0 secret/base x=1
kv patch -output-curl-string -cas=2 -remove-data=z secret/base x=1
kv patch -method=rw -output-curl-string secret/base z=1
kv list -output-policy secret
kv delete -output-curl-string -versions=1,2 secret/base
kv metadata put -output-curl-string -max-versions=2 -cas-required -delete-version-after=90s -custom-metadata=a=b secret/base
kv metadata patch -output-curl-string -remove-custom-metadata=z secret/base
kv rollback -output-curl-string -version=1 secret/base
kv enable-versioning -output-curl-string kv1
secrets enable -output-curl-string -version=2 -options=a=b -max-lease-ttl=5m -audit-non-hmac-request-keys=a -audit-non-hmac-request-keys=b -passthrough-request-headers=x,y -allowed-response-headers=z -listing-visibility=unauth -force-no-cache -local -seal-wrap -plugin-version=v1 -external-entropy-access kv
secrets tune -output-curl-string -max-lease-ttl=1h -default-lease-ttl=-1 -audit-non-hmac-request-keys=a -options=a=b -description=d kv1
secrets move -output-policy a b
auth enable -output-curl-string -version=2 -token-type=batch -max-lease-ttl=5m -plugin-version=x kv
auth tune -output-curl-string -user-lockout-threshold=5 -user-lockout-duration=10m -user-lockout-counter-reset-duration=10m -user-lockout-disable -token-type=service -listing-visibility=hidden userpass
policy list -output-curl-string
policy delete -output-curl-string x
token create -output-curl-string -ttl=1h -metadata=a=b -policy=x -policy=y -period=3m -use-limit=3 -id=x -display-name=z -no-default-policy -type=batch -explicit-max-ttl=9h -entity-alias=q -renewable=false
token create -output-curl-string -role=x -orphan
token lookup -output-curl-string -accessor a
token renew -output-curl-string a
token renew -output-curl-string -accessor -increment=30m a
token revoke -output-policy -mode=path a
token revoke -output-curl-string -self
token capabilities -output-curl-string a b
lease lookup -output-policy x
lease renew -output-curl-string -increment=1m x
lease revoke -output-curl-string x
unwrap -output-curl-string x
login -output-curl-string -method=userpass username=a password=b
operator init -output-curl-string
operator unseal -output-curl-string xx
operator unseal -output-curl-string -reset
operator seal -output-curl-string
operator rekey -output-curl-string -init -key-shares=1 -key-threshold=1
operator rotate-keys -output-curl-string -init
audit list -output-policy
audit enable -output-curl-string file file_path=x
audit disable -output-policy x
namespace create -output-curl-string -key-shares=1 -key-threshold=1 x
namespace unseal -output-curl-string -reset x
namespace delete-sealed -force -output-curl-string x
"""

ODD = {
    "list": [1, "x", {"z": None}], "null": None, "yes": True, "float": 1.5, "ttl": 61, "max_ttl": 86400, "text": "a: b",
    "lines": "one\ntwo", "html": "<b>&é", "number": "012", "big": 12345678901234567, "empty": "", "word": "no",
}  # fmt: skip


@pytest.fixture(scope="module")
def prepared(server: Server) -> Server:
    """Something to look at: mounts, a user, secrets, a policy."""
    from caveau.cli import transport
    from caveau.cli.client import Client, Settings

    client = Client(Settings(transport.parse_address(server.address), token=server.token))
    for name, options in (("kv1", "1"), ("mine-wwx", "1"), ("mine-wwy", "1")):
        client.write(f"sys/mounts/{name}", {"type": "kv", "options": {"version": options}}, "POST")
    client.write("sys/auth/userpass", {"type": "userpass"}, "POST")
    client.write("auth/userpass/users/ann", {"password": "pw", "policies": "default"})
    client.write("sys/policies/acl/pol", {"policy": 'path "a/*" { capabilities = ["read", "list"] }'})
    client.write("kv1/foo", {"a": "1", "b": "two"})
    client.write("kv1/odd", ODD)
    for key in ("base", "dir/one", "dir/sub/two"):
        client.write(f"secret/data/{key}", {"data": {"x": "1", "y": "2"}})
    return server


def normal(text: str) -> str:
    """``text`` without what differs from run to run, and without the program's own name."""
    lines = []
    for line in text.split("\n"):
        if line.startswith("Waiting for "):  # printed at each look at a move that is not done yet
            continue
        if line.startswith("curl "):
            headers = re.findall(r' -H "(?:[^"\\]|\\.)*"', line)
            line = re.sub(r' -H "(?:[^"\\]|\\.)*"', "", line) + "".join(sorted(map(str.lower, headers)))
        lines.append(line)
    text = "\n".join(lines)
    for pattern, blank in (
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
        (r"20\d\d-\d\d-\d\d[T ][0-9:.]+", "TIME"),
        (r"(creation_time\W+)\d{10}", r"\1TIME"),
        (r"\b\d+h59m59s|\b(59|29)m5\ds|\b1h\b|\b30m\b", "NEARLY"),
        (r'("ttl": )\d+', r"\1TTL"),
        (r"\b[sb]\.[A-Za-z0-9_-]{24,}", "TOKEN"),
        (r"(accessor\S*\W+)(?:[A-Za-z0-9]{24}|[0-9a-f]{32})\b", r"\1ACCESSOR"),
        (r'(id\W+|unlock_key": ")[A-Za-z0-9]{6,24}\b', r"\1ID"),
        (r"Requested namespace", "requested namespace"),  # bao's server says it either way
        (r"OpenBao", "Caveau"), (r"\bbao (?=print|unwrap|login)", "caveau "), (r"BAO_", "VAULT_"),
    ):  # fmt: skip
        text = re.sub(pattern, blank, text)
    return re.sub("ww[xy]", "WHO", text)


def compared(caveau: Runner, bao: Runner, line: str, file: Path) -> tuple[Ran, Ran]:
    def run(runner: Runner, who: str) -> Ran:
        ran = runner(*shlex.split(line.replace("WHO", who).replace("FILE", str(file))))
        return Ran(ran.code, normal(ran.out), normal(ran.err))

    return run(caveau, "wwx"), run(bao, "wwy")


def commands(text: str) -> list[str]:
    return [line for line in text.split("\n") if line]


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    file = tmp_path / "policy.hcl"
    file.write_text('path "a/*" {\n  capabilities = ["read", "list"]\n}\n')
    return file


@pytest.mark.parametrize("line", commands(READING + WRITING + KV + MOUNTS + POLICY_TOKEN_LEASE + SYSTEM))
@pytest.mark.usefixtures("prepared", "at_server")
def test_same_bytes(caveau: Runner, bao: Runner, line: str, policy_file: Path) -> None:
    ours, theirs = compared(caveau, bao, line, policy_file)
    assert ours == theirs


@pytest.mark.parametrize("line", commands(DRY))
@pytest.mark.usefixtures("prepared", "at_server")
def test_same_dry_run(caveau: Runner, bao: Runner, line: str, policy_file: Path) -> None:
    ours, theirs = compared(caveau, bao, line, policy_file)
    assert ours == theirs


@pytest.mark.parametrize("line", commands(FREE_TEXT))
@pytest.mark.usefixtures("prepared", "at_server")
def test_same_exit_code(caveau: Runner, bao: Runner, line: str, policy_file: Path) -> None:
    ours, theirs = compared(caveau, bao, line, policy_file)
    assert ours.code == theirs.code
    if line != "operator unseal":  # bao asks on standard output
        assert ours.out == theirs.out


@pytest.mark.parametrize("line", ["unwrap", "unwrap -format=json", "unwrap -format=yaml", "unwrap -field=a"])
@pytest.mark.usefixtures("prepared", "at_server")
def test_same_bytes_unwrapped(caveau: Runner, bao: Runner, line: str) -> None:
    found = []
    for runner in (caveau, bao):
        wrapped = runner("read", "-wrap-ttl=60", "-field=wrapping_token", "kv1/foo")
        ran = runner(*line.split(), wrapped.out)
        found.append(Ran(ran.code, normal(ran.out), normal(ran.err)))
    assert found[0] == found[1]
    assert found[0].code == 0
