"""The program as a whole: dispatch, exit codes, streams, start-up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from caveau import __version__
from caveau.cli import terminal
from caveau.cli.main import main

from .conftest import Runner
from .stub import Answer, serving


@pytest.mark.parametrize("argv", [["version"], ["-v"], ["-version"], ["--version"], ["version", "x", "-zz"]])
def test_version(caveau: Runner, argv: list[str]) -> None:
    assert caveau(*argv) == (0, f"Caveau v{__version__}\n", "")


@pytest.mark.parametrize("argv", [[], ["zz"], ["-zz"], ["help"], ["-version", "x"], ["zz", "-h"]])
def test_no_such_command_shows_the_commands_and_is_127(caveau: Runner, argv: list[str]) -> None:
    ran = caveau(*argv)
    assert (ran.code, ran.out) == (127, "")
    assert ran.err.startswith("Usage: caveau <command> [args]")


@pytest.mark.parametrize("flag", ["-h", "-help", "--help"])
def test_help_goes_to_standard_output(caveau: Runner, flag: str) -> None:
    for words in ([], ["kv"], ["kv", "metadata"], ["kv", "get"], ["kv", "get", "secret/a"], ["kv", "zz"]):
        ran = caveau(*words, flag)
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.startswith("Usage: caveau ")
    assert caveau("kv").code == 1
    assert caveau("kv").out == ""


def test_help_after_two_dashes_is_an_argument(caveau: Runner) -> None:
    with serving(Answer(404, {"errors": []})) as stub:
        ran = caveau("read", f"-address={stub.address}", "--", "-h")
    assert ran.code == 2
    assert ran.err.endswith("No value found at -h\n")


def test_a_flag_before_the_command_says_where_it_belongs(caveau: Runner) -> None:
    ran = caveau("-format=json", "read", "secret/a")
    assert ran.code == 1
    assert "after the" in ran.err


def test_commands_start_without_the_servers_libraries() -> None:
    """A Pi pays for every import: the client needs none of these."""
    code = (
        "import sys; from caveau.cli.main import main; main(['{}']); "
        "print(sorted({{'aiohttp', 'cryptography', 'yaml', 'asyncio', 'orjson', 'caveau.server'}} & set(sys.modules)))"
    )
    for command in ("version", "kv", "status"):
        done = subprocess.run([sys.executable, "-c", code.format(command)], capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "[]", command
    light = code.replace("'aiohttp'", "'http.client', 'ssl', 'dataclasses', 'argparse', 'aiohttp'").format("version")
    assert subprocess.run([sys.executable, "-c", light], capture_output=True, text=True).stdout.endswith("[]\n")


def test_a_closed_pipe_is_no_traceback() -> None:
    done = subprocess.run(
        f"{sys.executable} -m caveau read -h | true; exit ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", capture_output=True, text=True,
    )  # fmt: skip
    assert "Traceback" not in done.stderr


def test_interruption_is_130(caveau: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("caveau.cli.main._run", interrupted)
    assert caveau("status").code == 130


def test_format_comes_from_flag_then_environment(caveau: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Answer(200, {"data": {"keys": ["a"]}})) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        assert caveau("list", "x").out == "Keys\n----\na\n"
        monkeypatch.setenv("VAULT_FORMAT", "JSON")
        assert json.loads(caveau("list", "x").out) == ["a"]
        monkeypatch.setenv("BAO_FORMAT", "yaml")
        assert caveau("list", "x").out == "- a\n"
        assert caveau("list", "-format=table", "x").out == "Keys\n----\na\n"
        assert caveau("list", "-format", "zz", "x") == (1, "", "Invalid output format: zz\n")


def test_no_colour_for_scripts_and_colour_for_people(caveau: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\033" not in caveau("read").err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert terminal.coloured()
    for name in ("NO_COLOR", "VAULT_CLI_NO_COLOR", "BAO_CLI_NO_COLOR"):
        monkeypatch.setenv(name, "1")
        assert not terminal.coloured()
        monkeypatch.delenv(name)
    monkeypatch.setenv("TERM", "dumb")
    assert not terminal.coloured()


def test_the_token_is_in_no_output_of_a_failure(caveau: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "hvs.very-secret")
    with serving(Answer(500, {"errors": ["internal error"]})) as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        for argv in (["read", "x"], ["write", "x", "password=hunter2"], ["kv", "put", "x/y", "password=hunter2"],
                     ["write", "-output-curl-string", "x", "a=b"], ["token", "lookup"], ["status"]):  # fmt: skip
            ran = caveau(*argv)
            assert "very-secret" not in ran.out + ran.err
            assert "hunter2" not in ran.out + ran.err


def test_a_dry_run_sends_nothing_and_a_failed_one_says_so(caveau: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as stub:
        monkeypatch.setenv("VAULT_ADDR", stub.address)
        assert caveau("read", "-output-curl-string", "a").out.startswith("curl ")
        assert caveau("read", "-output-policy", "a").out == 'path "a" {\n  capabilities = ["read"]\n}\n'
        assert not stub.asked
    ran = caveau("read", "-output-curl-string", "a", "b")
    assert ran.code == 1
    assert ran.err.endswith("Unable to generate cURL string from command\n")
    assert caveau("kv", "get", "-output-policy", "a/b").err.endswith("Unable to generate policy from command\n")


def test_dry_run_quotes_for_the_shell(caveau: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VAULT_ADDR", "unix:///run/caveau.sock")
    text = caveau("write", "-output-curl-string", "-tls-skip-verify", '-header=X-A=$(id)"', "a", "b=it's").out
    assert text == (
        "curl -X PUT --insecure --unix-socket '/run/caveau.sock' -H \"X-Vault-Request: true\" "
        '-H "X-A: \\$(id)\\"" -d \'{"b":"it\'"\'"\'s"}\' "http://localhost/v1/a"\n'
    )
    monkeypatch.setenv("VAULT_ADDR", "https://x")
    text = caveau("scan", "-output-curl-string", "-ca-cert=c a", "-client-cert=c", "-client-key=k", "a").out
    assert "--cacert 'c a' --cert 'c' --key 'k'" in text
    assert caveau("scan", "-output-policy", "a").out == 'path "a" {\n  capabilities = ["scan"]\n}\n'


def test_main_reads_the_process_arguments(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["caveau", "version"])
    assert main() == 0
    assert capsys.readouterr().out.startswith("Caveau v")


def test_what_is_typed_at_a_prompt_is_not_shown() -> None:
    """On a real terminal: the question appears, the answer does not."""
    import os
    import pty

    with serving(Answer(200, {"sealed": True, "t": 3, "n": 5, "progress": 1, "type": "shamir"})) as stub:
        pid, terminal_end = pty.fork()
        if pid == 0:
            os.environ["VAULT_ADDR"] = stub.address
            os.execv(sys.executable, [sys.executable, "-m", "caveau", "operator", "unseal"])
        shown = b""
        while b"hidden)" not in shown:
            shown += os.read(terminal_end, 1024)
        os.write(terminal_end, b"my-share\n")
        try:
            while chunk := os.read(terminal_end, 1024):
                shown += chunk
        except OSError:  # Linux says so when the other end is gone
            pass
        os.close(terminal_end)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert stub.asked[0].body["key"] == "my-share"
    assert b"Unseal Progress    1/3" in shown
    assert b"my-share" not in shown
