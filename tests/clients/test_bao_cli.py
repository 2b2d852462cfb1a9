"""The real ``bao`` command cannot tell Caveau from OpenBao: same output, same exit code.

The scenarios under ``bao_cli/`` are lists of commands, run against both servers side by side:

    scenario tokens                        a scenario; [sealed] gives it a server nobody initialised
    token create -format=json              a command, quoted as in a shell
    > t "client_token": "([^"]+)"          capture $t from its standard output
    BAO_TOKEN=$t token lookup              with an environment; an empty value unsets the variable
    policy write p - <<< path "a" {}       everything after <<< goes to standard input

``BAO_CLI_SCENARIOS=tokens,policies`` runs only those (the servers are shared, so a scenario leaves
nothing behind that another would see); ``BAO_CLI_REPORT=FILE`` writes all differences there.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
import yaml
from caveau.tests.differential.compare import Answer, Difference, differences, even_out, same_number
from caveau.tests.differential.intended import INTENDED, Intended
from caveau.tests.differential.script import fill
from caveau.tests.peers import (
    Server,
    bao_binary,
    bao_server_like_vault,
    bao_server_sealed,
    caveau_server,
    caveau_server_sealed,
    clean_environment,
)

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(600)]

ServerFactory = Callable[[], AbstractContextManager[Server]]
BAO: tuple[ServerFactory, ServerFactory] = (bao_server_like_vault, bao_server_sealed)
CAVEAU: tuple[ServerFactory, ServerFactory] = (caveau_server, caveau_server_sealed)

SCENARIOS = Path(__file__).parent / "bao_cli"
FILES = {"mine.hcl": 'path "secret/data/mine/*" {\n  capabilities = ["read"]\n}\n', "value.txt": "from a file"}

# Lines of tables that differ for a reason the differential tests' table gives, or by chance.
_NOT_COMPARED = re.compile(
    r"^(Build Date|Commit Date|Storage Type|performance_standby|Encryptions|Encryption Count"
    r"|Waiting for terminal status) *.*\n?",
    re.MULTILINE,
)

# On top of the differential tests' table.
CLI_INTENDED = (
    Intended(
        "hvs. makes our tokens, and what carries them, longer", aspect="stdout", request=".* operator generate-root .*"
    ),
    Intended("the help texts are our own words", aspect="stdout|(value|keys|type) .*", request="path-help .*"),
    Intended(
        "Go's libraries say what they could not parse; here the text says what was expected",
        aspect="stderr",
        ours=".*error converting input for field.*",
        theirs=".*unconvertible type.*",
    ),
    Intended(
        "each parser of policies has words of its own, and ours says the line",
        aspect="stderr",
        request="policy write .*",
        ours=".* failed to parse policy: line .*",
        theirs=".* failed to parse policy: .*",
    ),
    Intended("the comments in the default policy are our own words", aspect="stdout", request="policy read default"),
    Intended(
        "options that are null are none, as when they are left out",
        aspect="stdout",
        request="read sys/mounts/plain",
        ours=r".* options map\[\] .*",
        theirs=".* options <nil> .*",
    ),
    Intended(
        "the other engines come later", aspect="stdout", request="plugin list secret", ours="Name Version --- --- kv .*"
    ),
    Intended(
        "bad input is the client's mistake, where OpenBao answers 500",
        aspect="stderr",
        ours=".* Code: 400. .*",
        theirs=".* Code: 500. .*",
    ),
    Intended(
        "the words are Vault's; OpenBao adds the namespace",
        aspect="stderr",
        request=".* operator generate-root -init",
        theirs=".* already in progress for this namespace ",
    ),
    Intended(
        "a single node has no cluster address unless it is told one", aspect="stdout", request=".* operator members"
    ),
    Intended(
        "the root token of a development server is made like every root token, not by a request",
        aspect="stdout",
        request=".*token lookup",
        ours=".* display_name root .* path auth/token/root .*",
        theirs=".* display_name token .* path auth/token/create .*",
    ),
    Intended(
        "every token says when it was issued and whether it can be renewed; OpenBao's without a lease do not",
        aspect=r"stdout|keys data\.(issue_time|renewable)",
        request=".*token lookup.*",
        ours="string|bool|.* issue_time .* renewable false .*",
        theirs="absent|.* meta <nil> num_uses 0 orphan true path auth/token/root .*",
    ),
    Intended(
        "texts of one's own choice are hashed like every token's here: there is nothing to warn of",
        aspect="stderr",
        request="token create -id=.*",
        theirs=".* uses the weaker SHA1 hashing .*",
    ),
)

_NOISE = (
    (re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{44}(?![A-Za-z0-9+/=])"), "<key>"),
    (
        re.compile(r"(OTP|otp|Encoded Token|encoded_token|encoded_root_token)(\"?:?\s+\"?)[A-Za-z0-9_+/-]{20,}"),
        r"\1\2<random>",
    ),
    (re.compile(r"committed \S+|\(\S{40}\)"), "<build>"),
    (re.compile(r"-{3,}|={3,}"), "---"),
    (re.compile(r"\s+"), " "),
)
_UNITS = {"h": 3600, "m": 60, "s": 1}


@dataclass(slots=True)
class Command:
    line: str
    capture: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Scenario:
    name: str
    sealed: bool
    commands: list[Command] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int
    stdout: str
    stderr: str


def _scenarios() -> list[Scenario]:
    only = {name for name in os.environ.get("BAO_CLI_SCENARIOS", "").split(",") if name}
    found: list[Scenario] = []
    for path in sorted(SCENARIOS.glob("*.txt")):
        for line in path.read_text().splitlines():
            if match := re.fullmatch(r"scenario ([^\[]+?)( \[sealed\])?", line):
                found.append(Scenario(match[1], match[2] is not None))
            elif line.startswith("> "):
                name, _, pattern = line[2:].partition(" ")
                found[-1].commands[-1].capture.append((name, pattern))
            elif line and not line.startswith("#"):
                found[-1].commands.append(Command(line))
    return [scenario for scenario in found if not only or scenario.name in only]


def _run(line: str, server: Server, home: Path) -> Outcome:
    """One command line as a user with this home directory would run it."""
    command, _, stdin = line.partition(" <<< ")
    words = shlex.split(command)
    environment = clean_environment(home) | {"BAO_ADDR": server.address}
    if server.token:
        environment["BAO_TOKEN"] = server.token
    while words and re.match(r"[A-Z_]+=", words[0]):
        name, _, value = words.pop(0).partition("=")
        if value:
            environment[name] = value
        else:
            environment.pop(name, None)
    done = subprocess.run(
        [bao_binary(), *words],
        input=stdin.encode(),
        capture_output=True,
        cwd=home,
        env=environment,
        timeout=30,
        check=False,
    )
    return Outcome(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def _play(scenario: Scenario, server: Server, home: Path) -> list[Outcome]:
    for name, text in FILES.items():
        (home / name).write_text(text)
    (home / ".vault-token").unlink(missing_ok=True)
    variables: dict[str, str] = {}
    outcomes = []
    for command in scenario.commands:
        outcome = _run(fill(command.line, variables), server, home)
        outcomes.append(outcome)
        for name, pattern in command.capture:
            match = re.search(pattern, outcome.stdout)
            variables[name] = match[1] if match else "nothing-captured"
    return outcomes


def _play_all(scenarios: list[Scenario], factories: tuple[ServerFactory, ServerFactory]) -> list[list[Outcome]]:
    played = []
    with tempfile.TemporaryDirectory() as name, factories[0]() as everyday:
        for scenario in scenarios:
            if scenario.sealed:
                with factories[1]() as server:
                    played.append(_play(scenario, server, Path(name)))
            else:
                played.append(_play(scenario, everyday, Path(name)))
    return played


def _seconds(word: str) -> float | None:
    """A number, or a Go duration such as 767h59m59s, as a number."""
    if re.fullmatch(r"-?\d+(\.\d+)?", word):
        return float(word)
    if re.fullmatch(r"(\d+[hms])+", word):
        return sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"(\d+)([hms])", word))
    return None


def _same_word(ours: str, theirs: str) -> bool:
    if ours == theirs:
        return True
    mine, other = _seconds(ours.strip(",")), _seconds(theirs.strip(","))
    return mine is not None and other is not None and same_number(mine, other)


def _text(aspect: str, ours: str, theirs: str) -> list[Difference]:
    mine, other = (even_out(_NOT_COMPARED.sub("", text)) for text in (ours, theirs))
    for pattern, name in _NOISE:
        mine, other = pattern.sub(name, mine), pattern.sub(name, other)
    words = mine.split(), other.split()
    same = len(words[0]) == len(words[1]) and all(map(_same_word, *words))
    return [] if same else [Difference(aspect, mine, other)]


def _structured(line: str, text: str) -> object:
    """The value in an output of ``-format=json`` or ``yaml``; ValueError for any other."""
    if re.search("(-format|FORMAT)=yaml", line):
        try:
            return yaml.safe_load(text) or {}
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error
    return orjson.loads(text)


def _compare(line: str, ours: Outcome, theirs: Outcome) -> list[Difference]:
    found = []
    if ours.code != theirs.code:
        found.append(Difference("exit code", str(ours.code), str(theirs.code)))
    try:
        mine, other = (
            Answer(0, {}, orjson.dumps(_structured(line, side.stdout), option=orjson.OPT_NON_STR_KEYS))
            for side in (ours, theirs)
        )
    except ValueError:
        found += _text("stdout", ours.stdout, theirs.stdout)
    else:
        found += differences(mine, other)
    return found + _text("stderr", ours.stderr, theirs.stderr)


def _differences(
    ours: tuple[ServerFactory, ServerFactory], intended: tuple[Intended, ...]
) -> Iterator[tuple[str, str, list[Difference]]]:
    """``(scenario, command, unexplained differences)`` of every command."""
    scenarios = _scenarios()
    with ThreadPoolExecutor(2) as pool:
        mine, other = pool.map(lambda side: _play_all(scenarios, side), (ours, BAO))
    for scenario, my_outcomes, other_outcomes in zip(scenarios, mine, other, strict=True):
        for command, my_outcome, other_outcome in zip(scenario.commands, my_outcomes, other_outcomes, strict=True):
            for name, pattern in command.capture:
                assert re.search(pattern, other_outcome.stdout), f"{command.line}: no {name} in {other_outcome}"
            yield (
                scenario.name,
                command.line,
                [
                    d
                    for d in _compare(command.line, my_outcome, other_outcome)
                    if not any(i.explains(command.line, d) for i in intended)
                ],
            )


def _assert_alike(found: list[tuple[str, str, list[Difference]]]) -> None:
    agreeing = sum(not differing for _, _, differing in found)
    rows = [
        f"{scenario} | {line} | {d.aspect}\n    ours:   {d.ours[:400]!r}\n    theirs: {d.theirs[:400]!r}"
        for scenario, line, differing in found
        for d in differing
    ]
    table = "\n".join([f"{agreeing} of {len(found)} commands agree", *rows])
    if path := os.environ.get("BAO_CLI_REPORT"):
        Path(path).write_text(table + "\n")
    if rows:
        pytest.fail(table, pytrace=False)


def test_bao_cannot_tell_caveau_from_openbao() -> None:
    _assert_alike(list(_differences(CAVEAU, (*INTENDED, *CLI_INTENDED))))


def test_bao_cannot_tell_openbao_from_itself() -> None:
    """What is left when both sides are the same is noise that the comparison should have evened out."""
    _assert_alike(list(_differences(BAO, ())))
