"""Help pages, derived from the declarations."""

from __future__ import annotations

from . import global_flags, terminal
from .command import Command, Group, Lazy
from .flags import Flag


def root(group: Group) -> str:
    """The page of ``caveau`` itself."""
    common = [child for child in group.children if isinstance(child, Lazy) and child.common]
    others = sorted((child for child in group.children if child not in common), key=lambda child: child.name)
    parts = ["Usage: caveau <command> [args]", "", "Common commands:", *_listing(common)]
    return "\n".join([*parts, "", "Other commands:", *_listing(others)])


def page(node: Command | Group, words: list[str]) -> str:
    """The page of the command that ``words`` name."""
    if not words and isinstance(node, Group):
        return root(node)
    head = f"Usage: caveau {' '.join(words)} {node.usage}".rstrip()
    body = "\n".join(f"  {line}".rstrip() for line in node.help.strip("\n").split("\n"))
    if isinstance(node, Group):
        children = sorted(node.children, key=lambda child: child.name)
        return "\n".join([head, "", body, "", "Subcommands:", *_listing(children)])
    parts = [head, "", body]
    if node.http:
        parts += ["", "HTTP Options:", *_flags(global_flags.HTTP)]
    if output := output_flags(node):
        parts += ["", "Output Options:", *_flags(output)]
    if node.flags:
        parts += ["", "Command Options:", *_flags(node.flags)]
    return "\n".join(parts)


def output_flags(command: Command) -> tuple[Flag, ...]:
    return ((global_flags.FIELD,) if command.field else ()) + ((global_flags.FORMAT,) if command.formats else ())


def _listing(children: list[Command | Group | Lazy] | list[Lazy]) -> list[str]:
    width = max(len(child.name) for child in children)
    return [f"    {child.name.ljust(width)}    {child.summary}" for child in children]


def _flags(flags: tuple[Flag, ...]) -> list[str]:
    lines = []
    for flag in sorted(flags, key=lambda flag: flag.name):
        shown = f"=<{flag.shown_type}>" if flag.shown_type else ""
        text = flag.help
        if flag.aliases:
            text += f" Short: {', '.join('-' + alias for alias in flag.aliases)}."
        if flag.env:
            text += f" Environment: VAULT_{flag.env} or BAO_{flag.env}."
        lines += ["", f"  -{flag.name}{shown}", terminal.wrap(text, " " * 6)]
    return lines
