"""Compares every document with what the log says of its execution.

Life cycle of a verification: both topics are read into a scratch file, up to where they end now. Its records, by ascending
execution id, are merged with the documents, by ascending id as well, so that either side may have what the other lacks.
Whatever differs is a suspect at first: the system is running, and the log was read before the documents. Suspects are
looked at again, with the records that came since, until they agree or have not moved between two looks.

An open execution of which the log tells more than is stored is behind: the database was put back to an older state. While a
runner is at work, and its heartbeat goes on, that may be what it has told and not written yet.

An execution whose beginning the log no longer holds (topic retention, a wiped broker) cannot be told by it: it is counted,
and is no difference. Part of the beginning of one that takes up where another failed is that other one.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol

from apps.projection.comparison import Difference, differences
from apps.projection.log import Log, decode
from apps.projection.scratch import Scratch
from domain.execution import Execution
from events.history import Told, fold, origin_of
from store.interfaces import Heartbeat

PAGE = 500
LOOKS = 8  # at suspects; one that changes all the time is reported as it was last seen
GONE = "gone"  # the state of a suspect that needs no second look
LOOK_AGAIN_AFTER = 1.5  # seconds; a result is written within milliseconds, a heartbeat may take longer


class Documents(Protocol):
    """What is asked of the store."""

    def scan(self, *, workflow_id: str | None = None) -> AsyncIterator[Execution]:
        """Yield executions in the order of their ids."""

    async def get(self, execution_id: str) -> Execution | None:
        """Return one execution; concurrent calls share one query."""


class Runners(Protocol):
    """What is asked of the heartbeats."""

    async def all(self) -> Sequence[Heartbeat]:
        """Return every heartbeat that was written and not removed."""


class Progress(Protocol):
    """Where a verification tells how far it is."""

    def step(self, name: str, total: int | None) -> None:
        """Say that a step begins, of so many units."""

    def advance(self, count: int) -> None:
        """Say that so many more units are done."""


class Verdict(Enum):
    """What is said of one execution."""

    CLEAN = "clean"
    UNCOVERED = "not covered by the log"
    DIFFERENT = "different"


@dataclass(frozen=True)
class Finding:
    """One execution, compared."""

    verdict: Verdict
    execution_id: str
    workflow_id: str
    told: Told
    stored: Execution | None
    differences: tuple[Difference, ...] = ()
    runners_at_work: bool = False

    @property
    def can_be_rebuilt(self) -> bool:
        """Whether the log says enough of it to write it, and no service may be about to write it."""
        folded = self.told.execution
        if folded is None or not self.told.complete:
            return False
        return self.stored is None or not folded.status.is_open or (self.is_behind and not self.runners_at_work)

    @property
    def is_behind(self) -> bool:
        """Whether it is open, and stored as it was earlier than the log tells."""
        folded, stored = self.told.execution, self.stored
        if folded is None or stored is None or not (folded.status.is_open and stored.status.is_open):
            return False
        return (stored.epoch, stored.seq) < (folded.epoch, folded.seq)

    @property
    def state(self) -> str:
        """What it looked like; the same again means that nothing moved in between."""
        if self.stored is None and self.told.execution is not None and not self.told.execution.status.is_open:
            return GONE  # its document was written before the first of its records
        return hashlib.sha256(repr((self.told.records, self.stored)).encode()).hexdigest()


@dataclass
class Report:
    """What a verification found."""

    records: int = 0
    clean: int = 0
    uncovered: int = 0
    open: int = 0  # documents that are open, and executions that the log says are open
    differing: int = 0
    findings: list[Finding] = field(default_factory=list)  # the first of those that differ

    @property
    def is_clean(self) -> bool:
        """Whether nothing differs."""
        return self.differing == 0


class Verification:
    """One run; the caller owns the log, the documents and the scratch file."""

    def __init__(
        self,
        *,
        log: Log,
        documents: Documents,
        runners: Runners,
        scratch: Scratch,
        progress: Progress,
        workflow_id: str | None = None,
        expired_before: datetime | None = None,
    ) -> None:
        """Prepare; executions that ended ``expired_before`` may be gone from the documents."""
        self._expired_before = expired_before
        self._log = log
        self._documents = documents
        self._runners = runners
        self._runners_at_work = True
        self._scratch = scratch
        self._progress = progress
        self._workflow_id = workflow_id

    async def run(self, *, keep: int = 50) -> Report:
        """Compare everything and return what was found, with the first ``keep`` differences.

        Raises:
            aiokafka.errors.KafkaError, StoreUnavailable: one of the two cannot be reached.
        """
        report = Report()
        beats = await self._beats()
        report.records = await self._read("reading the log")
        self._progress.step("comparing", self._scratch.executions())
        if self._scratch.refers:
            self._scratch.index()
        suspects: list[tuple[str, str]] = []
        async for finding in self._compare_all():
            told, stored = finding.told.execution, finding.stored
            if stored.status.is_open if stored is not None else told is not None and told.status.is_open:
                report.open += 1
            if finding.verdict is Verdict.DIFFERENT:
                suspects.append((finding.execution_id, finding.state))
            else:
                self._count(report, finding)
            if len(suspects) >= PAGE:
                self._scratch.suspect(suspects)
                suspects.clear()
        self._scratch.suspect(suspects)
        for _ in range(LOOKS):
            if not self._scratch.suspected(but=GONE):
                break
            await asyncio.sleep(LOOK_AGAIN_AFTER)
            report.records += await self._read("reading what came since")
            if not await self._look_again(report):
                break
        # An open one that differs is looked at for longer than it takes to the next heartbeat.
        self._runners_at_work = bool(await self._beats() - beats)
        report.differing = self._scratch.suspected()
        async for finding in self.different():
            if len(report.findings) >= keep:
                break
            report.findings.append(finding)
        return report

    async def different(self) -> AsyncIterator[Finding]:
        """Yield what differs in the end, by ascending id."""
        async for page in self._suspects():
            for finding in await self._compare(dict(page)):
                yield finding

    async def _beats(self) -> frozenset[tuple[str, int]]:
        return frozenset((heartbeat.runner, heartbeat.beat) for heartbeat in await self._runners.all())

    async def _read(self, name: str) -> int:
        return await self._log.read(
            self._scratch, total=lambda total: self._progress.step(name, total), advance=self._progress.advance
        )

    def _count(self, report: Report, finding: Finding) -> None:
        if finding.verdict is Verdict.CLEAN:
            report.clean += 1
        elif finding.verdict is Verdict.UNCOVERED:
            report.uncovered += 1

    async def _compare_all(self) -> AsyncIterator[Finding]:
        """Merge both sides by id."""
        groups = self._scratch.groups()
        group = next(groups, None)
        async for stored in self._documents.scan(workflow_id=self._workflow_id):
            while group is not None and group[0] < stored.execution_id:
                yield self._judge(group[0], group[1], None)
                self._progress.advance(1)
                group = next(groups, None)
            if group is not None and group[0] == stored.execution_id:
                yield self._judge(group[0], group[1], stored)
                self._progress.advance(1)
                group = next(groups, None)
            else:
                yield self._judge(stored.execution_id, [], stored)
        for execution_id, values in _rest(group, groups):
            yield self._judge(execution_id, values, None)
            self._progress.advance(1)

    async def _look_again(self, report: Report) -> bool:
        """Compare the suspects anew; tell whether another look could change anything."""
        self._progress.step("looking again", self._scratch.suspected(but=GONE))
        moved = False
        async for page in self._suspects():
            known = {execution_id: state for execution_id, state in page if state != GONE}
            states, cleared = [], []
            for finding in await self._compare(known):
                if finding.verdict is Verdict.DIFFERENT:
                    # An open one may just be waiting for the database: its last results are in the log already.
                    is_open = finding.stored is not None and finding.stored.status.is_open
                    moved = moved or is_open or finding.state != known[finding.execution_id]
                    states.append((finding.execution_id, finding.state))
                else:
                    self._count(report, finding)
                    cleared.append(finding.execution_id)
            self._scratch.suspect(states)
            self._scratch.clear(cleared)
            self._progress.advance(len(known))
        return moved

    async def _suspects(self) -> AsyncIterator[list[tuple[str, str]]]:
        after = ""
        while page := self._scratch.suspects(after, PAGE):
            yield page
            after = page[-1][0]

    async def _compare(self, suspects: Mapping[str, str]) -> list[Finding]:
        there = [execution_id for execution_id, state in suspects.items() if state != GONE]
        stored = dict(zip(there, await asyncio.gather(*map(self._documents.get, there)), strict=True))
        values = self._scratch.records(list(suspects))
        return [self._judge(each, values[each], stored.get(each)) for each in suspects]

    def _judge(self, execution_id: str, values: list[tuple[int, bytes]], stored: Execution | None) -> Finding:
        told = self._fold(values)
        folded = told.execution
        workflow_id = (stored or folded).workflow_id if stored or folded else ""  # type: ignore[union-attr]
        if folded is None or not told.complete:
            older = stored is not None and self._is_older_than_the_log(stored.created_at, stored.shard)
            if stored is None or stored.status.is_open or older or told.lacks_origin:
                # An open one without records was admitted just now, or waits to be published.
                return Finding(Verdict.UNCOVERED, execution_id, workflow_id, told, stored)
            found = [Difference("records", "not all of them are in the log", f"{stored.status.value}, ended")]
            if folded is not None:
                found += differences(folded, stored)
            return Finding(Verdict.DIFFERENT, execution_id, workflow_id, told, stored, tuple(found))
        if stored is None:
            if self._expired_before and folded.finished_at and folded.finished_at < self._expired_before:
                return Finding(Verdict.CLEAN, execution_id, workflow_id, told, stored)
            missing = (Difference("document", folded.status.value, "missing"),)
            return Finding(Verdict.DIFFERENT, execution_id, workflow_id, told, stored, missing)
        found = differences(folded, stored)
        verdict = Verdict.DIFFERENT if found else Verdict.CLEAN
        return Finding(verdict, execution_id, workflow_id, told, stored, tuple(found), self._runners_at_work)

    def _fold(self, values: list[tuple[int, bytes]]) -> Told:
        """Fold the records of one execution; whose results it took over, and they of others, is folded before."""
        chain, known = [decode(values)], set()
        # Nobody but a record that was made by hand can name an origin that comes after itself.
        while (origin := origin_of(chain[-1])) is not None and origin not in known:
            known.add(origin)
            chain.append(decode(self._scratch.records([origin])[origin]))
        told = fold(chain.pop())
        while chain:
            told = fold(chain.pop(), told)
        return told

    def _is_older_than_the_log(self, created_at: datetime, shard: int) -> bool:
        begin = self._log.begin(shard)
        return begin is None or created_at <= begin


def _rest(
    group: tuple[str, list[tuple[int, bytes]]] | None, groups: Iterator[tuple[str, list[tuple[int, bytes]]]]
) -> Iterator[tuple[str, list[tuple[int, bytes]]]]:
    if group is not None:
        yield group
        yield from groups
