"""``wf doctor``: looks at everything that the system needs, and says how to mend what is wrong.

Kafka and MongoDB are asked directly, as the services would be, with the settings of this environment (``KAFKA_BOOTSTRAP``,
``MONGODB_URL``): run it where the services run, or leave them out with ``--api-only``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli import output
from apps.cli.client import PREFIX, Client
from apps.cli.environment import said, service_settings
from apps.cli.errors import ExitCode, WfError
from apps.cli.options import DEFAULT_URL, Format, Json, Output, Url, chosen

if TYPE_CHECKING:
    from rich.text import Text

    from apps.settings import ServiceSettings

CLOCKS_MAY_DIFFER = 3.0  # seconds
TIMEOUT = 10.0
LATE = 30.0  # seconds
NEEDED = {"runner": "without it nothing runs", "scheduler": "without it no tick is fired and nothing is retried"}


@dataclass(frozen=True)
class Finding:
    """What one look found."""

    what: str
    result: str  # ok, warning or failed
    detail: str
    mend: str = ""


def doctor(
    api_only: Annotated[bool, typer.Option("--api-only", help="Do not ask Kafka and MongoDB themselves.")] = False,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Check connectivity, secrets, topics, indexes, clocks and versions, and say how to mend what is wrong."""
    form = chosen(output_format, as_json)
    with output.progress("looking"):
        findings = _api(url)
        if not api_only:
            findings += asyncio.run(_dependencies())
    if form is not Format.TABLE:
        output.data([vars(finding) for finding in findings], form)
    else:
        output.facts((output.status(finding.result), _words(finding)) for finding in findings)
    failed = sum(1 for finding in findings if finding.result == "failed")
    if failed:
        raise WfError(
            f"{failed} of {len(findings)} checks failed",
            hint="Each says how to mend it." if form is Format.TABLE else "",
            code=ExitCode.FAILED,
        )


def _words(finding: Finding) -> "Text":
    words = output.styled(output.printable(f"{finding.what}: {finding.detail}"))
    return words.append(f"\n{output.printable(finding.mend)}", "dim") if finding.mend else words


def _api(url: str) -> list[Finding]:
    findings: list[Finding] = []
    try:
        with Client(url) as client:
            asked = datetime.now(timezone.utc)
            status, headers, answer = client.look("/ready")
            answered = datetime.now(timezone.utc)
            findings.append(Finding("service", "ok", f"{url} answers"))
            for name, state in answer.get("checks", {}).items():
                good = state == "ok"
                mend = "" if good else "See the log of the workflows service; it waits for what is missing."
                findings.append(Finding(f"service: {name}", "ok" if good else "failed", state, mend))
            findings.append(_clock(headers.get("Date"), asked, answered))
            status, _, who = client.look("/session")
            if status != 200:
                detail = str(who.get("detail", status))
                findings.append(Finding("access", "failed", detail, "Give a token with --token, WF_TOKEN or a profile."))
            else:
                findings.append(Finding("access", "ok", f"{who.get('name')}, scope {who.get('scope')}"))
                status, _, document = client.look("/openapi.json")
                findings.append(_versions(document.get("info", {}).get("version")))
                findings += _others(client.get("system"))
                status, _, secrets = client.look(f"{PREFIX}/secrets")
                if status == 200:  # otherwise it is said already what is wrong with the database
                    findings += _secrets(secrets.get("items", []))
    except WfError as error:
        findings.append(Finding("service", "failed", error.message, error.hint))
    return findings


def _clock(theirs: str | None, asked: datetime, answered: datetime) -> Finding:
    if not theirs:
        return Finding("clock", "warning", "the service does not tell its time")
    # It told it at some moment in between, in whole seconds.
    told = parsedate_to_datetime(theirs)
    apart = max((asked - told).total_seconds() - 1, (told - answered).total_seconds())
    if apart > CLOCKS_MAY_DIFFER:
        mend = "Set the clocks by NTP (timedatectl set-ntp true): schedules follow the scheduler's clock."
        return Finding("clock", "warning", f"{apart:.0f} s apart from the service's", mend)
    return Finding("clock", "ok", "agrees with the service's")


def _versions(theirs: str | None) -> Finding:
    mine = version("workflow-automation")
    if theirs == mine:
        return Finding("version", "ok", f"{mine}, as the service")
    return Finding("version", "warning", f"wf is {mine}, the service {theirs}", "Install the same version here.")


def _others(system: Mapping[str, Any]) -> list[Finding]:
    """Return how the runners and the scheduler are; what the API could not find out is among the findings already."""
    findings: list[Finding] = []
    consumers = output.members(system, "consumers")
    for name, without in NEEDED.items():
        if name in consumers:
            working = len(consumers[name].get("members") or ())
            mend = "" if working else f"Start one (wf-{name} worker), or look at its log: {without}."
            findings.append(Finding(f"{name}s", "ok" if working else "failed", f"{working} at work", mend))
    late = output.members(system, "scheduler").get("latenessSeconds") or 0
    if late > LATE:
        mend = "A tick or retry is due and not released: look at the log of the scheduler."
        findings.append(Finding("lateness", "warning", f"{output.span(late)} behind", mend))
    letters = system.get("deadLetters")
    if letters:
        mend = "wf dead-letters list shows them; after a fix, wf dead-letters resend sends them again."
        findings.append(Finding("dead letters", "ok", f"{letters} kept", mend))
    return findings


