"""How much the templates of a definition are made of: counted before they are compiled, for that takes long.

A part is a name, a value, an operator, a brace or a stretch of text. One takes some 30 microseconds to compile, and every
template ``OF_ITS_OWN`` times as long beside that; so ``MOST`` of them are about half a second, in which a service does
nothing else. Within blocks each is compiled once for every one that it is within, and counts as often.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from jinja2 import TemplateSyntaxError

from templates.errors import BadTemplate

MOST: Final = 15_000
OF_ITS_OWN: Final = 20
_BLOCKS: Final = frozenset({"for", "if"})
_ENDS: Final = frozenset({"endfor", "endif"})


class TooManyParts(BadTemplate):
    """The templates before this one, and this one, have too many parts."""

    def __init__(self) -> None:
        super().__init__(
            f"is beyond the {MOST} parts (names, values, operators, braces; each template counts for {OF_ITS_OWN} more) that"
            " all templates of a definition have at most; make them fewer or simpler, or split the workflow"
        )


class Parts:
    """The parts that the templates of one definition may still have."""

    def __init__(self) -> None:
        self._left = MOST

    def take(self, tokens: Iterable[tuple[Any, str, str]]) -> None:
        """Count a template, of which these are the tokens.

        Raises:
            TooManyParts: no more are left; none is looked at beyond that.
        """
        self._left -= OF_ITS_OWN
        depth, before = 0, ""
        with suppress(TemplateSyntaxError):  # the compiler says so as well, and gets no farther
            for _, kind, text in tokens:
                if kind == "whitespace":
                    continue
                if before == "block_begin":
                    depth += (text in _BLOCKS) - (text in _ENDS and depth > 0)
                before = kind
                self._left -= 1 + depth
                if self._left < 0:
                    raise TooManyParts
