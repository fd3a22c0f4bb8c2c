"""The process in which :mod:`apps.runner.isolation` runs one action: ``python -m apps.runner.isolated``.

It has the environment of its runner, and therefore the same settings, kinds of actions and secrets. Nothing is shared with
the runner: connections, tokens, and the limits on requests to a host, are its own.
"""

import asyncio
import logging.config
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aiokafka import AIOKafkaProducer

from actions.http.connections import Connections
from actions.registry import run_action
from actions.running import Context, Outcome, Resources, redacted
from apps import kafka_security
from apps.database import store_of
from apps.logs import logging_config
from apps.runner.attempts import bounded, failed_by
from apps.runner.children import Children
from apps.runner.definitions import Definitions
from apps.runner.isolation import framed, receive
from apps.runner.settings import RunnerSettings
from apps.runner.signals import signalled_in
from apps.runner.startable import Starter
from apps.secret_values import secret_values
from domain.execution import Execution
from events.folding import ended_record, request_record
from events.records import Event
from events.topics import ACTION_RESULT, EXECUTION, partition_of
from events.wire import encode


class Own:
    """What the action may use, opened when it does."""

    def __init__(self, settings: RunnerSettings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._store = store_of(settings, user="runner")
        starter = Starter(
            executions=self._store.executions,
            workflows=self._store.workflows,
            definitions=Definitions(self._store.workflows),
            hand_out=self._hand_out,
            tell_ended=self._tell_ended,
        )
        children = Children(starter)
        self.resources = Resources(
            http=Connections(settings.http()),
            secrets=secret_values(settings, self._store.secrets.all),
            send=self._send,
            trigger=children.trigger,
            ends=children.ends,
            signalled=signalled_in(self._store.signals),
            publish_own_topics=settings.publish_own_topics,
        )

    async def _send(
        self, topic: str, key: bytes | None, value: bytes, headers: Sequence[tuple[str, bytes]]
    ) -> tuple[int, int]:
        metadata = await (await self._opened()).send_and_wait(topic, value, key=key, headers=list(headers))
        return metadata.partition, metadata.offset

    async def _hand_out(self, *executions: Execution) -> None:
        for execution in executions:
            await self._publish(EXECUTION.name, execution.workflow_id, request_record(execution))

    async def _tell_ended(self, execution: Execution) -> None:
        await self._publish(ACTION_RESULT.name, execution.workflow_id, ended_record(execution))

    async def _publish(self, topic: str, workflow_id: str, event: Event) -> None:
        producer = await self._opened()
        await producer.send_and_wait(topic, encode(event), key=workflow_id.encode(), partition=partition_of(workflow_id))

    async def _opened(self) -> AIOKafkaProducer:
        if self._producer is None:
            self._producer = kafka_security.broker(self._settings).producer()
            await self._producer.start()
        return self._producer


async def _run(action: Any, facts: Context, resources: Resources) -> Outcome:
    context = replace(facts, resources=resources)
    try:
        outcome = bounded(await run_action(action, context))
    except Exception as error:  # as in the runner, whatever it is
        outcome = failed_by(error, context.execution_id, context.action_id)
    # Here alone are those secrets known for certain that it has asked for itself.
    return redacted(outcome, resources.secrets.redactor)


async def _serve(answers: Any) -> None:
    loop = asyncio.get_running_loop()
    requests = asyncio.StreamReader(limit=2**26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)
    settings = RunnerSettings()
    # What is logged here goes to the runner's log, and must be redacted as that is.
    logging.config.dictConfig(logging_config("runner", settings))
    resources = Own(settings).resources
    answers.write(framed("ready"))
    action, facts, known = await receive(requests)
    # The action's templates were rendered by the runner, with secrets that nobody may ask for here.
    resources.secrets.redactor.know(known)
    running = asyncio.ensure_future(_run(action, facts, resources))
    gone = asyncio.ensure_future(requests.read())
    await asyncio.wait([running, gone], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        answers.write(framed(running.result()))


def main() -> None:
    """Run one action, and end without ado: nothing here is worth a farewell."""
    # What an action prints goes to the runner's log.
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0) as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        asyncio.run(_serve(answers))
    os._exit(0)


if __name__ == "__main__":
    main()
