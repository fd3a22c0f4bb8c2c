"""How many documents one statement is to name.

SecantusDB compares each document that it has found with every id of the list that it was found by, and what it is to change
or delete once more. Measured on it, CPU per document in ms:

=========  ====  ====  ====  ====  ====  ====
ids           8    16    32    64   128   256
read       0.16  0.13  0.14  0.21  0.26  0.49
not there  0.06  0.04  0.03  0.02  0.02  0.02
delete     0.59  0.54  0.52  0.60  0.90  1.31
update     1.29  1.05  1.01  1.10  1.41  1.86
=========  ====  ====  ====  ====  ====  ====

Shorter ones cost more because each statement has a price of its own, and each that writes waits for the disk.
"""

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

AT_ONCE: Final = 32
ABSENT_AT_ONCE: Final = 256  # to look for what is hardly ever there


def chunks(items: Sequence[T], size: int = AT_ONCE) -> Iterator[Sequence[T]]:
    """Yield parts of ``items``, each as long as one statement may name."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
