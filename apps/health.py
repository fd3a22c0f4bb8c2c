"""``/health``, ``/ready`` and ``/metrics`` of every service.

``/health`` answers while the process turns its event loop and its consumer reads what there is (:mod:`apps.liveness`).
``/ready`` looks at what the service needs to do its work: the
database, Kafka, an assignment of partitions, recovered tables. A worker without partitions (there are more workers than
partitions) is ready: it has nothing to do until somebody stops.
"""

import asyncio
from typing import Any, ClassVar, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import ApiVersionRequest
from faust import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from pydantic import BaseModel, Field

from apps.metrics import BATCH_SIZES, LagCollector, StreamMonitor
from apps.operations import Answer, Operation
from apps.service import ServiceApp
from domain.access import Scope
from store.interfaces import StoreError, StoreRefused

KAFKA_TIMEOUT: Final = 2.0  # seconds that the brokers may take to answer, less than probes usually wait


class Alive(BaseModel, extra="forbid"):
    """The process answers."""

    status: str = Field(description="ok, or what is wrong.")
    service: str


class Readiness(BaseModel, extra="forbid"):
    """Whether the service can do its work."""

    ready: bool
    checks: dict[str, str] = Field(description="ok, or what is wrong, by what was looked at.")


async def checks(app: ServiceApp) -> dict[str, str]:
    """Return what was looked at, each ``ok`` or what is wrong."""
    mongodb, kafka = await asyncio.gather(_mongodb(app), _kafka(app))
    return {"mongodb": mongodb, "kafka": kafka, "stream": _stream(app)}


async def _mongodb(app: ServiceApp) -> str:
    try:
        await asyncio.wait_for(app.store.ping(), timeout=app.settings.mongodb_timeout)
    except StoreRefused as error:
        return f"refuses to read, its disk may be full: {error}"
    except (StoreError, asyncio.TimeoutError) as error:
        return f"unreachable: {str(error) or 'no answer in time'}"
    return "ok"


async def _kafka(app: ServiceApp) -> str:
    # Faust starts its producer before the web server; afterwards the client keeps a connection to the cluster's brokers.
    producer = getattr(app.producer, "_producer", None)
    if producer is None:
        return "starting"
    # One that answers will do: where another is away or frozen, Kafka has its partitions led elsewhere.
    asked = [asyncio.ensure_future(_answers(producer.client, each.nodeId)) for each in producer.client.cluster.brokers()]
    try:
        for answer in asyncio.as_completed(asked, timeout=KAFKA_TIMEOUT):
            if await answer:
                return "ok"
    except asyncio.TimeoutError:
        pass  # a frozen broker keeps its connections, and lets others wait
    finally:
        for each in asked:
            each.cancel()
    return "unreachable: no broker answers"


async def _answers(client: AIOKafkaClient, broker: int) -> bool:
    try:
        await client.send(broker, ApiVersionRequest())
    except (KafkaError, OSError):
        return False
    return True


def _stream(app: ServiceApp) -> str:
    if app.producer_only:
        return "ok"
    if app.rebalancing:
        return "rebalancing"
    if app.in_recovery:
        return "recovering tables"
    if app._assignment is None:
        return "waiting for partitions"
    return "ok"


def install(app: ServiceApp, registry: CollectorRegistry) -> None:
    """Serve the three pages on ``app``."""

    @app.page("/health")
    class Health(web.View):
        operations: ClassVar = {
            "get": Operation(
                "getHealth",
                "Whether the process answers",
                {200: Answer("It does.", Alive), 503: Answer("Its consumer stands still.", Alive)},
                tag="service",
                scope=Scope.PUBLIC,
                lets_parameters_be=True,
                uses_database=False,
            )
        }

        async def get(self, request: web.Request) -> web.Response:
            problem = app.liveness.problem
            body = {"status": "ok" if problem is None else problem, "service": app.conf.name}
            return self.json(body, status=200 if problem is None else 503)

    @app.page("/ready")
    class Ready(web.View):
        operations: ClassVar = {
            "get": Operation(
                "getReadiness",
                "Whether the service can do its work",
                {200: Answer("It can.", Readiness), 503: Answer("It cannot.", Readiness)},
                tag="service",
                scope=Scope.PUBLIC,
                lets_parameters_be=True,
                uses_database=False,
            )
        }

        async def get(self, request: web.Request) -> web.Response:
            found: dict[str, Any] = await checks(app)
            ready = all(state == "ok" for state in found.values())
            return self.json({"ready": ready, "checks": found}, status=200 if ready else 503)

    monitor = StreamMonitor(app.conf.name, registry)
    app.monitor = monitor
    registry.register(LagCollector(app.conf.name, monitor, assigned=lambda: app._assignment or ()))
    batches = Histogram(
        f"{app.conf.name}_store_batch",
        "Operations that shared a round trip to the database.",
        ["kind"],
        buckets=BATCH_SIZES,
        registry=registry,
    )
    app.store.observe_batches = lambda kind, size: batches.labels(kind).observe(size)

    @app.page("/metrics")
    class Exposition(web.View):
        operations: ClassVar = {
            "get": Operation(
                "getMetrics",
                "Metrics for Prometheus",
                {200: Answer("Metrics in the text format.", content_type="text/plain")},
                tag="service",
                lets_parameters_be=True,
                uses_database=False,
            )
        }

        async def get(self, request: web.Request) -> web.Response:
            monitor.settle()
            return self.bytes(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
