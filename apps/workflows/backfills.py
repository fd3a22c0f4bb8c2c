"""Backfills as they are asked for: what one would do, whether it may, and how it is cancelled.

From the insert of its document on a backfill is accepted and will be worked off, by :mod:`apps.scheduler.backfills`; the
scheduler is told of it so that it need not wait for its next pass. Ticks are counted in a thread: ten thousand of a schedule
with many expressions take seconds.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydantic import Field

from apps.backfilling import ended_since, is_beyond
from apps.stored_definitions import reading
from apps.workflows.errors import (
    BackfillEnded,
    BackfillInProgress,
    BadRequest,
    FieldError,
    NotRecurring,
    UnknownBackfill,
)
from apps.workflows.holding import trigger_of
from apps.workflows.publishing import Publish
from domain.backfill import MOST_TICKS, Backfill
from domain.identifiers import tick_execution_id
from domain.instants import MILLISECOND, WrittenInstant
from domain.model import Model
from domain.overlap import LONGEST_QUEUE, Overlap
from domain.rates import Rate, parse_rate
from domain.trigger import CronTrigger, PeriodicTrigger, Trigger, dues
from events.records import BackfillAsked
from store.interfaces import Backfills, Executions, Workflow

SHOWN = 5  # ticks from each end


class Asked(Model):
    """Which ticks are to be made up for, and how."""

    from_: WrittenInstant = Field(alias="from", description="Ticks due at this instant or later.")
    to: WrittenInstant | None = Field(default=None, description="Ticks due before this instant; now unless said otherwise.")
    dry_run: bool = Field(default=True, strict=True, description="Only tell what would be run; false: run it.")
    rate: Rate = Field(default="1/s", description="At most so many executions are started per second, minute or hour.")
    at_once: int = Field(
        default=1,
        strict=True,
        ge=1,
        le=LONGEST_QUEUE,
        description="How many may be open; more than one where the overlap policy allows.",
    )
    beyond_retention: bool = Field(
        default=False,
        strict=True,
        description="Also run ticks that are older than the retention of executions, of which nobody knows any more whether "
        "they ran.",
    )


@dataclass(frozen=True)
class Plan:
    """What a backfill would do."""

    workflow: Workflow
    trigger: Trigger
    first: datetime
    until: datetime
    ticks: int
    to_run: Sequence[datetime]
    asked: Asked

    @property
    def shortest(self) -> timedelta:
        """How long it takes at least, at its rate."""
        return parse_rate(self.asked.rate) * max(0, len(self.to_run) - 1)


async def plan(workflow: Workflow, asked: Asked, *, executions: Executions, now: datetime, retention: timedelta) -> Plan:
    """Return what a backfill of a workflow would do.

    Raises:
        NotRecurring: its trigger has no ticks that could be made up for.
        BadRequest: the range is empty, ends in the future, holds too many ticks or ones that are too old; or more are to be
            open at once than the overlap policy allows.
    """
    trigger = trigger_of(workflow)
    if not isinstance(trigger, (PeriodicTrigger, CronTrigger)):
        raise NotRecurring(workflow.workflow_id, trigger.type)
    until = now if asked.to is None else asked.to
    if until > now:
        raise _wrong("to", "must not be in the future; what is due then, the schedule runs")
    if until <= asked.from_:
        raise _wrong("to", "must be later than from") if asked.to is not None else _wrong("from", "must be in the past")
    _check_at_once(workflow, asked.at_once)
    ticks = await asyncio.to_thread(
        dues, trigger, workflow.anchor, asked.from_ - MILLISECOND, until - MILLISECOND, MOST_TICKS + 1
    )
    if len(ticks) > MOST_TICKS:
        raise _wrong(
            "to",
            f"leaves more than {MOST_TICKS} ticks in the range; end it at {_written(ticks[MOST_TICKS])} or earlier, and "
            "backfill what follows when that is done",
        )
    if ticks and is_beyond(ticks[0], now, retention) and not asked.beyond_retention:
        raise _wrong(
            "from",
            f"is longer ago than the {retention / timedelta(days=1):g} days for which executions are kept, so nobody knows "
            "whether the ticks from then ran; name a later instant, or set beyondRetention to run them in any case",
        )
    ids = await asyncio.to_thread(lambda: [tick_execution_id(workflow.workflow_id, tick) for tick in ticks])
    known = await executions.states(ids) if ids else {}
    to_run = [tick for tick, execution_id in zip(ticks, ids, strict=True) if execution_id not in known]
    return Plan(workflow, trigger, asked.from_, until, len(ticks), to_run, asked)


async def accept(planned: Plan, backfill_id: str, *, backfills: Backfills, announce: Publish, now: datetime) -> Backfill:
    """Store a backfill that has something to run, and tell the scheduler.

    Raises:
        BackfillInProgress: another one of the workflow is running.
    """
    workflow, asked = planned.workflow, planned.asked
    backfill = Backfill(
        backfill_id=backfill_id,
        workflow_id=workflow.workflow_id,
        shard=workflow.shard,
        trigger=planned.trigger,
        anchor=workflow.anchor,
        first=planned.first,
        until=planned.until,
        rate=asked.rate,
        at_once=asked.at_once,
        ticks=planned.ticks,
        created_at=now,
        position=None,
        wake_at=now,
        beyond_retention=asked.beyond_retention,
    )
    backfill = replace(backfill, position=next(iter(replace(backfill, position=planned.first).coming(1)), None))
    if not await backfills.add(backfill):
        running = await backfills.running(workflow.workflow_id)
        raise BackfillInProgress(workflow.workflow_id, running.backfill_id if running else "")
    await announce(workflow.workflow_id, BackfillAsked(workflow_id=workflow.workflow_id))
    return await backfills.get(backfill_id) or backfill


async def one_of(workflow_id: str, backfill_id: str, *, backfills: Backfills, executions: Executions) -> Backfill:
    """Return a backfill as it stands.

    Raises:
        UnknownBackfill: the workflow has none of that id.
    """
    found = await backfills.get(backfill_id)
    if found is None or found.workflow_id != workflow_id:
        raise UnknownBackfill(workflow_id, backfill_id)
    return await up_to_date(found, executions)


async def up_to_date(backfill: Backfill, executions: Executions) -> Backfill:
    """Return a backfill with those of its executions that ended since the scheduler looked, or since it was cancelled."""
    ended = await ended_since(backfill, executions)
    return backfill.settling(ended) if ended else backfill


async def cancel(
    workflow_id: str, backfill_id: str, reason: str, *, backfills: Backfills, executions: Executions, now: datetime
) -> Backfill:
    """Start no more executions of a backfill; those that are open go on.

    Raises:
        UnknownBackfill: the workflow has none of that id.
        BackfillEnded: it has ended before.
    """
    while True:
        found = await backfills.get(backfill_id)
        if found is None or found.workflow_id != workflow_id:
            raise UnknownBackfill(workflow_id, backfill_id)
        if not found.is_open:
            raise BackfillEnded(backfill_id, found.status.value)
        cancelled = found.cancelled(reason, now)
        if await backfills.save(cancelled):
            return await up_to_date(cancelled, executions)


def _check_at_once(workflow: Workflow, at_once: int) -> None:
    with reading(workflow.workflow_id, workflow.version):
        overlap = Overlap.of(workflow.definition.get("overlap"))
    places = len(overlap.places_of_backfill(workflow.workflow_id))
    if at_once <= places:
        return
    if overlap.policy == "allow":
        why = f"must be {places} or less: of the {overlap.bound} places one is left to the schedule"
    else:
        why = f"must be 1: the overlap policy {overlap.policy} runs one execution at a time"
    mend = f"; overlap {{policy: allow, max: {at_once + 1}}} in the definition makes room for {at_once}"
    raise _wrong("atOnce", why + (mend if at_once < LONGEST_QUEUE else ""))


def _wrong(field: str, message: str) -> BadRequest:
    return BadRequest("The backfill is not valid.", [FieldError(field, message)])


def _written(at: datetime) -> str:
    return f"{at.replace(tzinfo=None).isoformat(timespec='milliseconds' if at.microsecond else 'seconds')}Z"
