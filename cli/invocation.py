"""One run of a command: its flags and arguments, its client, and how it answers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import envelope, environment, terminal, values
from .envelope import Secret
from .flags import Flags

if TYPE_CHECKING:
    from .client import Client


class CommandError(Exception):
    """The command failed: print ``message``, exit with ``code``."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


class Invocation:
    """What a handler gets. ``format`` is ``table``, ``json``, ``yaml``, ``raw`` or ``pretty``."""

    def __init__(self, flags: Flags, args: list[str], format: str = "table") -> None:
        self.flags = flags
        self.args = args
        self.format = format
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """Made when first asked for. Raises SetupError."""
        from .client import Client, Settings  # what needs no server need not load it

        if self._client is None:
            self._client = Client(Settings.of(self.flags))
        return self._client

    @property
    def table(self) -> bool:
        """Whether a person reads the output."""
        return self.format == "table"

    # -- answers: each returns the exit code ----------------------------------------------------

    def say(self, text: str) -> int:
        print(text)
        return 0

    def success(self, text: str) -> int:
        """A ``Success!`` line, which the machine formats leave out."""
        return self.say(f"Success! {text}") if self.table else 0

    def secret(self, secret: Secret, field: str = "") -> int:
        """Print a secret, or one field of it."""
        if field:
            return self.field(envelope.field(secret, field), field, "secret")
        if not self.table:
            return self.data(envelope.machine(secret))
        self.warnings(secret)
        found = envelope.rows(secret)
        return self.rows(found) if found else 0

    def data(self, value: Any) -> int:
        """Print ``value`` in the machine format; maps keep their order."""
        sys.stdout.write(self._formatted(value) + ("\n" if self.format == "json" else ""))
        return 0

    def field(self, value: Any, name: str, where: str) -> int:
        """Print one value bare. None is "not present"."""
        if value is None:
            raise CommandError(f'Field "{name}" not present in {where}', 1)
        written = values.text(value) if self.table else self._formatted(values.ordered(value))
        sys.stdout.write(written + ("\n" if sys.stdout.isatty() and not written.endswith("\n") else ""))
        return 0

    def rows(self, rows: Sequence[Sequence[str]], header: Sequence[str] = ("Key", "Value")) -> int:
        return self.say(values.table(header, rows))

    def warnings(self, secret: Secret | None) -> None:
        """Print the server's warnings to standard error."""
        if secret and secret.get("warnings"):
            lines = [terminal.wrap(f"* {warning}", "  ") + "\n" for warning in secret["warnings"]]
            terminal.warn("WARNING! The following warnings were returned from Caveau:\n\n" + "\n".join(lines))

    # -- failures -------------------------------------------------------------------------------

    @contextmanager
    def failing(self, what: str) -> Iterator[None]:
        """Turn a failed request into ``what: reason`` and exit code 2."""
        from .client import APIError, ClientError

        try:
            yield
        except APIError as e:
            terminal.error(f"{what}: {e}" if what else str(e))
            if e.secret is not None:
                self.secret(e.secret)
            raise CommandError("") from e
        except ClientError as e:
            raise CommandError(f"{what}: {e}" if what else str(e)) from e

    def prompt(self, question: str, problem: Callable[[str], str], code: int = 1) -> str:
        """Ask for a secret on the terminal; ``problem`` words the failure, ``code`` is its exit code."""
        reason = "-non-interactive forbids to ask" if self.flags.on("non-interactive") else ""
        try:
            if not reason:
                return terminal.ask_hidden(question)
        except OSError as e:
            reason = str(e)
        raise CommandError(terminal.wrap(problem(reason)), code)

    def _formatted(self, value: Any) -> str:
        if self.format == "json":
            return values.to_json(value)
        if self.format == "yaml":
            return values.to_yaml(value)
        raise CommandError(f"Could not parse output: cannot use the {self.format} formatter for this type", 1)


def chosen_format(arguments: list[str]) -> str:
    """The format of this run: ``-format`` wherever it stands, else the environment's, else ``table``.

    Raises CommandError where it is none.
    """
    chosen = environment.lookup("FORMAT")
    for position, argument in enumerate(arguments):
        if argument == "--":
            break
        name, sign, text = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name == "format":
            chosen = text if sign else "".join(arguments[position + 1 : position + 2])
    chosen = chosen.lower() or "table"
    if chosen == "yml":
        chosen = "yaml"
    if chosen not in ("table", "json", "yaml", "raw", "pretty"):
        raise CommandError(f"Invalid output format: {chosen}", 1)
    return chosen
