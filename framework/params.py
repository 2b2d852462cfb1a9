"""Parameter classes: the typed fields that a route takes, declared once.

    class KeyParams(Params):
        name: Annotated[str, Field("Name of the key.")]
        period: Annotated[int, Field("Rotate this often; 0 never.", SECONDS)] = 0

A field without a default is required. The underscore that keeps a field from being a Python keyword
(``from_``) is no part of what clients call it. ``p.given`` holds the names that the client sent, which tells
"absent" from "zero".
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self, dataclass_transform

from .errors import InvalidRequest
from .wire import BOOL, COMMA_STRINGS, INT, MAP, STRING, Wire

_DEFAULT_WIRES: dict[Any, Wire] = {
    str: STRING,
    int: INT,
    bool: BOOL,
    list[str]: COMMA_STRINGS,
    dict[str, Any]: MAP,
}


@dataclass(frozen=True, slots=True)
class Field:
    """What a parameter means; attach it with ``Annotated[type, Field("...")]``."""

    doc: str
    wire: Wire | None = None
    sensitive: bool = False  # masked in user interfaces
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()  # older spellings, still accepted
    deprecated: bool = False


@dataclass(frozen=True, slots=True)
class Spec:
    """One field of a parameter class, resolved."""

    name: str  # of the attribute
    key: str  # what clients call it
    field: Field
    wire: Wire
    default: Any  # MISSING: required
    factory: Callable[[], Any] | None
    plain: bool  # any text is a value of it as it is

    @property
    def required(self) -> bool:
        return self.default is dataclasses.MISSING and self.factory is None

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key, *self.field.aliases)

    def better(self, key: str, body: Mapping[str, Any]) -> bool:
        """Whether a body that has it as ``key`` also has it by a name that goes before that one."""
        return any(name in body for name in self.keys[: self.keys.index(key)])

    def parse(self, key: str, raw: Any) -> Any:
        try:
            value = self.wire.zero() if raw is None else self.wire.parse(raw)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidRequest(
                f'Field validation failed: error converting input for field "{key}": {error}'
            ) from None  # the cause may quote a secret
        if self.field.choices and value not in self.field.choices:
            raise InvalidRequest(
                f"unsupported {self.key} {str(value)[:64]!r}; use one of: {', '.join(self.field.choices)}"
            )
        return value


@dataclass_transform(kw_only_default=True, field_specifiers=(dataclasses.field,))
class Params:
    """Base of every parameter class.

    ``open = True`` on a subclass takes the whole body too, unparsed, as ``extra`` (KV v1); there a name
    that the path captures is a field of the user's like any other.
    """

    open: ClassVar[bool] = False
    specs: ClassVar[dict[str, Spec]] = {}
    _known: ClassVar[dict[str, Spec]] = {}  # by all that clients may call them
    _defaults: ClassVar[dict[str, Any]] = {}
    _factories: ClassVar[tuple[tuple[str, Callable[[], Any]], ...]] = ()
    _required: ClassVar[tuple[str, ...]] = ()

    # Not dataclass fields: set by ``load``.
    given: ClassVar[frozenset[str]] = frozenset()
    extra: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, **values: Any) -> None:
        if strange := values.keys() - self.specs.keys():
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(strange))}")
        if missing := set(self._required) - values.keys():
            raise TypeError(f"{type(self).__name__} needs {', '.join(sorted(missing))}")
        for name, factory in self._factories:
            if name not in values:
                values[name] = factory()
        self.__dict__.update(self._defaults, **values)

    def __init_subclass__(cls) -> None:
        # Not as a dataclass, and only what the class itself declares: to compile an initializer for each and to resolve
        # what it inherits again took a third of a server's start.
        cls.specs = {
            name: spec for base in reversed(cls.__mro__) for name, spec in base.__dict__.get("specs", {}).items()
        }
        own = {name: hint for name, hint in inspect.get_annotations(cls).items() if "ClassVar" not in str(hint)}
        hints = typing.get_type_hints(
            type(cls.__name__, (), {"__annotations__": own, "__module__": cls.__module__}), include_extras=True
        )
        for name, hint in hints.items():
            cls.specs[name] = _spec(cls, name, hint)
        specs = cls.specs.values()
        cls._known = {key: s for s in specs for key in s.keys}
        cls._defaults = {s.name: s.default for s in specs if s.default is not dataclasses.MISSING}
        cls._factories = tuple((s.name, s.factory) for s in specs if s.factory)
        cls._required = tuple(s.name for s in specs if s.required)

    @classmethod
    def load(cls, body: Mapping[str, Any], captures: Mapping[str, str]) -> tuple[Self, list[str]]:
        """The parameters of a request and the warnings about them; raises InvalidRequest.

        ``captures`` come from the path and win over the body.
        """
        self = cls.__new__(cls)
        values = self.__dict__
        values.update(cls._defaults)
        for name, factory in cls._factories:
            values[name] = factory()
        warnings: list[str] = []
        for name, text in captures.items():
            spec = cls.specs[name]
            values[name] = text if spec.plain else spec.parse(name, text)
        given: Iterable[str] = captures
        if body:
            given = set(captures)
            ignored, replaced = [], []
            for key, raw in body.items():
                known = cls._known.get(key)
                if known is None:
                    ignored.append(key)
                elif known.name in captures:
                    if key in captures:
                        replaced.append(key)
                elif key == known.key or not known.better(key, body):
                    values[known.name] = raw if known.plain and type(raw) is str else known.parse(key, raw)
                    given.add(known.name)
            if cls.open:
                values["extra"] = body
            elif ignored or replaced:
                warnings = _complaints(ignored, replaced)
        for name in cls._required:
            if name not in values:
                raise InvalidRequest(f"missing {cls.specs[name].key}")
        values["given"] = frozenset(given)
        return self, warnings


def _spec(cls: type[Params], name: str, hint: Any) -> Spec:
    """What a field of a class is, as it was declared; raises TypeError."""
    base, *meta = typing.get_args(hint) or (hint,)
    if not meta or not isinstance(meta[0], Field):
        raise TypeError(f"{cls.__name__}.{name}: annotate it with Annotated[type, Field(...)]")
    wire = meta[0].wire or _DEFAULT_WIRES.get(base)
    if wire is None:
        raise TypeError(f"{cls.__name__}.{name}: no wire type is known for {base}; name one in Field")
    default, factory = cls.__dict__.get(name, dataclasses.MISSING), None
    if isinstance(default, dataclasses.Field):
        factory = None if default.default_factory is dataclasses.MISSING else default.default_factory
        default = default.default
    return Spec(name, name.rstrip("_"), meta[0], wire, default, factory, wire is STRING and not meta[0].choices)


def _complaints(ignored: list[str], replaced: list[str]) -> list[str]:
    warnings = []
    if ignored:
        warnings.append(f"Endpoint ignored these unrecognized parameters: {_brackets(ignored)}")
    if replaced:
        warnings.append(
            "Endpoint replaced the value of these parameters with the values captured "
            f"from the endpoint's path: {_brackets(replaced)}"
        )
    return warnings


def _brackets(names: Iterable[str]) -> str:
    return f"[{' '.join(sorted(names))}]"


class PageParams(Params):
    """Of a list that can be read in pages."""

    after: Annotated[str, Field("List only names that sort after this one.")] = ""
    limit: Annotated[int, Field("List at most so many; 0 lists all.")] = 0


class NoParams(Params):
    """A route without parameters."""
