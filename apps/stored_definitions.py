"""Definitions as they are stored, read by a process that need not know all that is in them.

A plug-in may be missing here, or the definition may be of a later version of these services: whoever reads it says so,
rather than failing as if it was broken.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from actions.registry import WorkflowDefinition


class UnreadableVersion(Exception):
    """A stored definition holds what this process does not know: a kind of action of a plug-in, or of a later version."""

    def __init__(self, workflow_id: str, version: int, error: ValidationError) -> None:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        super().__init__(
            f"version {version} of workflow {workflow_id} cannot be read here: {where}: {first['msg']}; run the same version"
            " and the same ACTION_PLUGINS in every service"
        )
        self.workflow_id = workflow_id
        self.version = version


def read_definition(workflow_id: str, version: int, document: Mapping[str, Any]) -> WorkflowDefinition:
    """Return the definition of a version.

    Raises:
        UnreadableVersion: it cannot be read here.
    """
    with reading(workflow_id, version):
        return WorkflowDefinition.from_document(dict(document))


@contextmanager
def reading(workflow_id: str, version: int) -> Iterator[None]:
    """Read a part of the definition of a version.

    Raises:
        UnreadableVersion: it cannot be read here.
    """
    try:
        yield
    except ValidationError as error:
        raise UnreadableVersion(workflow_id, version, error) from error
