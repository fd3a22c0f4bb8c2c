"""What a definition is written for: the secrets, variables and workflows that are there, and those that it misses."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from actions.checking import Needs, Problem, Surroundings, needs, unset
from actions.registry import WorkflowDefinition
from apps.stored_definitions import UnreadableVersion
from apps.workflows.holding import trigger_of
from domain.trigger import ON_SCHEDULE_ALONE, allows_manual
from store.interfaces import Workflow, Workflows

if TYPE_CHECKING:
    from apps.workflows.app import WorkflowsApp

_CAPACITY: Final = 50_000  # names, of 200 bytes or so each with their places
_ABSENT: Final = "workflow {} does not exist; create it before this is to start it"
_ARCHIVED: Final = "workflow {} is archived; store it again before this is to start it"


async def surroundings(needed: Needs, app: "WorkflowsApp") -> Surroundings:
    """Return what is known of where a definition is to run, as far as it asks for that.

    Raises:
        StoreUnavailable: the store cannot be reached.
    """
    secrets = await app.secrets.names() if needed.secrets else frozenset()
    variables = await app.store.variables.values() if needed.variables else {}
    return Surroundings(secrets, app.secrets.unusable, variables, app.settings.publish_own_topics)


async def warnings(needed: Needs, app: "WorkflowsApp") -> list[dict[str, str]]:
    """Return what would make an execution of a stored version fail that began now, field by field.

    What it was written with may have been taken away since.

    Raises:
        StoreUnavailable: the store cannot be reached.
    """
    missed = await unstartable(needed, app.store.workflows)
    return missed + _to_wire(unset(needed, await surroundings(needed, app)))


async def unstartable(needed: Needs, workflows: Workflows) -> list[dict[str, str]]:
    """Return which workflows could not be started that a definition is to start, field by field.

    It is no reason to refuse the definition: they may be written after it.

    Raises:
        StoreUnavailable: the store cannot be reached.
    """
    ids = list(dict.fromkeys(workflow_id for _, workflow_id in needed.workflows))
    targets = await asyncio.gather(*(workflows.get(workflow_id) for workflow_id in ids))
    wrong = {workflow_id: _wrong(workflow_id, target) for workflow_id, target in zip(ids, targets, strict=True)}
    return _to_wire((place, wrong[name]) for place, name in needed.workflows if wrong[name])


def _to_wire(found: Iterable[Problem]) -> list[dict[str, str]]:
    return [{"field": field, "message": message} for field, message in found]


class StoredNeeds:
    """What stored versions need, kept: to compile the templates of a long definition takes most of a second."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int], Needs] = OrderedDict()
        self._size = 0

    async def of(self, workflow_id: str, version: int, definition: WorkflowDefinition) -> Needs:
        """Return what a version needs."""
        key = workflow_id, version
        found = self._kept.get(key)
        if found is None:
            await asyncio.to_thread(definition.prepare)
            found = needs(definition)
            self._keep(key, found)
        self._kept.move_to_end(key)
        return found

    def _keep(self, key: tuple[str, int], found: Needs) -> None:
        if key not in self._kept:  # nobody else was as fast
            self._kept[key] = found
            self._size += _size(found)
        while self._size > _CAPACITY and len(self._kept) > 1:
            _, forgotten = self._kept.popitem(last=False)
            self._size -= _size(forgotten)


def _size(needed: Needs) -> int:
    """Return how much it takes to keep, in names; a version that needs nothing as much as three of them."""
    return 3 + len(needed.secrets) + len(needed.variables) + len(needed.workflows)


def _wrong(workflow_id: str, target: Workflow | None) -> str:
    """Return why a workflow could not be started by another one; empty where it could."""
    if target is None:
        return _ABSENT.format(workflow_id)
    if target.archived_at is not None:
        return _ARCHIVED.format(workflow_id)
    try:
        return "" if allows_manual(trigger_of(target)) else ON_SCHEDULE_ALONE.format(workflow_id)
    except UnreadableVersion as error:
        return str(error)
