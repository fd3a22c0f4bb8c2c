"""The tokens that this process has, each for one client, scope and way to get it.

The first request that needs a token asks for it, within its own attempt and against its own clock; the others that need the
same one meanwhile wait for what comes of that. Where nothing comes of it because the first one was cancelled or had no more
time, the next one asks. What has failed is not remembered: whoever comes later asks anew.

A token is used until shortly before it expires, or until its receiver refuses it. It is never written down: each has a
redactor of its own, by which the attempts that use it keep it out of what they tell. So it need not be known to all others,
for whose results a token that somebody makes up must not be taken apart.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from vault.redaction import Redactor

MOST_TOKENS: Final = 500  # a redactor takes 0.2 MB for a token of 1,500 characters
EARLY: Final = 30.0  # seconds before its end in which a token is not used any more; a tenth of a short life


@dataclass(frozen=True, eq=False)
class Token:
    """A token, and until when (by the clock of :class:`Tokens`) it is used."""

    value: str = field(repr=False)
    until: float
    redactor: Redactor = field(init=False, repr=False, default_factory=Redactor)

    def __post_init__(self) -> None:
        self.redactor.know([self.value])


class Tokens:
    """Tokens by what they were asked for with."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.now = clock
        self._tokens: OrderedDict[bytes, Token] = OrderedDict()
        self._asked_for: dict[bytes, asyncio.Future[Token]] = {}

    def get(self, key: bytes) -> Token | None:
        """Return the token, if there is one that can be used."""
        token = self._tokens.get(key)
        if token is None or token.until <= self.now():
            return None
        self._tokens.move_to_end(key)
        return token

    def drop(self, key: bytes, token: Token) -> None:
        """Use ``token`` no more; one that is there in its place by now stays."""
        if self._tokens.get(key) is token:
            del self._tokens[key]

    async def fetch(self, key: bytes, ask: Callable[[], Awaitable[Token]]) -> Token:
        """Return what ``ask`` makes, or what that of somebody else does who is asking already; raise what that raises."""
        while (asked := self._asked_for.get(key)) is not None:
            await asyncio.wait([asked])
            if not asked.cancelled():
                return asked.result()
        asked = self._asked_for[key] = asyncio.get_running_loop().create_future()
        try:
            token = await ask()
        except Exception as error:
            asked.set_exception(error)
            asked.exception()  # that nobody else waits for it is no matter
            raise
        else:
            self._keep(key, token)
            asked.set_result(token)
            return token
        finally:
            del self._asked_for[key]
            asked.cancel()  # where it is not done: it is for somebody else to ask

    def _keep(self, key: bytes, token: Token) -> None:
        now = self.now()
        self._tokens[key] = token
        self._tokens.move_to_end(key)
        for each in [each for each, kept in self._tokens.items() if kept.until <= now]:
            del self._tokens[each]
        if len(self._tokens) > MOST_TOKENS:
            self._tokens.popitem(last=False)
