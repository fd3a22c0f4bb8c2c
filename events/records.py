"""The typed records on the wire.

Every value is a JSON object in snake_case; instants are RFC 3339 in UTC. Fields that a version does not know are ignored,
so that services of neighbouring versions understand each other, but not in a request that somebody else has written; a
missing required field or a wrong type makes a record malformed. ``tests/events/golden/`` holds a stored payload of every
version.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, Optional

import faust
from pydantic import AwareDatetime
from typing_extensions import NotRequired, TypedDict


class Event(faust.Record, abstract=True, include_metadata=False, serializer="json"):
    """Base of the records. They are checked on the wire, by :mod:`events.wire`, not when a service makes one."""

    @classmethod
    def _BUILD_init(cls) -> Callable[..., None]:
        """Return the ``__init__`` that Faust gives the class.

        Faust's own sets each field through a descriptor that would coerce or validate, were it told to: 40 to 50 µs for one
        of these records, of which every execution makes four. This one takes 3.
        """
        names = frozenset(cls._options.fields)
        defaults = {"__evaluated_fields__": frozenset(), **cls._options.defaults}
        required = names - cls._options.defaults.keys()

        def __init__(self: Event, **values: Any) -> None:
            if not required <= values.keys() <= names:
                missing, unknown = sorted(required - values.keys()), sorted(values.keys() - names)
                raise TypeError(f"{cls.__name__}: missing fields {missing}, unknown fields {unknown}")
            self.__dict__.update(defaults)
            self.__dict__.update(values)

        return __init__


class RestartRecord(TypedDict):
    """An execution was handed out again, for another reason than a retry or a delay."""

    at: AwareDatetime
    why: str  # lost, handed-back, unclaimed, released, timed-out, given-up or cancelled
    attempt: int
    index: int  # of the step that it goes on with; of that it was at, where it was cut short: timed-out, given-up, cancelled
    runner: NotRequired[str]  # that was interrupted
    since: NotRequired[AwareDatetime]  # when it had come to the step, or last went on with it, where it was interrupted
    reason: NotRequired[str]  # why it was cut short


class ParentRecord(TypedDict):
    """The action that has triggered an execution, and where it stands."""

    execution_id: str
    workflow_id: str
    action_id: str


class ExecutionRequest(Event, namespace="workflow.ExecutionRequest"):
    """Asks the runners for one execution of a workflow; key: workflow_id.

    Whoever publishes one by hand gives ``workflow_id`` and nothing else, or also an ``execution_id`` (a UUID) so that
    publishing twice starts once, an ``input`` and a ``reference``. The other fields are set by the services, which admit an
    execution before they publish.
    """

    workflow_id: str
    execution_id: Optional[str] = None
    epoch: int = 0  # 0: not admitted yet
    version: int = 0  # of the definition; 0: the current one
    cause: str = "event"  # manual, schedule, backfill, event, webhook or workflow
    attempt: int = 1
    retries_left: int = 0
    total_actions: int = 0
    lost: bool = False  # the attempt before was lost with its runner
    created_at: Optional[datetime] = None
    requested_at: Optional[datetime] = None
    due_at: Optional[datetime] = None
    origin_id: Optional[str] = None  # the finished execution that this one repeats or takes up
    takes_up: Optional[bool] = None  # where it failed; None: from the first action
    carried: Optional[int] = None  # how many results were taken over from it: those actions are not run
    triggered_by: Optional[ParentRecord] = None  # where an action has asked for it
    # Where the execution stood when it was handed out anew; None: as in the beginning.
    lost_attempts: Optional[int] = None
    restarts: Optional[list[RestartRecord]] = None  # the last ones, this one included
    recorded: Optional[int] = None  # results recorded so far
    started_at: Optional[datetime] = None
    deadline: Optional[datetime] = None
    input: Optional[dict[str, Any]] = None  # what the actions' templates see as input
    reference: Optional[str] = None  # what users know it by: an order, a customer


class ExecutionSignal(Event, namespace="workflow.ExecutionSignal"):
    """Tells an execution what a step of it waits for (``wait-for-signal``); key: workflow_id.

    Published by anybody; the services send signals without it.
    """

    workflow_id: str
    execution_id: str
    signal: str  # its name
    payload: Optional[dict[str, Any]] = None  # what later steps see of it


class ActionResult(Event, namespace="workflow.ActionResult"):
    """What one attempt of one action did, and what the execution is from now on; key: workflow_id."""

    workflow_id: str
    execution_id: str
    epoch: int
    seq: int  # counts up within an epoch
    version: int
    runner: str
    attempt: int
    action_id: str
    index: int  # position of the action, from 0
    status: str  # of the action: ok, failed, skipped, unknown, or waiting, which is followed by another one
    execution_status: str  # running, waiting, ok or failed
    retries_left: int
    total_actions: int
    started_at: datetime
    finished_at: datetime
    logs: list[str] = []  # noqa: RUF012 - never shared: whoever makes a record gives its logs
    error: Optional[dict[str, Any]] = None
    output: Optional[dict[str, Any]] = None
    kind: Optional[str] = None  # of the action
    wake_at: Optional[datetime] = None  # when the retry is due
    reason: Optional[str] = None
    # Where the execution stood when this run claimed it; None: it is the first run.
    recorded: Optional[int] = None  # results recorded before this run
    execution_started_at: Optional[datetime] = None
    next_index: Optional[int] = None  # of the step to run after this one
    continued: Optional[bool] = None  # it failed, and that does not count
    deadline: Optional[datetime] = None  # of the handlers, which follow this action; None: as it was
    event: Literal["action-result"] = "action-result"


class ExecutionEnded(Event, namespace="workflow.ExecutionEnded"):
    """An execution ended without a result, or was skipped; on the topic of the results; key: workflow_id."""

    workflow_id: str
    execution_id: str
    ended: str  # cancelled, failed or skipped
    at: datetime
    reason: str
    version: int = 0
    # Where the execution stood: the end of one that was skipped, or never published, is all that the log says of it.
    cause: Optional[str] = None
    epoch: Optional[int] = None
    attempt: Optional[int] = None
    lost_attempts: Optional[int] = None
    restarts: Optional[list[RestartRecord]] = None  # as in the request
    cut_off_since: Optional[datetime] = None  # a runner was at a step: when it had come to it, or last went on with it
    retries_left: Optional[int] = None
    total_actions: Optional[int] = None
    recorded: Optional[int] = None  # results recorded until then
    created_at: Optional[datetime] = None
    due_at: Optional[datetime] = None
    started_at: Optional[datetime] = None
    origin_id: Optional[str] = None  # as in the request
    takes_up: Optional[bool] = None
    carried: Optional[int] = None
    triggered_by: Optional[ParentRecord] = None
    reference: Optional[str] = None
    event: Literal["execution-ended"] = "execution-ended"


class WakeUp(Event, namespace="workflow.WakeUp"):
    """Tells the scheduler that an execution waits for an instant (a retry, a delay, a signal); key: workflow_id."""

    workflow_id: str
    execution_id: str
    epoch: int
    wake_at: datetime
    delay: Optional[bool] = None  # a step asked for the wait, rather than a retry
    event: Literal["wake-up"] = "wake-up"


class WorkflowChanged(Event, namespace="workflow.WorkflowChanged"):
    """Tells the scheduler that a definition was stored, changed or archived; key: workflow_id."""

    workflow_id: str
    version: int
    event: Literal["workflow-changed"] = "workflow-changed"


class HolderEnded(Event, namespace="workflow.HolderEnded"):
    """Tells the scheduler that an execution which others may be queued behind has ended; key: workflow_id."""

    workflow_id: str
    event: Literal["holder-ended"] = "holder-ended"


class BackfillAsked(Event, namespace="workflow.BackfillAsked"):
    """Tells the scheduler that ticks of the past are to be made up for; key: workflow_id."""

    workflow_id: str
    event: Literal["backfill-asked"] = "backfill-asked"


class DeadLetter(Event, namespace="workflow.DeadLetter"):
    """A record that no agent could take, with the reason; the raw bytes are base64; key: that of the record."""

    topic: str
    partition: int
    offset: int
    reason: str
    at: datetime
    key: Optional[str] = None  # base64
    value: Optional[str] = None  # base64
