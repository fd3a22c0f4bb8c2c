"""The Faust app that every service is.

Start: the database is opened and its indexes are made, the topics are created, then Faust's own services start (producer,
web server, consumer, agents, tables). Stop goes the other way. Services that streams need from their first event are
dependencies rather than ``@app.service``, because those start only after table recovery.
"""

import asyncio
import errno
import gc
import linecache
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import faust
import structlog
from aiohttp import web
from aiokafka.errors import KafkaError
from faust.events import Event
from faust.types import EventT, TransportT
from mode import Service, ServiceT
from yarl import URL

from apps import kafka_security
from apps.access import Gate, is_loopback, refusal
from apps.database import store_of
from apps.liveness import EXIT_CODE, Liveness
from apps.logs import logging_config
from apps.settings import BadSettings, ServiceSettings
from events.broker import bounded
from events.provision import ensure_topics
from events.recovery import Tables
from events.topics import LARGEST_RECORD, PARTITIONS
from events.transport import Transport
from store.client import MongoStore
from store.interfaces import StoreUnavailable

log = structlog.get_logger(__name__)

START_RETRY_DELAY = 1.0  # seconds


class Exposed(SystemExit):
    """Ends the process with a message rather than a traceback: it is a matter of settings."""

    def __init__(self, address: str) -> None:
        super().__init__(
            f"error: without authentication this service listens on loopback only, not on {address}. Set AUTH=tokens and "
            "make a token (wf tokens create --bootstrap), or AUTH=open if everybody who can reach it may do everything."
        )


async def patiently(what: str, start: Callable[[], Awaitable[None]], retry_on: tuple[type[Exception], ...]) -> None:
    """Call ``start`` until it succeeds: a service that starts before its dependencies waits for them rather than die."""
    while True:
        try:
            return await start()
        except retry_on as error:
            log.warning("waiting for a dependency", dependency=what, error=str(error))
            await asyncio.sleep(START_RETRY_DELAY)


