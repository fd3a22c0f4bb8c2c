"""The faults: what can happen, a seeded schedule of them, and how each is brought about."""

import asyncio
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from apps.standalone.errors import StandaloneError
from apps.standalone.stack import SERVICES, Stack

READY_WITHIN = 120.0


@dataclass
class Fault:
    """One fault, planned or past."""

    after: float  # seconds from the beginning
    kind: str
    target: str
    seconds: float = 0.0  # how long it lasts, where it does
    began: float = 0.0  # wall clock
    ended: float = 0.0

    @property
    def name(self) -> str:
        """What the report calls it."""
        return f"{self.kind} {self.target}"

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.after:6.1f} s  {self.name}{lasting}"


@dataclass(frozen=True)
class Sort:
    """A sort of fault, and how often it happens in comparison with the others."""

    kind: str
    targets: tuple[str, ...]
    weight: int
    lasts: tuple[float, float] = (0.0, 0.0)


SORTS = (
    Sort("kill", ("runner",), 6),
    Sort("kill", ("scheduler", "workflows"), 4),
    Sort("kill", ("kafka",), 2),
    Sort("kill", ("mongodb",), 2),
    Sort("freeze", ("runner",), 4, (1.0, 18.0)),
    Sort("freeze", ("scheduler", "workflows"), 3, (1.0, 15.0)),
    Sort("freeze", ("kafka",), 2, (1.0, 8.0)),
    Sort("freeze", ("mongodb",), 3, (1.0, 5.0)),
    Sort("restart", SERVICES, 4),
    Sort("double", ("runner",), 3, (5.0, 20.0)),
    Sort("double", ("scheduler",), 2, (5.0, 20.0)),
    Sort("double", ("workflows",), 1, (5.0, 15.0)),
    Sort("wipe", ("kafka",), 1),
)
KINDS = tuple(dict.fromkeys(sort.kind for sort in SORTS))
EVERY = 5.0  # seconds from the beginning of one fault to that of the next, on average
_IRREGULARITY = (0.2, 1.8)


def schedule(seed: int, seconds: float, kinds: Sequence[str] = KINDS, *, every: float = EVERY) -> list[Fault]:
    """Return the faults of a run: the same for the same seed."""
    gap = tuple(share * every for share in _IRREGULARITY)
    random = Random(seed)
    sorts = [sort for sort in SORTS if sort.kind in kinds]
    faults = []
    after = random.uniform(*gap)
    while after < seconds:
        sort = random.choices(sorts, [each.weight for each in sorts])[0]
        lasts = random.uniform(*sort.lasts) if sort.lasts[1] else 0.0
        faults.append(Fault(after, sort.kind, random.choice(sort.targets), lasts))
        after += random.uniform(*gap)
    return faults


@dataclass
class Faults:
    """Brings faults about on a stack; those of one target wait for each other, others overlap."""

    stack: Stack
    happened: list[Fault] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def run(self, faults: Sequence[Fault]) -> None:
        """Let them happen at their times; returns when the last is over and everything is ready again."""
        began = time.monotonic()
        tasks = []
        for fault in faults:
            await asyncio.sleep(max(0.0, began + fault.after - time.monotonic()))
            tasks.append(asyncio.ensure_future(self._happen(fault)))
        await asyncio.gather(*tasks)
        for child in list(self.stack.children.values()):
            await child.wait_ready(READY_WITHIN)

    async def _happen(self, fault: Fault) -> None:
        async with self._locks.setdefault(fault.target, asyncio.Lock()):
            fault.began = time.time()
            self.happened.append(fault)
            try:
                await getattr(self, f"_{fault.kind}")(fault)
            except (StandaloneError, asyncio.TimeoutError, KeyError) as error:
                self.problems.append(f"{fault}: {error}")
            fault.ended = time.time()

    async def _kill(self, fault: Fault) -> None:
        child = self.stack.children[fault.target]
        launches = child.launches
        child.kill(signal.SIGKILL)
        await child.wait_relaunched(launches, 60)
        await child.wait_ready(READY_WITHIN)

    async def _freeze(self, fault: Fault) -> None:
        child = self.stack.children[fault.target]
        child.kill(signal.SIGSTOP)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            child.kill(signal.SIGCONT)

    async def _restart(self, fault: Fault) -> None:
        child = self.stack.children[fault.target]
        await child.stop()
        await child.start()
        await child.wait_ready(READY_WITHIN)

    async def _double(self, fault: Fault) -> None:
        worker = await self.stack.add_worker(fault.target)
        await asyncio.sleep(fault.seconds)
        await self.stack.remove_worker(worker.name)

    async def _wipe(self, fault: Fault) -> None:
        await self.stack.dependencies.wipe_kafka()
