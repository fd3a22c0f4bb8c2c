"""Puts the HTTP API together."""

from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import Any

from faust.app.base import BootStrategy
from faust.types import ServiceT
from prometheus_client import CollectorRegistry

from apps import health
from apps.service import ServiceApp
from apps.workflows import documents, problems, v1
from apps.workflows.publishing import Publish, Publisher
from apps.workflows.settings import WorkflowsSettings
from domain.instants import instant
from events.topics import EXECUTION, SCHEDULE
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
    producer_only = True

    settings: WorkflowsSettings
    clock: Callable[[], datetime]
    request_execution: Publish  # to the runners
    announce_change: Publish  # to the scheduler

    def __init__(self, settings: WorkflowsSettings, **options: Any) -> None:
        super().__init__(
            "workflows",
            settings,
            web_port=settings.web_port,
            web_router_enabled=False,
            web_application_options={
                "client_max_size": settings.workflows_body_limit,
                "middlewares": [problems.middleware],
            },
            **options,
        )
        self.clock = utc_now
        self.request_execution = Publisher(EXECUTION.bind(self), settings.workflows_publish_timeout)
        self.announce_change = Publisher(SCHEDULE.bind(self), settings.workflows_publish_timeout)


def create_app(settings: WorkflowsSettings, store: MongoStore | None = None) -> WorkflowsApp:
    """Return the app with its routes; ``store`` stands in for the one that the settings name."""
    app = WorkflowsApp(settings)
    if store is not None:
        app.store = store
    v1.install(app)
    health.install(app, CollectorRegistry())
    documents.install(app)
    return app


app = create_app(WorkflowsSettings())


def main() -> None:
    """Run ``faust`` with this app: ``wf-workflows worker``."""
    app.main()
