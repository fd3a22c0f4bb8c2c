"""What a runner may start on behalf of others: of records that nobody has admitted, of actions that trigger workflows."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

from actions.registry import WorkflowDefinition
from apps.admission import Opened, admit_side_by_side, admit_under
from apps.runner.clock import now
from apps.runner.definitions import Definitions
from apps.runner.patience import stubbornly
from apps.runner.places import Places
from domain.execution import Admission, Cause, Execution, Parent, deadline_of
from domain.inputs import complete_input
from domain.trigger import ON_SCHEDULE_ALONE, allows_manual
from events.topics import partition_of
from store.interfaces import AlreadyAdmitted, Executions, Locked, Workflow, Workflows
from templates.reference import reference_of

T = TypeVar("T")


class NotStartable(Exception):
    """Nothing can be started by such a request."""


@dataclass(frozen=True)
class Startable:
    """A workflow that may be started, in its current version."""

    workflow: Workflow
    definition: WorkflowDefinition

    def complete(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return an input with its defaults filled in.

        Raises:
            BadInput: it cannot be carried, or does not obey the workflow's schema.
        """
        return complete_input(given, self.definition.input_schema)

    def admission(
        self,
        execution_id: str,
        cause: Cause,
        given: Mapping[str, Any],
        at: datetime,
        *,
        reference: str | None = None,
        asked_at: datetime | None = None,
        triggered_by: Parent | None = None,
    ) -> Admission:
        """Return the admission ``at`` an instant of an execution with an input that is complete.

        It was asked for at that instant, too, or before. Without a ``reference`` it has the one that its definition makes.
        """
        return Admission(
            execution_id=execution_id,
            workflow_id=self.workflow.workflow_id,
            version=self.workflow.version,
            cause=cause,
            created_at=asked_at or at,
            requested_at=at,
            deadline=deadline_of(at, self.definition.timeout),
            retries_left=self.definition.retries,
            total_actions=len(self.definition.actions),
            shard=partition_of(self.workflow.workflow_id),
            input=given or None,
            reference=reference or reference_of(self.definition.reference, given),
            triggered_by=triggered_by,
        )

    @property
    def limit(self) -> str:
        """What the overlap policy says of how many there may be, to follow what is told of the one in the way."""
        overlap = self.definition.overlap
        doing = {"allow": "run at once", "queue": "wait"}.get(overlap.policy)
        return f", and at most {overlap.bound} may {doing}" if doing else ""


class HandOut(Protocol):
    """Publishes the requests of executions of one workflow, in their order."""

    def __call__(self, *executions: Execution) -> Awaitable[None]: ...


class Starter:
    """Starts executions on behalf of others, exactly as the API does it for those who ask there."""

    def __init__(
        self,
        *,
        executions: Executions,
        workflows: Workflows,
        definitions: Definitions,
        hand_out: HandOut,
        tell_ended: Callable[[Execution], Awaitable[None]],
    ) -> None:
        """Prepare; ``tell_ended`` publishes the end of an execution."""
        self.executions = executions
        self.workflows = workflows
        self.definitions = definitions
        self.hand_out = hand_out
        self.tell_ended = tell_ended
        self.places = Places()
        self._unbroken: set[asyncio.Task[Any]] = set()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # by workflow

    async def find(self, workflow_id: str) -> Startable:
        """Return a workflow that may be started by others than its schedule.

        Raises:
            NotStartable: it may not, or there is none.
            UnreadableVersion: its definition cannot be read here.
        """
        workflow = await stubbornly(lambda: self.workflows.get(workflow_id))
        if workflow is None:
            raise NotStartable(f"workflow {workflow_id} does not exist; create it first, then start it again")
        if workflow.archived_at is not None:
            raise NotStartable(f"workflow {workflow_id} is archived; store it again first, then start it again")
        definition = await self.definitions.of(workflow)
        if not allows_manual(definition.trigger):
            raise NotStartable(ON_SCHEDULE_ALONE.format(workflow_id))
        return Startable(workflow, definition)

    async def admit(self, target: Startable, asked: Callable[[datetime], Admission]) -> Opened | AlreadyAdmitted | Locked:
        """Admit what is ``asked`` for at an instant under the overlap policy, and publish what may run by that."""
        answer = await stubbornly(lambda: self._admit(target, asked, now()))
        if isinstance(answer, Opened) and answer.publish is not None:
            await self.hand_out(answer.publish)
        return answer

    async def admit_side_by_side(
        self, target: Startable, asked: Callable[[datetime], Iterable[Admission]]
    ) -> Sequence[Opened | AlreadyAdmitted]:
        """Admit as many of the first ones as there are places, where several may run at once, and publish them in order."""
        workflow_id = target.workflow.workflow_id
        async with self._turns.setdefault(workflow_id, asyncio.Lock()):  # else two would be after the same free places
            answers = await stubbornly(
                lambda: admit_side_by_side(target.definition.overlap, workflow_id, asked(now()), executions=self.executions)
            )
        opened = [answer.publish for answer in answers if isinstance(answer, Opened) and answer.publish is not None]
        if opened:
            await self.hand_out(*opened)
        return answers

    async def unbroken(self, admitting: Coroutine[Any, Any, T]) -> T:
        """Admit, and go on with it where whoever waits for it is cancelled."""
        task = asyncio.get_running_loop().create_task(admitting)
        self._unbroken.add(task)
        task.add_done_callback(self._unbroken.discard)
        return await asyncio.shield(task)

    async def settle(self, timeout: float | None = None) -> None:
        """Wait, so many seconds at most, until what is being admitted unbroken is admitted and published."""
        if self._unbroken:
            await asyncio.wait(set(self._unbroken), timeout=timeout)

    async def _admit(
        self, target: Startable, asked: Callable[[datetime], Admission], at: datetime
    ) -> Opened | AlreadyAdmitted | Locked:
        return await admit_under(
            target.definition.overlap, asked(at), executions=self.executions, tell_ended=self.tell_ended, now=at
        )