class Topics(Service):
    """Sees to it that the topics exist before anything consumes."""

    def __init__(self, app: "ServiceApp", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.app = app

    async def on_start(self) -> None:
        await patiently("kafka", self.app.ensure_topics, (KafkaError, OSError, asyncio.TimeoutError))


class Database(Service):
    """Opens the store, makes its indexes, closes it last."""

    def __init__(self, store: MongoStore, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.store = store

    async def on_start(self) -> None:
        await patiently("mongodb", self._open, (StoreUnavailable,))

    async def _open(self) -> None:
        await self.store.start()
        await self.store.ensure_indexes()

    async def on_stop(self) -> None:
        await self.store.stop()


class Worker(faust.Worker):
    """Runs a service as the process, and tells by its exit status whether the service was asked to stop or gave itself up.

    It stops by the same signal either way. Supervisors that start anew only what failed would leave it down.
    """

    app: "ServiceApp"

    async def on_first_start(self) -> None:
        if self.app.conf.web_enabled:
            await self._check_address()
        await super().on_first_start()

    def _crash(self, reason: BaseException) -> None:
        # Where the start is still under way the stop does not even begin, and a service that never stops would hold it up.
        super()._crash(reason)
        self.app.liveness.end_unless_stopped()

    def stop_and_shutdown(self) -> None:
        super().stop_and_shutdown()
        if self.app.liveness.has_given_up:
            raise SystemExit(EXIT_CODE)

    async def _sentinel_task(self) -> None:
        """Wait for nothing more, before the loop is closed: mode waits a second, after everything has ended."""

    async def _check_address(self) -> None:
        # Faust would find it out in the middle of the start, and say so in a traceback.
        host, port = str(self.app.conf.web_bind), self.app.conf.web_port
        try:
            server = await asyncio.get_running_loop().create_server(asyncio.Protocol, host, port)
        except OSError as error:
            why = "it is taken" if error.errno == errno.EADDRINUSE else error.strerror
            complaint = f"WEB_HOST, --web-port: cannot listen on {host}, port {port}: {why}; choose others"
            raise BadSettings([complaint]) from None
        server.close()
        await server.wait_closed()


class ServiceApp(faust.App):
    """A Faust app with the house's settings, store, transport and access check."""

    login_path = ""  # where browsers are sent to log in; empty where there is no such page

    def __init__(
        self,
        name: str,
        settings: ServiceSettings,
        *,
        web_port: int,
        store: MongoStore | None = None,
        **options: Any,
    ) -> None:
        self.settings = settings
        self.fetch_wait_ms = settings.kafka_fetch_wait_ms
        self.kafka = kafka_security.broker(settings)  # for clients beside Faust's
        self.store = store or store_of(settings, user=name)
        self.gate = Gate(
            mode=settings.auth,
            hosts=frozenset(filter(None, (settings.web_host, settings.web_name))),
            views=lambda: self.web.views,
            tokens=lambda: self.store.tokens,
            answer=self.refuse,
            login_path=self.login_path,
            origins=self.origins(),
        )
        web_options = {"middlewares": self.middlewares(), **options.pop("web_application_options", {})}
        super().__init__(
            name,
            broker_credentials=kafka_security.credentials(settings),
            broker=[URL(f"kafka://{server.strip()}") for server in settings.kafka_bootstrap.split(",")],
            store="memory://",
            Worker=Worker,
            TableManager=Tables,
            datadir=str(settings.data_dir / name),
            logging_config=logging_config(name, settings),
            # The host is the name by which other workers reach this one, the bind the address that is listened on.
            web_host=settings.web_name or settings.web_host,
            web_bind=settings.web_host,
            web_port=web_port,
            web_tables_enabled=False,
            web_application_options=web_options,
            topic_partitions=PARTITIONS,
            topic_replication_factor=settings.kafka_replication_factor,
            topic_allow_declare=True,
            topic_disable_leader=True,
            table_standby_replicas=0,
            # Events are acknowledged when what they ask for is durable; neither a rebalance nor a stop waits for that.
            stream_wait_empty=False,
            consumer_auto_offset_reset="earliest",
            producer_max_request_size=LARGEST_RECORD,
            broker_session_timeout=settings.kafka_session_timeout,
            # Three heartbeats fit into a session, as Kafka's documents advise. With more of them a dead consumer is missed
            # later: its session lasts from the last one on.
            broker_heartbeat_interval=settings.kafka_session_timeout / 3.5,
            # What a runner has taken is known to the schedulers, which look for what got lost, when it is committed.
            broker_commit_interval=1.0,
            **options,
        )
        self.liveness = Liveness(self, beacon=self.beacon)

    @property
    def changelogs(self) -> frozenset[str]:
        """The names of the topics that the tables of this service are kept in."""
        return frozenset(table.changelog_topic.get_topic_name() for table in self.tables.values())

    async def ensure_topics(self) -> None:
        """Create the topics that are missing, and set them up as the settings say.

        Raises:
            aiokafka.errors.KafkaError: the broker cannot be reached or refuses.
        """
        await ensure_topics(
            self.kafka,
            replication_factor=self.settings.kafka_replication_factor,
            retentions=self.settings.topic_retentions,
            changelogs=sorted(self.changelogs),
        )

    def middlewares(self) -> list[Any]:
        """Return what every request passes, from the outermost on."""
        return [self.gate.middleware]

    def refuse(self, error: Exception) -> web.Response:
        """Return the answer to a request that the gate turns away."""
        return refusal(error)

    def origins(self) -> frozenset[str]:
        """Return the other origins whose pages may ask for changes."""
        return frozenset()

    def _check_exposure(self) -> None:
        """Refuse to serve everybody by accident.

        Raises:
            Exposed: the service would listen beyond this machine, and nobody would have to say who they are.
        """
        if self.settings.auth == "none" and not is_loopback(str(self.conf.web_bind)):
            raise Exposed(str(self.conf.web_bind))

    def create_event(self, key: Any, value: Any, headers: Any, message: Any) -> EventT[Any]:
        """Return a message as an event; Faust looks up in its settings each time what one is made of."""
        return Event(self, key, value, headers, message)

    def _new_transport(self) -> TransportT:
        return Transport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> TransportT:
        return Transport(self.conf.broker_producer, self)

    async def _producer_flush(self, logger: Any) -> None:
        # In a rebalance as well, which takes the time that it takes: what was taken is to be told before it is committed.
        flushing = super()._producer_flush(logger)
        await (bounded("records that were to be sent", flushing) if self.should_stop else flushing)

    @property
    def stop_grace(self) -> float:
        """Seconds that the work of this service may take to finish when it is stopped."""
        return 0.0

    def is_full(self) -> bool:
        """Tell whether this service reads nothing for a good reason: it has all the work that it may take."""
        return False

    def dependencies(self) -> Iterable[ServiceT]:
        """Return what this service needs beside the store and the topics; started after them, before Faust's own."""
        return []

    async def on_first_start(self) -> None:
        self._check_exposure()
        # Faust makes the directories itself, but not the one that they are in, nor does it say what is wrong.
        try:
            await asyncio.to_thread(self.conf.appdir.mkdir, parents=True, exist_ok=True)
        except OSError as error:
            where = self.settings.data_dir.absolute()
            said = f"DATA_DIR: nothing can be written to {where}: {error.strerror}; name a directory of the service's own"
            raise BadSettings([said]) from None
        await super().on_first_start()

    async def on_start(self) -> None:
        linecache.clearcache()  # whole files, read by pymongo to note where its client was made: half a megabyte
        # What is loaded by now lives as long as the process: the collector need not look at it again. Measured on the
        # API at 64 clients: longest pause 57 ms before, 10 ms after.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        await super().on_start()

    def on_init_dependencies(self) -> Iterable[ServiceT]:
        return [
            Database(self.store, beacon=self.beacon),
            Topics(self, beacon=self.beacon),
            self.liveness,
            *self.dependencies(),
            *super().on_init_dependencies(),
        ]
