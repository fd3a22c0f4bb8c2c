"""Signals in the runner: how a step looks for its own, and those that others have published to Kafka.

Each ``ExecutionSignal`` is kept and acted on exactly as one that comes over HTTP (:mod:`apps.signals`), and acknowledged
when it is durable: what is delivered again says the same again, which changes nothing. What no execution can be told is
dead-lettered.
"""

from typing import Any, Final

from faust.types import EventT

from actions.running import Signalled
from apps.runner.acknowledgement import OrderedAcks, Refuse, Ticket, see_to
from apps.runner.clock import now
from apps.runner.definitions import Definitions, UnknownVersion
from apps.runner.patience import stubbornly
from apps.signals import NotHeeded, send
from apps.stored_definitions import UnreadableVersion
from apps.waking import Waker
from domain.identifiers import EXECUTION_ID_RULE, is_action_id, is_execution_id
from domain.inputs import BadInput
from domain.signal import Signal
from events.records import ExecutionSignal
from events.wire import Malformed, passed_over
from store.interfaces import Executions, Signals

SENDER: Final = "kafka"


def signalled_in(signals: Signals) -> Signalled:
    """Return how a running action looks for a signal; while the store is away it waits."""

    async def signalled(execution_id: str, name: str, *, over: int | None = None) -> Signal | None:
        if over is None:
            return await stubbornly(lambda: signals.get(execution_id, name))
        return await stubbornly(lambda: signals.close(execution_id, name, over, now()))

    return signalled


class ForeignSignals:
    """Takes them from the agent."""

    def __init__(
        self, *, executions: Executions, definitions: Definitions, signals: Signals, waker: Waker, refuse: Refuse
    ) -> None:
        self.executions = executions
        self.definitions = definitions
        self.signals = signals
        self.waker = waker
        self.refuse = refuse
        self.acks = OrderedAcks()

    async def take(self, event: EventT[Any]) -> None:
        """Take one record."""
        ticket = self.acks.take(event)
        await see_to(ticket, self._take(ticket, event.value), self.refuse)

    async def _take(self, ticket: Ticket, record: Any) -> None:
        try:
            if isinstance(record, Malformed):
                raise NotHeeded(record.reason)
            # A misspelt field would have no effect, and nobody would hear of it.
            if ignored := passed_over(ticket.event.message.value or b"", ExecutionSignal):
                raise NotHeeded(ignored)
            await self._tell(record)
        except (NotHeeded, UnknownVersion, UnreadableVersion, BadInput) as error:
            await self.refuse(ticket, str(error))
        else:
            ticket.finish()

    async def _tell(self, record: ExecutionSignal) -> None:
        if not is_execution_id(record.execution_id):
            raise NotHeeded(f"execution_id: {record.execution_id[:200]!r} {EXECUTION_ID_RULE}")
        if not is_action_id(record.signal):
            raise NotHeeded(f"signal: {record.signal[:200]!r} is not the name of a signal")
        found = await stubbornly(lambda: self.executions.get(record.execution_id))
        if found is None or found.workflow_id != record.workflow_id:
            raise NotHeeded(
                f"execution_id: workflow {record.workflow_id[:200]} has no execution {record.execution_id}; templates know"
                " both as execution.workflowId and execution.id"
            )
        definition = await stubbornly(lambda: self.definitions.get(found.workflow_id, found.version))
        signal = Signal(record.execution_id, record.signal, record.payload or {}, now(), SENDER, found.shard)
        await stubbornly(lambda: send(signal, found, definition, signals=self.signals, waker=self.waker))
