"""aiohttp's server without its client, for a quick start.

``import aiohttp`` loads the client, which reads the system's CA certificates twice. A server needs
neither: measured, 70 ms of 270 and 3.5 MB of 37.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from types import ModuleType
from typing import Any

_NAME = "aiohttp"


class _Package(ModuleType):
    """The package, its modules importable one by one. Asked for anything else, it becomes the whole."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if importlib.util.find_spec(f"{_NAME}.{name}") is not None:
            return importlib.import_module(f"{_NAME}.{name}")
        spec = self.__spec__
        assert spec is not None
        assert spec.loader is not None
        self.__class__ = ModuleType  # type: ignore[assignment]
        spec.loader.exec_module(self)
        return getattr(self, name)


def prepare() -> None:
    """Call before the first import of aiohttp. Without effect afterwards, or if aiohttp is laid out in another way."""
    if _NAME in sys.modules:
        return
    spec = importlib.util.find_spec(_NAME)
    if not isinstance(spec, ModuleSpec) or spec.submodule_search_locations is None:
        return
    package = _Package(_NAME)
    package.__spec__, package.__loader__, package.__file__ = spec, spec.loader, spec.origin
    package.__path__ = list(spec.submodule_search_locations)
    package.__version__ = version(_NAME)  # type: ignore[attr-defined]
    sys.modules[_NAME] = package
    try:
        importlib.import_module(f"{_NAME}.web_server")
    except ImportError:
        for name in [each for each in sys.modules if each == _NAME or each.startswith(f"{_NAME}.")]:
            del sys.modules[name]
