"""The texts of ``caveau path-help`` and ``?help=1``, derived from an engine's routes."""

from __future__ import annotations

import textwrap

from .engine import Engine
from .routes import Route


def mount_help(engine: type[Engine]) -> str:
    """Help of the mount itself: what it is and the paths it has."""
    first: dict[str, Route] = {}
    for route in sorted(engine.routes, key=lambda r: r.template):
        if not route.hidden:
            first.setdefault(route.template, route)
    paths = "\n\n".join(f"    {t}\n{textwrap.indent(_wrap(r.summary), ' ' * 8)}" for t, r in first.items())
    return (
        f"## DESCRIPTION\n\n{engine.help}\n\n## PATHS\n\nThese paths are served here. "
        f"Ask for help on any path of one of these forms to see its parameters.\n\n{paths}\n"
    )


def path_help(engine: type[Engine], path: str) -> str | None:
    """Help of one path below the mount; None when the engine has no such path."""
    matching = [r for r in engine.routes if r.regex.fullmatch(path)]
    if not matching:
        return None
    template, shapes = matching[0].template, matching[0].shapes()
    routes = [r for r in matching if r.shapes() & shapes]
    specs = {spec.key: spec for r in routes for spec in r.params.specs.values()}
    lines = [
        f"Request:        {path}",
        f"Matching Route: {template}",
        "",
        routes[0].summary,
        "",
        "## PARAMETERS",
        "",
    ]
    for name, spec in sorted(specs.items()):
        lines += [f"    {name} ({spec.wire.name})", "", textwrap.indent(_wrap(spec.field.doc), " " * 8), ""]
    summaries = {r.summary: r.description for r in routes}
    lines += ["## DESCRIPTION", ""]
    lines += ["\n\n".join("\n\n".join(filter(None, pair)) for pair in summaries.items())]
    return "\n".join(lines)


def _wrap(text: str) -> str:
    return "\n".join(textwrap.wrap(text, 80)) or text
