"""Puts the HTTP API together."""

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from aiohttp import web
from aiokafka import AIOKafkaConsumer
from faust.app.base import BootStrategy
from faust.types import ServiceT
from faust.types.web import ResourceOptions
from prometheus_client import CollectorRegistry

from apps import health
from apps.secret_values import key_source, secret_values
from apps.service import ServiceApp
from apps.settings import read
from apps.workflows import assets, documents, kafka_state, problems, request_ids, sessions, v1
from apps.workflows.live import LiveFeed
from apps.workflows.publishing import Publish, Publisher
from apps.workflows.settings import WorkflowsSettings
from apps.workflows.surroundings import StoredNeeds
from apps.workflows.system import System
from domain.instants import instant
from events.letter_box import LetterBox
from events.topics import ACTION_RESULT, EXECUTION, SCHEDULE, SIGNAL
from store.client import MongoStore


def utc_now() -> datetime:
    """Return the present instant."""
    return instant(datetime.now(timezone.utc))


class ProducerBeforeWeb(BootStrategy):
    """Starts the producer before the web server, so that it stops after it: an admitted request can still be published."""

    def producer_only(self) -> Iterable[ServiceT]:
        return self._chain(self.sensors(), self.kafka_producer(), self.web_server())


class WorkflowsApp(ServiceApp):
    """The workflows service: it publishes and consumes nothing."""

    BootStrategy = ProducerBeforeWeb
    login_path = "/login"
    producer_only = True

    settings: WorkflowsSettings
    clock: Callable[[], datetime]
    request_execution: Publish  # to the runners
    announce_change: Publish  # to the scheduler
    announce_end: Publish  # to the runners
    letter_box: LetterBox
    resend: Mapping[str, Publisher]  # by topic

    def __init__(self, settings: WorkflowsSettings, **options: Any) -> None:
        super().__init__(
            "workflows",
            settings,
            web_port=settings.web_port,
            web_router_enabled=False,
            web_application_options={
                "client_max_size": settings.workflows_body_limit,
                "handler_args": {"auto_decompress": False},  # apps.workflows.bodies does it
            },
            # Without credentials: a page of another origin brings a token, never the cookie of the dashboard.
            web_cors_options={
                origin: ResourceOptions(
                    allow_credentials=False, allow_headers="*", allow_methods="*", expose_headers="*", max_age=600
                )
                for origin in settings.origins
            },
            **options,
        )
        self.clock = utc_now
        self.secret_keys = key_source(settings)
        self.secrets = secret_values(settings, lambda: self.store.secrets.all())
        self.stored_needs = StoredNeeds()
        self.request_execution = Publisher(EXECUTION.bind(self), settings.workflows_publish_timeout, waits=False)
        self.announce_end = Publisher(ACTION_RESULT.bind(self), settings.workflows_publish_timeout)
        self.announce_change = Publisher(SCHEDULE.bind(self), settings.workflows_publish_timeout, waits=False)
        self.letter_box = LetterBox(self.kafka)
        self.resend = {
            spec.name: Publisher(spec.bind(self), settings.workflows_publish_timeout)
            for spec in (EXECUTION, SIGNAL, ACTION_RESULT, SCHEDULE)
        }
        self.live = LiveFeed(self._new_live_consumer)
        self.system = System(lambda: kafka_state.look(self.kafka), timeout=settings.mongodb_timeout, clock=time.monotonic)

    def _new_live_consumer(self) -> AIOKafkaConsumer:
        # No group: nothing is committed, nobody waits for a rebalance.
        return self.kafka.consumer(auto_offset_reset="latest", fetch_max_wait_ms=100)

    async def _close_live(self, _: Any) -> None:
        await self.live.close()

    def middlewares(self) -> list[Any]:
        return [request_ids.middleware, assets.middleware, problems.middleware, *super().middlewares()]

    def refuse(self, error: Exception) -> web.Response:
        return problems.answer(error)

    def origins(self) -> frozenset[str]:
        return self.settings.origins


async def _vary_by_origin(_: web.Request, response: web.StreamResponse) -> None:
    """Keep a shared cache from giving one origin the answer that another one may read."""
    response.headers.add("Vary", "Origin")


def create_app(settings: WorkflowsSettings, store: MongoStore | None = None) -> WorkflowsApp:
    """Return the app with its routes; ``store`` stands in for the one that the settings name."""
    app = WorkflowsApp(settings)
    if store is not None:
        app.store = store
    web_server: Any = app.web
    web_server.web_app.on_response_prepare.append(request_ids.name_answer)
    if settings.origins:
        web_server.web_app.on_response_prepare.append(_vary_by_origin)
    # The web server waits for its open answers when it stops: those that never end by themselves are ended first.
    web_server.web_app.on_shutdown.append(app._close_live)
    assets.install(app)
    v1.install(app)
    for view in sessions.VIEWS:
        app.web.add_view(view)
    health.install(app, CollectorRegistry())
    documents.install(app)
    return app


app = create_app(read(WorkflowsSettings))


def main() -> None:
    """Run ``faust`` with this app: ``wf-workflows worker``."""
    app.main()
