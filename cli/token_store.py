"""Where the token lives between commands: a file in the home directory, or a program that keeps it.

The program is ``token_helper`` in ``~/.vault``; it is called with ``get``, ``store`` (the token on
its standard input) or ``erase``. The token is never an argument of it.
"""

from __future__ import annotations

import os
import re
import subprocess

from . import environment

_HELPER = re.compile(r'^\s*token_helper\s*=\s*"([^"]+)"', re.MULTILINE)


class TokenStoreError(Exception):
    """The token could not be read or kept."""


def current() -> str:
    """The token commands use: the environment's, else the stored one, else ``""``."""
    return environment.lookup("TOKEN") or stored()


def stored() -> str:
    if helper := _helper():
        return _run(helper, "get").strip()
    try:
        with open(_path(), encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as e:
        raise TokenStoreError(f"cannot read the token file: {e}") from e


def store(token: str) -> None:
    """Keep ``token``; the file is readable by its owner only, and replaced in one step."""
    if helper := _helper():
        _run(helper, "store", token)
        return
    path = _path()
    fresh = f"{path}.{os.getpid()}.new"
    try:
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(token)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, path)
        except BaseException:
            os.unlink(fresh)
            raise
    except OSError as e:
        raise TokenStoreError(f"cannot write the token file: {e}") from e


def _path() -> str:
    return os.path.join(os.path.expanduser("~"), ".vault-token")


def _helper() -> str:
    config = environment.lookup("CONFIG_PATH") or os.path.join(os.path.expanduser("~"), ".vault")
    try:
        with open(config, encoding="utf-8") as file:
            found = _HELPER.search(file.read())
    except (OSError, UnicodeDecodeError):
        return ""
    if not found:
        return ""
    helper = os.path.expanduser(found.group(1))
    if not os.path.isabs(helper):
        raise TokenStoreError(f"token_helper in {config} must be an absolute path")
    return helper


def _run(helper: str, action: str, token: str = "") -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the owner of the home directory named this program
            [helper, action], input=token, capture_output=True, text=True, check=False
        )
    except OSError as e:
        raise TokenStoreError(f"cannot run the token helper: {e}") from e
    if done.returncode:
        raise TokenStoreError(f'token helper "{action}" failed: {done.stderr.strip()}')
    return done.stdout
