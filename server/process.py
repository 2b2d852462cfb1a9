"""The server as a process: from its configuration to its exit code.

Order matters: addresses are taken before the store is opened, so that a mistake costs nothing; and
requests are answered only once the core has started.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import platform
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..framework.errors import CaveauError, StoreError
from ..framework.metrics import INTERVAL
from ..framework.storage import Led, Physical
from . import lean, logs, plugins
from .config import (
    ConfigError,
    ListenerConfig,
    SealConfig,
    ServerConfig,
    StorageConfig,
    cluster_address,
    load,
    without_effect,
)
from .dev import DevKeys, DevOptions, clear_unfinished, dev_banner, open_dev, write_cluster_json
from .log_levels import LEVELS
from .telemetry import usage
from .telemetry.runtime import Collections

if TYPE_CHECKING:
    from ..storage.seals import Seal
    from .cluster import Cluster
    from .core import Core
    from .listeners import Listener
    from .telemetry.tracing import Tracing

_log = logging.getLogger(__name__)

DRAIN_SECONDS = 10.0
"""How long requests in progress may take once the process is told to end."""
_UNSEAL_RETRY_SECONDS = 5.0
_SETTLED_SECONDS = 1.0  # after the first answers, which would wait for it
_READ_AGAIN = ("_ENABLE_FILE_PERMISSIONS_CHECK", "_LOG_REQUESTS_LEVEL")
"""Ends of the names of environment variables that hold beside the files at a reload too."""
_SWITCH_SECONDS = 0.0005
"""Python's own is 5 ms: that is how long the event loop waited for a thread that had just come back from the disk.
Beside leases that end, 99.5 % of echoes took under 0.6 ms with 0.2 ms, and under 6.5 ms with 5."""
_GC_THRESHOLD = (20_000, 20, 20)  # a request leaves no cycles behind; what does is rare


def run(config: ServerConfig, *, dev: DevOptions | None = None) -> int:
    """Serve ``config`` until SIGTERM or SIGINT. The exit code: 0, or 1 with the reason on standard error."""
    gc.disable()  # until what start-up makes is there: nearly all of it stays
    lean.prepare()
    _set_limits()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        _start_logging(config)
        process = _Process(config, dev)
        try:
            process.prepare()
            with _pid_file(config), asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(process.serve())
        finally:
            for listener in process.listeners:
                listener.close()
    except (ConfigError, CaveauError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # a platform without it
        return None
    return uvloop.new_event_loop


def _set_limits() -> None:
    """As many open files as allowed, and no core dump, which would hold every key in clear."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _start_logging(config: ServerConfig) -> None:
    try:
        logs.configure(
            level=config.log_level or "info",
            format=config.log_format,
            file=config.log_file,
            rotate_bytes=config.log_rotate_bytes,
            rotate_seconds=config.log_rotate_duration,
            rotate_max_files=config.log_rotate_max_files,
        )
    except OSError as error:
        raise ConfigError(f"log_file: {config.log_file} cannot be written: {error.strerror}") from None
    for level, text in (*config.notices, *without_effect(config)):
        _log.log(LEVELS[level], text)


