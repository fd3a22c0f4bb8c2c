"""A verification on real servers, from opening to closing them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

from aiokafka.errors import KafkaError

from apps import kafka_security
from apps.database import store_of
from apps.projection.log import Log, LogUnreachable
from apps.projection.rebuild import Rebuilt, rebuild
from apps.projection.scratch import Scratch
from apps.projection.verify import Progress, Report, Verification
from apps.settings import ServiceSettings
from domain.instants import instant
from domain.overlap import Overlap
from events.broker import close
from store.client import MongoStore
from store.interfaces import StoreUnavailable

PATIENCE = 30.0  # seconds for one operation of the database; sorting a large collection takes longer than any service waits


class Unreachable(Exception):
    """Kafka or MongoDB cannot be read."""


@dataclass(frozen=True)
class Target:
    """Where to look, and for what."""

    settings: ServiceSettings
    workflow_id: str | None = None
    scratch: Path | None = None  # where the temporary file goes


async def verify(target: Target, progress: Progress, *, keep: int) -> Report:
    """Compare, and return what was found with the first ``keep`` differences.

    Raises:
        Unreachable: Kafka or MongoDB cannot be read.
    """
    async with _verification(target, progress) as (verification, _):
        return await verification.run(keep=keep)


async def verify_and_rebuild(target: Target, progress: Progress, *, keep: int, force: bool) -> tuple[Report, Rebuilt | None]:
    """Compare and write what differs; nothing (None) while executions are open, unless forced.

    Raises:
        Unreachable: Kafka or MongoDB cannot be read, or written; what was written until then is written.
    """
    async with _verification(target, progress) as (verification, store):
        report = await verification.run(keep=keep)
        if report.open and not force:
            return report, None
        await store.ensure_indexes()
        now = instant(datetime.now(timezone.utc))
        return report, await rebuild(
            verification,
            store.executions,
            overlap_of=partial(_overlap_of, store),
            progress=progress,
            differing=report.differing,
            now=now,
        )


async def _overlap_of(store: MongoStore, workflow_id: str, version: int) -> Overlap | None:
    definition = await store.workflows.get_version(workflow_id, version)
    return None if definition is None else Overlap.of(definition.get("overlap"))


@contextlib.asynccontextmanager
async def _verification(target: Target, progress: Progress) -> AsyncIterator[tuple[Verification, MongoStore]]:
    settings = target.settings
    store = store_of(settings, timeout=max(settings.mongodb_timeout, PATIENCE))
    consumer = Log.consumer(kafka_security.broker(settings))
    try:
        await _answers(settings)
        await store.start()
        await consumer.start()
        log = Log(consumer, workflow_id=target.workflow_id)
        await log.assign()
        with Scratch(target.scratch) as scratch:
            verification = Verification(
                log=log,
                documents=store.executions,
                runners=store.runners,
                scratch=scratch,
                progress=progress,
                workflow_id=target.workflow_id,
                expired_before=datetime.now(timezone.utc) - timedelta(days=settings.retention_days),
            )
            yield verification, store
    except (KafkaError, OSError, asyncio.TimeoutError, LogUnreachable) as error:
        raise Unreachable(f"Kafka at {settings.kafka_bootstrap} cannot be read: {error}") from error
    except StoreUnavailable as error:
        raise Unreachable(str(error)) from error
    finally:
        await close(consumer)
        await store.stop()


async def _answers(settings: ServiceSettings) -> None:
    """Ask the database for a sign of life, with the patience of a service: one that is not there is told at once.

    Raises:
        StoreUnavailable: it gives none.
    """
    store = store_of(settings)
    try:
        await store.ping()
    finally:
        await store.stop()
