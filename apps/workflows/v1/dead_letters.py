"""``/dead-letters``: records that no service could take, and how they are sent again after a fix."""

import base64
import re
from typing import Annotated, Any, ClassVar, Final

import orjson
from aiohttp import web
from pydantic import AfterValidator, Field, JsonValue

from apps.operations import Answer, Operation
from apps.workflows import representations
from apps.workflows.answers.dead_letters import DeadLetterPage, DeadLetterShown, Resent
from apps.workflows.bodies import read_model
from apps.workflows.errors import BadRequest, FieldError, KafkaUnavailable, NotResendable, UnknownDeadLetter
from apps.workflows.queries import Page, read_query
from apps.workflows.views import Resource
from domain.access import Scope
from domain.model import Model
from events.letter_box import LettersUnreadable, StoredLetter

_ID: Final = re.compile(r"([0-9]{1,4})-([0-9]{1,18})")
_REST: Final = re.compile(r"([0-9]{1,4}\.[0-9]{1,18})(,[0-9]{1,4}\.[0-9]{1,18})*")


def _is_rest(cursor: str) -> str:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except ValueError:
        text = ""
    if not _REST.fullmatch(text):
        raise ValueError("is not a cursor of this list; send nextCursor as it was answered, or leave it out")
    return text


class DeadLetterQuery(Page):
    """Which dead letters to list."""

    cursor: Annotated[str, Field(max_length=500), AfterValidator(_is_rest)] | None = None

    def before(self) -> dict[int, int] | None:
        """Return where each partition is to be read on."""
        if self.cursor is None:
            return None
        pairs = (pair.split(".") for pair in self.cursor.split(","))
        return {int(partition): int(offset) for partition, offset in pairs}


class DeadLetters(Resource):
    """The list."""

    view_name = "dead-letters"
    view_path = "/dead-letters"
    operations: ClassVar = {
        "get": Operation(
            "listDeadLetters",
            "List records that no service could take, newest first",
            {200: Answer("A page of the list.", DeadLetterPage)},
            tag="dead letters",
            query=DeadLetterQuery,
            refusals=(LettersUnreadable,),
            uses_database=False,
        )
    }

    async def get(self, request: web.Request) -> web.Response:
        """Return a page of dead letters, newest first."""
        query = read_query(DeadLetterQuery, request)
        page = await self.app.letter_box.newest(query.limit, query.before())
        cursor = None
        if page.rest is not None:
            text = ",".join(f"{partition}.{offset}" for partition, offset in sorted(page.rest.items()))
            cursor = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
        return self.answer({"items": [representations.dead_letter(letter) for letter in page.letters], "nextCursor": cursor})


class OneDeadLetter(Resource):
    """One dead letter."""

    view_name = "dead-letter"
    view_path = "/dead-letters/{letter_id}"
    operations: ClassVar = {
        "get": Operation(
            "getDeadLetter",
            "Show a record that no service could take",
            {200: Answer("The dead letter.", DeadLetterShown)},
            tag="dead letters",
            refusals=(UnknownDeadLetter, LettersUnreadable),
            uses_database=False,
        )
    }

    async def get(self, request: web.Request, letter_id: str) -> web.Response:
        """Return a dead letter."""
        return self.answer(representations.dead_letter(await _find(self, letter_id)))


class Replacement(Model):
    """What is sent instead of what came."""

    value: JsonValue = Field(default=None, description="The record to send; text is sent as it is. Absent: as it came.")


class DeadLetterResend(Resource):
    """Where a dead letter is sent again."""

    view_name = "dead-letter-resend"
    view_path = "/dead-letters/{letter_id}/resend"
    operations: ClassVar = {
        "post": Operation(
            "resendDeadLetter",
            "Send a record again, as it came or mended",
            {202: Answer("Kafka has it.", Resent)},
            tag="dead letters",
            scope=Scope.OPERATOR,
            body=Replacement,
            body_is_required=False,
            refusals=(UnknownDeadLetter, NotResendable, KafkaUnavailable, LettersUnreadable),
        )
    }

    async def post(self, request: web.Request, letter_id: str) -> web.Response:
        """Send the record, or its replacement, to the topic it came from, under its key."""
        replacement = (await read_model(Replacement, request, optional=True)).value
        stored = await _find(self, letter_id)
        topic = stored.letter.topic
        publish = self.app.resend.get(topic)
        if publish is None:
            raise NotResendable(letter_id, topic)
        value = stored.value or b""
        if replacement is not None:
            value = replacement.encode() if isinstance(replacement, str) else orjson.dumps(replacement)
        if not await publish(stored.key, value):
            raise KafkaUnavailable("Kafka did not acknowledge the record in time; look whether it arrived, or send it again")
        return self.answer({"status": "resent", "id": letter_id, "topic": topic}, status=202)


VIEWS: Final[tuple[Any, ...]] = (DeadLetters, OneDeadLetter, DeadLetterResend)


async def _find(view: Resource, letter_id: str) -> StoredLetter:
    match = _ID.fullmatch(letter_id)
    if match is None:
        raise BadRequest("The address is not valid.", [FieldError("id", "must be partition-offset, as in 3-17")])
    found = await view.app.letter_box.one(int(match[1]), int(match[2]))
    if found is None:
        raise UnknownDeadLetter(letter_id)
    return found
