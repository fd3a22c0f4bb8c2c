"""``If-Match``: a change is made only to the version of a workflow that its author has read."""

from typing import Final

from aiohttp import web

from apps.workflows.definitions import current_workflow
from apps.workflows.errors import PreconditionFailed
from store.interfaces import Workflow, Workflows

IF_MATCH: Final = "If-Match"


async def read_before(request: web.Request, workflow_id: str, workflows: Workflows) -> tuple[Workflow, int | None]:
    """Return the workflow as it is before a change, and the version that the change is meant for; None for any.

    Raises:
        PreconditionFailed: it is not at a version that If-Match names.
        UnknownWorkflow: there is none.
    """
    current = await current_workflow(workflow_id, workflows)
    wanted = request.headers.get(IF_MATCH)
    if wanted is None:
        return current, None
    versions = {each.strip() for each in wanted.split(",")}
    if "*" not in versions and f'"{current.version}"' not in versions:
        raise PreconditionFailed(workflow_id, current.version)
    return current, current.version
