"""The composition: which children make up the stack, in which order they start and stop.

`start` takes the data directory's lock, checks every port before anything is launched, starts Kafka and the database
together, waits until both answer, starts the services together and waits until each says that it is ready. Should any
of it fail, whatever was started is stopped again and the error is raised. `stop` goes the other way. Both classes are
async context managers in the running loop:

    async with Stack(settings) as stack:
        stack.children["runner"].kill(signal.SIGKILL)
        await stack.children["runner"].wait_ready()
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from mode import Service
from typing_extensions import Self

from apps.standalone.errors import ChildFailed, ServersHalfGiven
from apps.standalone.jars import Progress
from apps.standalone.kafka import Kafka, java
from apps.standalone.lock import DataDirLock
from apps.standalone.mongodb import MongoDB, executable
from apps.standalone.ports import PortClaim, claim_ports, free_port, free_ports
from apps.standalone.process import ChildProcess, Sink, discard, gather_all
from apps.standalone.settings import StandaloneSettings
from apps.standalone.worker import FaustWorker
from vault.keys import ensure_key_file

#: The services and what they are called to a user.
CALLED = {"workflows": "the HTTP API", "scheduler": "the scheduler", "runner": "the runner"}
SERVICES = tuple(CALLED)
DEPENDENCIES = ("kafka", "mongodb")
PARTS = (*DEPENDENCIES, *SERVICES)
WATCH_INTERVAL = 0.2


def silent(line: str) -> None:
    """The progress of those who do not watch."""


def on_free_ports(settings: StandaloneSettings) -> StandaloneSettings:
    """The same settings with every port replaced by a free one, to run beside another stack."""
    names = ["kafka_port", "kafka_controller_port", "mongodb_port", *(f"{service}_port" for service in SERVICES)]
    return settings.model_copy(update=dict(zip(names, free_ports(len(names)), strict=True)))


class Supervised(Service):
    """A group of children that starts and stops as one."""

    abstract = True

    def __init__(
        self, settings: StandaloneSettings, *, sink: Sink = discard, progress: Progress = silent, **kwargs: Any
    ) -> None:
        self.settings = settings
        self.sink = sink
        self.progress = progress
        self.children: dict[str, ChildProcess] = {}
        super().__init__(**kwargs)

    async def start(self) -> None:
        if self._stopped.is_set():
            self.service_reset()
        try:
            await super().start()
        except BaseException:
            await self.stop()
            raise

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> bool | None:
        await self.stop()
        return None

    async def wait_failure(self) -> ChildFailed:
        """Return the failure of the first child that is given up; never, as long as all of them can be kept running."""
        while True:
            for child in self.children.values():
                if child.failure is not None:
                    return child.failure
            await asyncio.sleep(WATCH_INTERVAL)

    async def _start_children(self, *children: ChildProcess) -> None:
        async def start(child: ChildProcess) -> None:
            await child.start()
            # Only now: fetching Kafka's jars may take minutes on a slow line, starting may not.
            await child.wait_ready(self.settings.start_timeout)

        await gather_all(*(start(child) for child in children))

    async def _stop_group(self, *children: ChildProcess) -> None:
        await asyncio.gather(*(child.stop() for child in children))


class Dependencies(Supervised):
    """Kafka and the database, or one of them alone."""

    def __init__(self, settings: StandaloneSettings, *, parts: Collection[str] = DEPENDENCIES, **kwargs: Any) -> None:
        super().__init__(settings, **kwargs)
        self._lock = DataDirLock(settings.data_dir)
        common: dict[str, Any] = {"sink": self.sink, "stop_timeout": settings.stop_timeout}
        self.kafka = Kafka(
            port=settings.kafka_port,
            controller_port=settings.kafka_controller_port,
            data_dir=settings.data_dir / "kafka",
            cache_dir=settings.cache_dir,
            progress=self.progress,
            **common,
        )
        self.mongodb = MongoDB(port=settings.mongodb_port, data_dir=settings.data_dir / "mongodb", **common)
        both: dict[str, ChildProcess] = {"kafka": self.kafka, "mongodb": self.mongodb}
        self.children = {name: child for name, child in both.items() if name in parts}

    @property
    def kafka_bootstrap(self) -> str:
        """What goes into KAFKA_BOOTSTRAP."""
        return self.kafka.bootstrap

    @property
    def mongodb_url(self) -> str:
        """What goes into MONGODB_URL."""
        return self.mongodb.url

    def port_claims(self) -> list[PortClaim]:
        """The ports these children need."""
        claims = []
        if "kafka" in self.children:
            claims.append(PortClaim(self.settings.kafka_port, "Kafka", "--kafka-port"))
            if self.settings.kafka_controller_port is not None:
                controller = self.settings.kafka_controller_port
                claims.append(PortClaim(controller, "Kafka's controller", "WF_KAFKA_CONTROLLER_PORT"))
        if "mongodb" in self.children:
            claims.append(PortClaim(self.settings.mongodb_port, "the database", "--mongodb-port"))
        return claims

    def check(self) -> None:
        """Raise when something that these children need is missing or taken."""
        if "kafka" in self.children:
            java()
        if "mongodb" in self.children:
            executable()
        claim_ports(self.port_claims())

    async def on_start(self) -> None:
        self._lock.acquire()
        self.check()
        await self._start_children(*self.children.values())

    async def on_stop(self) -> None:
        try:
            await self._stop_group(*self.children.values())
        finally:
            self._lock.release()

    async def wipe_kafka(self) -> None:
        """Stop Kafka, throw away all its data and start it again, empty."""
        await self.kafka.stop()
        await self.kafka.wipe()
        await self._start_children(self.kafka)


@dataclass(frozen=True)
class GivenServers:
    """Kafka and MongoDB that run elsewhere."""

    kafka_bootstrap: str
    mongodb_url: str
    children: dict[str, ChildProcess] = field(default_factory=dict)

    @classmethod
    def of_environment(cls) -> GivenServers | None:
        """Return the servers that ``KAFKA_BOOTSTRAP`` and ``MONGODB_URL`` name; None where neither is set.

        Raises:
            ServersHalfGiven: one of them is.
        """
        kafka, mongodb = os.environ.get("KAFKA_BOOTSTRAP"), os.environ.get("MONGODB_URL")
        if kafka and mongodb:
            return cls(kafka, mongodb)
        if kafka:
            raise ServersHalfGiven("KAFKA_BOOTSTRAP", "MONGODB_URL")
        if mongodb:
            raise ServersHalfGiven("MONGODB_URL", "KAFKA_BOOTSTRAP")
        return None


class Stack(Supervised):
    """The dependencies and the three services, or some of these alone.

    `servers` that run already are used as they are and left running; otherwise the stack has its own.
    `environment` is given to every service (as in ``{"SCHEDULER_INTERVAL": "1"}``).
    """

    def __init__(
        self,
        settings: StandaloneSettings,
        *,
        servers: Dependencies | GivenServers | None = None,
        services: Collection[str] = SERVICES,
        environment: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(settings, **kwargs)
        self._owns_dependencies = servers is None
        self.dependencies = Dependencies(settings, sink=self.sink, progress=self.progress)
        self.servers = servers or self.dependencies
        self.environment = dict(environment or {})
        self.workers: dict[str, FaustWorker] = {}
        self.children = dict(self.servers.children)
        for service in services:
            self._new_worker(service, service, getattr(settings, f"{service}_port"))

    @property
    def kafka_bootstrap(self) -> str:
        """What goes into KAFKA_BOOTSTRAP."""
        return self.servers.kafka_bootstrap

    @property
    def mongodb_url(self) -> str:
        """What goes into MONGODB_URL."""
        return self.servers.mongodb_url

    @property
    def api_url(self) -> str:
        """Where the HTTP API is."""
        return self.workers["workflows"].url

    async def on_start(self) -> None:
        claims = [PortClaim(worker.port, CALLED[name], f"--{name}-port") for name, worker in self.workers.items()]
        if self._owns_dependencies:
            claims = [*self.dependencies.port_claims(), *claims]
        claim_ports(claims)
        if self._owns_dependencies:
            self.progress("starting Kafka and the database")
            await self.dependencies.start()
        if "SECRETS_KEY_FILE" in self._secrets_environment():
            ensure_key_file(self._secrets_key_file)
        self.progress("starting the services")
        await self._start_children(*self.workers.values())

    async def on_stop(self) -> None:
        await self._stop_group(*self.workers.values())
        if self._owns_dependencies:
            await self.dependencies.stop()

    async def add_worker(
        self,
        service: str,
        *,
        name: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> FaustWorker:
        """Start one more worker of a service on a free port ("runner-2", unless told otherwise); it is ready then."""
        free_names = (f"{service}-{number}" for number in count(2))
        name = name or next(free for free in free_names if free not in self.children)
        worker = self._new_worker(name, service, free_port(), environment)
        try:
            await self._start_children(worker)
        except BaseException:
            await self.remove_worker(name)
            raise
        return worker

    async def start_unready(self, service: str, *, name: str) -> FaustWorker:
        """Start one more worker without waiting for what it needs, which may be away."""
        worker = self._new_worker(name, service, free_port())
        await worker.start()
        return worker

    async def remove_worker(self, name: str) -> None:
        """Stop a worker and forget it."""
        worker = self.workers.pop(name)
        del self.children[name]
        await worker.stop()

    @property
    def _secrets_key_file(self) -> Path:
        return self.settings.data_dir / "secrets.key"

    def _secrets_environment(self) -> dict[str, str]:
        """Return which key the services encrypt secrets with: one of this data directory, unless another one is named."""
        if "SECRETS_KEY" in os.environ or "SECRETS_KEY_FILE" in os.environ:
            return {}
        return {"SECRETS_KEY_FILE": str(self._secrets_key_file)}

    def _new_worker(self, name: str, service: str, port: int, environment: Mapping[str, str] | None = None) -> FaustWorker:
        connections = {
            "KAFKA_BOOTSTRAP": self.kafka_bootstrap,
            "MONGODB_URL": self.mongodb_url,
            "HTTP_ALLOW_HOSTS": self.settings.http_allow_hosts,
            **self._secrets_environment(),
        }
        worker = FaustWorker(
            name,
            service=service,
            port=port,
            data_dir=self.settings.data_dir / "services" / name,
            environment={**connections, **self.environment, **(environment or {})},
            sink=self.sink,
            stop_timeout=self.settings.stop_timeout,
        )
        self.workers[name] = self.children[name] = worker
        return worker
