"""``If-Match`` and ``If-None-Match``: a change is made only to the version of a workflow that its author means.

RFC 9110 asks for a strong comparison in ``If-Match``, for tags that name bytes. These name a version, which is the same
where a proxy has compressed an answer and weakened its tag: ``W/"2"`` means ``"2"``, or nobody behind such a proxy could
change a workflow.
"""

import re
from typing import Final

from aiohttp import web

from apps.workflows.definitions import current_workflow
from apps.workflows.errors import BadRequest, FieldError, PreconditionFailed
from store.interfaces import Workflow, Workflows

IF_MATCH: Final = "If-Match"
IF_NONE_MATCH: Final = "If-None-Match"
_ANY: Final = "*"
_TAG: Final = re.compile(r'(?:W/)?"[^"\s]*"|\*')


async def read_before(request: web.Request, workflow_id: str, workflows: Workflows) -> tuple[Workflow, int | None]:
    """Return the workflow as it is before a change, and the version that the change is meant for; None for any.

    Raises:
        BadRequest: a condition is none.
        PreconditionFailed: it is not at a version that If-Match names, or at one that If-None-Match does.
        UnknownWorkflow: there is none.
    """
    wanted, unwanted = _tags(request, IF_MATCH), _tags(request, IF_NONE_MATCH)
    current = await current_workflow(workflow_id, workflows)
    own = {_ANY, f'"{current.version}"'}
    if unwanted is not None and unwanted & own:
        raise PreconditionFailed(workflow_id, current.version, is_ruled_out=True)
    if wanted is None:
        return current, None
    if not wanted & own:
        raise PreconditionFailed(workflow_id, current.version)
    return current, current.version


def _tags(request: web.Request, header: str) -> set[str] | None:
    """Return the entity tags in a header, weak ones as strong ones; None where it is not sent."""
    value = request.headers.get(header)
    if value is None:
        return None
    tags = {each.strip() for each in value.split(",")}
    if not all(_TAG.fullmatch(tag) for tag in tags):
        rule = 'must be the ETag as it was read: a version in quotes, as in "1", or * for any'
        raise BadRequest("A condition of the request is not valid.", [FieldError(header, rule)])
    return {tag.removeprefix("W/") for tag in tags}