def _settle_memory() -> None:
    """Spare the collector what start-up made and will stay: its longest pauses are those that walk all of it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLD)
    gc.enable()


@contextlib.contextmanager
def _pid_file(config: ServerConfig) -> Iterator[None]:
    if not config.pid_file:
        yield
        return
    path = Path(config.pid_file)
    try:
        path.write_text(f"{os.getpid()}\n")
        path.chmod(config.pid_file_mode)
    except OSError as error:
        raise ConfigError(f"pid_file: {path} cannot be written: {error.strerror}") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def make_store(store: StorageConfig | None, *, waits: bool = True) -> Physical:
    """A configured store, not opened yet. Raises ConfigError. ``waits``: whether opening may, while another server
    has it, if it is configured so."""
    assert store is not None
    options = {name: value for name, value in store.options.items() if waits or name != "ha_enabled"}
    physical: Physical = _plugin("storage", store.type, options, store.origin)
    return physical


def make_seal(config: ServerConfig) -> Seal:
    """The active seal; ``shamir`` where none is configured. Raises ConfigError."""
    config_of = next((each for each in config.seals if not each.disabled), SealConfig(type="shamir"))
    seal: Seal = _plugin("seal", config_of.type, config_of.options, config_of.origin)
    return seal


def _plugin(kind: str, type_: str, options: Mapping[str, str], origin: str) -> Any:
    where = f"{origin}: " if origin else ""
    if plugins.find(kind, type_) is None:
        known = ", ".join(sorted(plugins.installed(kind)))
        raise ConfigError(f'{where}{kind} "{type_}" is not installed; there are: {known}')
    try:
        return plugins.load(kind, type_).from_config(options)
    except CaveauError as error:
        raise ConfigError(f"{where}{error}") from None


class _Process:
    def __init__(self, config: ServerConfig, dev: DevOptions | None) -> None:
        from .listeners import Listener

        self.config = config
        self.dev = dev
        self.listeners = [Listener(each) for each in config.listeners]
        self.physical: Physical
        self.seal: Seal
        self.raft: Cluster | None = None
        self.tracing: Tracing | None = None
        self.usage_period = usage.period(config.telemetry.usage_gauge_period)  # seconds
        self.tasks: set[asyncio.Task[None]] = set()
        self.deposed: StoreError | None = None

    def prepare(self) -> None:
        """What can be found wrong before anything starts."""
        if self.dev and self.dev.persist:
            clear_unfinished(self.dev.persist)
        self.physical = make_store(self.config.storage)
        self.seal = make_seal(self.config)
        if self.config.telemetry.otlp_endpoint:
            from .telemetry.tracing import tracing

            self.tracing = tracing(self.config)
        for listener in self.listeners:
            listener.bind()
        if not self.config.api_addr and self.url.startswith("http"):
            self.config = replace(self.config, api_addr=self.url)
        if self.config.storage and self.config.storage.type == "raft":
            from ..framework.clock import SystemClock
            from .cluster import Cluster, ClusterStore

            assert isinstance(self.physical, ClusterStore)
            self.raft = Cluster(self.physical, self.config, SystemClock())
            self.raft.bind()

    @property
    def node(self) -> str:
        """Its id in the cluster, if it is in one."""
        return self.raft.node if self.raft else ""

    @property
    def url(self) -> str:
        """Where clients on this machine find the server."""
        listener = next((each for each in self.listeners if each.config.type == "tcp"), self.listeners[0])
        for wildcard, local in (("://[::]:", "://127.0.0.1:"), ("://0.0.0.0:", "://127.0.0.1:")):
            if wildcard in listener.url:
                return listener.url.replace(wildcard, local)
        return listener.url

    async def serve(self) -> None:
        from . import migration
        from .core import Core

        ended = asyncio.Event()
        physical, seal = self.physical, self.seal
        await physical.open()
        try:
            await migration.check(physical)
            core = Core(self.config, physical, seal, raft=self.raft)
            core.tracing = self.tracing
            core.under_way = lambda: [each for one in self.listeners for each in one.under_way(core.clock.time())]
            self.spawn(_turn(core))
            if self.usage_period:
                self.spawn(usage.watch(core, self.usage_period))
            self.handle_signals(core, ended)
            if isinstance(physical, Led):
                self.spawn(self.watch_lead(physical, core, ended))
            try:
                print(self.banner(), flush=True)
                await self.start(core)
                await ended.wait()
                print("==> Caveau shutdown triggered", flush=True)
                _notify("STOPPING=1")
            finally:
                core.stopping = True
                for task in self.tasks:
                    task.cancel()
                await asyncio.gather(*self.tasks, return_exceptions=True)
                await asyncio.gather(*(listener.stop(DRAIN_SECONDS) for listener in self.listeners))
                await core.stop()
                if self.tracing is not None:
                    await asyncio.to_thread(self.tracing.close)
        finally:
            await physical.close()
            await seal.close()
            if self.raft is not None:
                await self.raft.close()
        if self.deposed is not None:
            raise self.deposed

    async def start(self, core: Core) -> None:
        from .access import handler
        from .edge import Edge

        keys: DevKeys | None = None
        try:
            await core.start()
        except CaveauError as error:
            _log.error("the seal did not open: %s; it is tried again every %gs", error, _UNSEAL_RETRY_SECONDS)
            self.spawn(self.retry_unseal(core))
        if self.dev:
            keys = await open_dev(core, self.dev)
            if keys and self.dev.store_token:  # before anybody finds the server there and asks with an older one
                await asyncio.to_thread(self.dev.store_token, keys.root_token)
        elif core.storage_type == "inmem":
            _log.warning('storage "inmem" loses everything when the server ends; it is for development')
        for listener in self.listeners:
            await listener.serve(handler(Edge(core, listener.config), listener.config, self.config, self.node))
        asyncio.get_running_loop().call_later(_SETTLED_SECONDS, _settle_memory)
        _notify("READY=1")
        print("==> Caveau server started! Log data will stream in below:\n", flush=True)
        if self.dev:
            await asyncio.to_thread(self.finish_dev, self.dev, keys)

    def finish_dev(self, dev: DevOptions, keys: DevKeys | None) -> None:
        if dev.cluster_json:
            write_cluster_json(dev.cluster_json, self.url, dev.ca_file, keys)
        store = self.config.storage
        print(dev_banner(self.url, dev, keys, in_memory=store is None or store.type == "inmem"), flush=True)

    async def retry_unseal(self, core: Core) -> None:
        while core.sealed:
            await asyncio.sleep(_UNSEAL_RETRY_SECONDS)
            try:
                await core.start()
            except CaveauError as error:
                _log.warning("the seal did not open: %s", error)

    async def watch_lead(self, store: Led, core: Core, ended: asyncio.Event) -> None:
        """End when another server may have the store: what this one remembers of it may be out of date."""
        self.deposed = await store.deposed()
        _log.error("sealing, and ending: %s", self.deposed)
        try:
            await core.stop()
        finally:
            ended.set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # Signals

    def handle_signals(self, core: Core, ended: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()

        def end() -> None:
            ended.set()
            for number in (signal.SIGTERM, signal.SIGINT):  # a second one ends the process at once
                loop.remove_signal_handler(number)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        loop.add_signal_handler(signal.SIGHUP, lambda: self.spawn(self.reload(core)))

    async def reload(self, core: Core) -> None:
        """SIGHUP: certificates, log levels, log files and response headers. Mistakes change nothing and are logged."""
        from .access import handler
        from .edge import Edge

        print("==> Caveau reload triggered", flush=True)
        _notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            new = await asyncio.to_thread(self.reread)
        except ConfigError as error:
            for problem in error.problems:
                _log.error("reload: %s", problem)
            new = self.config
        if new.log_level:
            logs.set_level(new.log_level)
        try:
            await asyncio.to_thread(logs.reopen)
        except OSError as error:
            _log.error("reload: the log file cannot be opened: %s", error.strerror)
        await core.audit.reload(new, core.node)
        logged = new.log_requests_level != self.config.log_requests_level
        self.config = core.config = replace(self.config, log_requests_level=new.log_requests_level)
        for listener in self.listeners:
            try:
                await listener.reload()
            except ConfigError as error:
                _log.error("reload: the old certificates stay in use: %s", error)
            headers = _same_listener(listener, new).custom_response_headers
            if logged or headers != listener.config.custom_response_headers:
                listener.config = replace(listener.config, custom_response_headers=headers)
                listener.use(handler(Edge(core, listener.config), listener.config, self.config, self.node))
        _log.info("reloaded")
        _notify("READY=1")

    def reread(self) -> ServerConfig:
        """The files as they are now. What they say of the log level wins over flags and environment, as in Vault."""
        kept = {name: value for name, value in os.environ.items() if name.endswith(_READ_AGAIN)}
        return load(self.config.sources, kept)

    # What it prints

    def banner(self) -> str:
        config = self.config
        rows = {
            "Api Address": config.api_addr,
            "Log Level": logs.level(),
            "Python Version": platform.python_version(),
            "Recovery Mode": "false",
            "Storage": config.storage.type if config.storage else "",
            "Version": f"Caveau v{__version__}",
        }
        if self.raft is not None:
            rows["Cluster Address"] = f"https://{self.raft.address}"
        elif config.cluster_addr:
            rows["Cluster Address"] = config.cluster_addr
        for number, listener in enumerate(self.listeners, 1):
            rows[f"Listener {number}"] = _listener_row(listener)
        lines = [f"{name:>24}: {rows[name]}" for name in sorted(rows)]
        return "\n".join(["==> Caveau server configuration:", "", *lines, ""])


async def _turn(core: Core) -> None:
    """End an interval of the metrics whenever one is over."""
    pauses = Collections(core.metrics)
    pauses.watch()
    try:
        while True:
            await asyncio.sleep(INTERVAL - core.clock.time() % INTERVAL)
            core.metrics.turn(core.clock.time())
    finally:
        pauses.close()


def _same_listener(listener: Listener, config: ServerConfig) -> ListenerConfig:
    """What a configuration read again says of a listener, if it still has it."""
    place = (listener.config.type, listener.config.address)
    return next((each for each in config.listeners if (each.type, each.address) == place), listener.config)


def _listener_row(listener: Listener) -> str:
    config = listener.config
    shown = {"addr": listener.address}
    if config.type == "tcp":
        shown["cluster address"] = cluster_address(replace(config, address=listener.address))
        shown["tls"] = "disabled" if config.tls_disable else "enabled"
    shown |= {
        "max_request_duration": f"{config.max_request_duration:g}s",
        "max_request_size": str(config.max_request_size),
    }
    return f"{config.type} (" + ", ".join(f'{name}: "{shown[name]}"' for name in sorted(shown)) + ")"


def _notify(state: str) -> None:
    """Tell systemd (sd_notify(3)), if it started us and wants to know."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
