"""Definitions, cached: a version never changes once it is stored.

What may have many templates has them compiled in a thread, before it is used: that can take longer than the heartbeats of
this runner may stay away.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from actions.registry import WorkflowDefinition
from apps.stored_definitions import read_definition
from store.interfaces import Workflow, Workflows

CAPACITY = 10_000
MOST_CHARACTERS = 10_000_000  # characters of JSON of all of them; each takes up to 70 bytes once the templates are compiled
SMALL = 3_000  # characters of JSON; more than two tenths of a second is not spent on the templates in them


class UnknownVersion(Exception):
    """A request names a version that the store does not have."""

    def __init__(self, workflow_id: str, version: int) -> None:
        super().__init__(f"workflow {workflow_id} has no version {version}")
        self.workflow_id = workflow_id
        self.version = version


class Definitions:
    """Reads definitions through a bounded cache (least recently used goes first)."""

    def __init__(self, workflows: Workflows) -> None:
        self._workflows = workflows
        self._cache: OrderedDict[tuple[str, int], tuple[WorkflowDefinition, int]] = OrderedDict()  # with its characters
        self._characters = 0
        self._preparing = asyncio.Lock()

    def cached(self, workflow_id: str, version: int) -> WorkflowDefinition | None:
        """Return the definition if it is in the cache."""
        found = self._cache.get((workflow_id, version))
        if found is None:
            return None
        self._cache.move_to_end((workflow_id, version))
        return found[0]

    async def get(self, workflow_id: str, version: int) -> WorkflowDefinition:
        """Return one version of a definition.

        Raises:
            UnknownVersion: the store has no such version.
            UnreadableVersion: it cannot be read here.
            StoreUnavailable: the store cannot be reached.
        """
        definition = self.cached(workflow_id, version)
        if definition is None:
            document = await self._workflows.get_version(workflow_id, version)
            if document is None:
                raise UnknownVersion(workflow_id, version)
            definition = await self._keep(workflow_id, version, document)
        return definition

    async def of(self, workflow: Workflow) -> WorkflowDefinition:
        """Return the definition of a workflow that has just been read.

        Raises:
            UnreadableVersion: it cannot be read here.
        """
        return self.cached(workflow.workflow_id, workflow.version) or await self._keep(
            workflow.workflow_id, workflow.version, workflow.definition
        )

    async def _keep(self, workflow_id: str, version: int, document: Mapping[str, Any]) -> WorkflowDefinition:
        definition = read_definition(workflow_id, version, document)
        characters = len(definition.model_dump_json())
        if characters > SMALL:
            async with self._preparing:
                prepared = self.cached(workflow_id, version)  # by whoever asked first
                if prepared is not None:
                    return prepared
                await asyncio.to_thread(definition.prepare)
        self._put((workflow_id, version), definition, characters)
        return definition

    def _put(self, key: tuple[str, int], definition: WorkflowDefinition, characters: int) -> None:
        self._characters += characters - self._cache.get(key, (definition, 0))[1]
        self._cache[key] = definition, characters
        while len(self._cache) > CAPACITY or (self._characters > MOST_CHARACTERS and len(self._cache) > 1):
            _, (_, forgotten) = self._cache.popitem(last=False)
            self._characters -= forgotten
