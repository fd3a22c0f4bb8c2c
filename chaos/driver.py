"""Runs the whole: stack, load, faults, quiet, judgement."""

import asyncio
import contextlib
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from apps.projection.log import Log, decode
from apps.projection.scratch import Scratch
from apps.projection.verify import Report, Verification
from apps.standalone.settings import StandaloneSettings
from apps.standalone.stack import Stack, on_free_ports
from chaos.checker import Evidence, Judgement, Violation, judge
from chaos.faults import EVERY, KINDS, Fault, Faults, schedule
from chaos.load import ENVIRONMENT, TOPIC_PARTITIONS, Load
from chaos.receiver import Receiver
from domain.execution import OPEN
from domain.occurrence import Unfired
from domain.subscription import Subscribed
from events.broker import Broker, Inquiries, close
from events.records import DeadLetter, Event
from events.topics import DEAD_LETTER, PARTITIONS
from events.wire import Decoder
from store.client import MongoStore
from store.interfaces import ExecutionFilter

SETTLE = 3.0  # seconds of load before the first fault
ANSWER_WITHIN = 15.0
QUIET_WITHIN = 240.0  # seconds; stale heartbeats, sessions and backoffs of several faults in a row add up

Say = Callable[[str], None]


@dataclass
class Outcome:
    """What a run came to."""

    seen: Evidence
    judgement: Judgement
    report: Report
    quiet_after: float


class Silent:
    """The progress of a verification that nobody watches."""

    def step(self, name: str, total: int | None) -> None:
        """Say nothing."""

    def advance(self, count: int) -> None:
        """Say nothing."""


async def run(
    *,
    seed: int,
    seconds: float,
    kinds: Sequence[str] = KINDS,
    every: float = EVERY,
    say: Say,
    lines: Path | None = None,
) -> Outcome:
    """Disturb a stack of its own for ``seconds`` and judge what happened; its output goes to the file ``lines``."""
    with contextlib.ExitStack() as files:
        folder = files.enter_context(tempfile.TemporaryDirectory(prefix="wf-chaos-", ignore_cleanup_errors=True))
        out = files.enter_context(lines.open("w", buffering=1)) if lines is not None else None

        def sink(name: str, line: str) -> None:
            if out is not None:
                out.write(f"{time.strftime('%H:%M:%S', time.gmtime())} {name}: {line}\n")

        settings = on_free_ports(StandaloneSettings(data_dir=Path(folder), stop_timeout=40))
        async with Receiver() as receiver, Stack(settings, environment=ENVIRONMENT, sink=sink) as stack:
            planned = schedule(seed, seconds, kinds, every=every)
            say(f"{len(planned)} faults in {seconds:.0f} s, seed {seed}")
            return await _run_on(stack, receiver, planned, seed=seed, say=say)


async def _run_on(stack: Stack, receiver: Receiver, planned: Sequence[Fault], *, seed: int, say: Say) -> Outcome:
    load = Load(stack.api_url, stack.kafka_bootstrap, receiver.url, Random(seed))
    await load.start()
    await asyncio.sleep(SETTLE)
    faults = Faults(stack)
    await faults.run(planned)
    for problem in faults.problems:
        say(f"could not be brought about: {problem}")
    load_ended = time.time()
    say("the faults are over; waiting until nothing is open")
    receiver.let_go.set()
    await load.stop()
    store = MongoStore(stack.mongodb_url, "workflows", timeout=30)
    broker = Broker(stack.kafka_bootstrap)
    consumer = Log.consumer(broker)
    await consumer.start()
    try:
        quiet = await _wait_for_quiet(store, broker)
        quiet_after = time.time() - load_ended
        executions = {each.execution_id: each async for each in store.executions.scan()}
        anchors = {}
        unfired: dict[str, list[Unfired]] = {}
        for workflow_id in load.periodic:
            workflow = await store.workflows.get(workflow_id)
            if workflow is not None:
                anchors[workflow_id] = workflow.anchor
                ledger = {each.first: each for each in await store.occurrences.list(workflow_id, before=None, limit=100_000)}
                if workflow.unfired is not None:  # the last range is kept with the schedule until the next one begins
                    ledger[workflow.unfired.first] = workflow.unfired
                unfired[workflow_id] = list(ledger.values())
        holders = await store.executions.holders(load.workflows)
        log = Log(consumer)
        await log.assign()
        with Scratch() as scratch:
            verification = Verification(
                log=log, documents=store.executions, runners=store.runners, scratch=scratch, progress=Silent()
            )
            report = await verification.run()
            records: dict[str, list[Event]] = defaultdict(list)
            for execution_id, values in scratch.groups():
                records[execution_id] = decode(values)
        letters = await _dead_letters(broker)
    finally:
        await consumer.stop()
        await store.stop()
    seen = Evidence(
        accepted=load.accepted,
        told=load.told,
        requests=receiver.requests,
        faults=faults.happened,
        executions=executions,
        records=records,
        periodic=load.periodic,
        anchors=anchors,
        unfired=unfired,
        not_idle=sorted(holders),
        handled=load.handled,
        readers=load.readers,
        side_by_side=load.side_by_side,
        published=load.published,
        letters=letters,
    )
    judgement = judge(seen)
    for finding in report.findings:
        fields = ", ".join(f"{d.field}: {d.folded} by the log, {d.stored} stored" for d in finding.differences)
        judgement.violations.append(Violation("the documents agree with the log", finding.execution_id, fields))
    if not quiet:
        say(f"still not quiet after {QUIET_WITHIN:.0f} s")
    return Outcome(seen, judgement, report, quiet_after)


async def _wait_for_quiet(store: MongoStore, broker: Broker) -> bool:
    """Wait until no execution is open and every record is read; False where that takes too long."""
    deadline = time.monotonic() + QUIET_WITHIN
    calm = 0
    async with _inquiries(broker) as inquiries:
        while calm < 2:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(1)
            open_ones = await store.executions.list(ExecutionFilter(statuses=OPEN), before=None, limit=1)
            calm = calm + 1 if not open_ones and await _is_read(inquiries, await store.workflows.subscribed()) else 0
    return True


@contextlib.asynccontextmanager
async def _inquiries(broker: Broker) -> AsyncIterator[Inquiries]:
    inquiries = Inquiries(broker)
    try:
        yield inquiries
    finally:
        await inquiries.close()


async def _is_read(inquiries: Inquiries, subscribed: Iterable[Subscribed]) -> bool:
    """Tell whether everything in the topics is committed as read by each of their readers."""

    async def ask(admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer) -> bool:
        for each in subscribed:
            ends = await consumer.end_offsets([TopicPartition(each.topic, number) for number in range(TOPIC_PARTITIONS)])
            committed = await admin.list_consumer_group_offsets(each.group)
            # Of what is empty nothing need be committed.
            if any(end and (tp not in committed or committed[tp].offset != end) for tp, end in ends.items()):
                return False
        return True

    try:
        return await asyncio.wait_for(inquiries.ask(ask), ANSWER_WITHIN)
    except (KafkaError, asyncio.TimeoutError):
        return False  # its data were wiped, and it has only just begun to keep groups anew


async def _dead_letters(broker: Broker) -> list[DeadLetter]:
    decoder = Decoder(DeadLetter)
    consumer = broker.consumer()
    try:
        await consumer.start()
        partitions = [TopicPartition(DEAD_LETTER.name, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(partitions)
        letters = []
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for found in (await consumer.getmany(timeout_ms=1000)).values():
                letters += [letter for record in found if isinstance(letter := decoder(record.value), DeadLetter)]
        return letters
    finally:
        await close(consumer)
