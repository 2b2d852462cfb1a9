"""aiohttp without its client, in a process of its own: what is imported stays imported."""

from __future__ import annotations

import subprocess
import sys

SERVER = """
from caveau.server import lean
lean.prepare()
import sys
import caveau.server.listeners, caveau.server.edge
for name in ("aiohttp.client", "aiohttp.web_app", "aiohttp.web_urldispatcher", "logging.handlers"):
    assert name not in sys.modules, f"{name} came in"
from aiohttp import web
"""
CLIENT = """
import aiohttp
assert aiohttp.ClientSession.__module__ == "aiohttp.client"
from aiohttp import ClientTimeout
assert aiohttp.web.Response is web.Response
assert aiohttp.__version__
try:
    aiohttp.no_such_name
except AttributeError:
    pass
else:
    raise AssertionError
"""
LATE = """
import aiohttp
from caveau.server import lean
lean.prepare()
assert sys.modules["aiohttp"] is aiohttp
"""
CHANGED = """
import importlib, sys
from caveau.server import lean
real = importlib.import_module
def changed(name, *args):
    if name == "aiohttp.web_server":
        raise ImportError
    return real(name, *args)
importlib.import_module = changed
lean.prepare()
import aiohttp
assert aiohttp.ClientSession
"""


def runs(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_server_does_without_the_client():
    runs(SERVER)


def test_a_plug_in_that_needs_the_client_gets_it():
    runs(SERVER + CLIENT)


def test_an_aiohttp_that_is_there_already_is_left_alone():
    runs("import sys" + LATE)


def test_an_aiohttp_of_another_layout_is_imported_whole():
    runs(CHANGED)