def _secrets(items: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Return which secrets the API cannot use; without their key, the stored ones are lost to it."""
    from vault.values import MOUNTED_WINS, TOO_SHORT

    findings: list[Finding] = []
    for item in items:
        name, problem = item["name"], item.get("problem")
        if not problem:
            continue
        mend = {
            MOUNTED_WINS: f"wf secrets delete {name} removes the stored one, which is not used.",
            TOO_SHORT: f"Set a longer one: wf secrets set {name}, or where the services have it from.",
        }.get(
            problem,
            "Give every service the key that it was encrypted with (SECRETS_KEY_FILE or SECRETS_KEY). Where that is lost: a "
            f"new one (wf secrets key), and then wf secrets set {name}.",
        )
        result = "warning" if problem == MOUNTED_WINS else "failed"
        findings.append(Finding(f"secret {name}", result, problem, mend))
    return findings or [Finding("secrets", "ok", f"{len(items)} can be used")]


async def _dependencies() -> list[Finding]:
    try:
        settings = service_settings()
    except WfError as error:
        return [Finding("settings", "failed", detail, error.hint) for detail in error.details]
    return [*await _bounded("kafka", _kafka, settings), *await _bounded("mongodb", _mongodb, settings)]


class _Unreached(Exception):
    """Something does not let us in; ``mend`` says how to change that."""

    def __init__(self, detail: str, mend: str) -> None:
        super().__init__(detail)
        self.mend = mend


async def _bounded(
    name: str, look: "Callable[[ServiceSettings], Awaitable[list[Finding]]]", settings: "ServiceSettings"
) -> list[Finding]:
    variable = {"kafka": "KAFKA_BOOTSTRAP", "mongodb": "MONGODB_URL"}[name]
    try:
        return await asyncio.wait_for(look(settings), TIMEOUT)
    except Exception as error:
        from store.interfaces import StoreRefused

        detail = said(error) or (
            f"no answer within {TIMEOUT:g} s" if isinstance(error, asyncio.TimeoutError) else repr(error)
        )
        mend = f"Start it (wf up, docker compose up), or name it with {variable}. Where it does not stay: is its disk full?"
        if isinstance(error, _Unreached):
            mend = error.mend
        elif isinstance(error, StoreRefused):
            mend = "Its log says why; its disk may be full."
        return [Finding(name, "failed", detail[:300], f"{mend} --api-only leaves it out.")]


async def _kafka(settings: "ServiceSettings") -> list[Finding]:
    from aiokafka.errors import KafkaError

    from apps import kafka_security
    from apps.cli import kafka_refusals
    from events.broker import close
    from events.topics import ALL, PARTITIONS

    admin = kafka_security.broker(settings).admin()
    try:
        with kafka_refusals.collected() as refusals:
            try:
                await admin.start()
            except KafkaError as error:
                raise (_Unreached(str(refusals), refusals.mend) if refusals else error) from None
        there = set(await admin.list_topics())
        findings = [Finding("kafka", "ok", f"{settings.kafka_bootstrap} answers")]
        wanted = [topic.name for topic in ALL]
        missing = [name for name in wanted if name not in there]
        if missing:
            findings.append(Finding("topics", "failed", f"missing: {', '.join(missing)}", "Start a service: it makes them."))
        for description in await admin.describe_topics([name for name in wanted if name in there]):
            found = len(description["partitions"])
            leaderless = [each for each in description["partitions"] if each["leader"] < 0]
            if found != PARTITIONS:
                mend = "Stop the services, delete the topic and start them: open executions are published anew."
                detail = f"{found} partitions, expected {PARTITIONS}"
                findings.append(Finding(f"topic {description['topic']}", "failed", detail, mend))
            elif leaderless:
                detail = f"{len(leaderless)} partitions have no leader"
                findings.append(Finding(f"topic {description['topic']}", "failed", detail, "Look at the brokers' logs."))
            else:
                findings.append(Finding(f"topic {description['topic']}", "ok", f"{found} partitions"))
        return findings
    finally:
        await close(admin)


async def _mongodb(settings: "ServiceSettings") -> list[Finding]:
    from apps.database import store_of

    store = store_of(settings)
    try:
        await store.ping()
        findings = [Finding("mongodb", "ok", f"database {settings.mongodb_database} answers")]
        missing: dict[str, Any] = await store.missing_indexes()
        for collection, names in missing.items():
            mend = "Start a service: it makes them. If it cannot, its log says why."
            findings.append(Finding(f"indexes of {collection}", "failed", f"missing: {', '.join(names)}", mend))
        if not missing:
            findings.append(Finding("indexes", "ok", "all there"))
        return findings
    finally:
        await store.stop()
