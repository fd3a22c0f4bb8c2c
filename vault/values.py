"""Where the value of a secret comes from: the environment, then mounted files, then the database; the first that has it.

The environment (``WF_SECRET_<NAME>``) is read once, files (``SECRETS_DIR/<name>``) and the database again after a second;
a secret that was set a moment ago is looked for at once when it is not known. While the database is away, the values that
it had are used for a quarter of an hour from when they were read; the environment and files do not wait for it.

A value that is too short to be recognised, and so could not be kept out of logs and history, is no secret wherever it comes
from: it cannot be stored, and one from the environment or a file is not used. Who asks for it is told why.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog

from domain.names import is_name
from vault.interfaces import UnknownSecret, UnusableSecret
from vault.keys import KeySource, Sealed, UnknownKey, VaultError
from vault.reading import FRESH_FOR, Reading
from vault.redaction import KNOWN, SHORTEST, Redactor, is_recognisable

log = structlog.get_logger(__name__)

LONGEST_VALUE: Final = 65_536
TOO_SHORT: Final = (
    f"its value has fewer than {SHORTEST} characters (without white space at its ends), so it cannot be told from other text"
    " and could not be kept out of logs and history; use a longer one"
)
MOUNTED_WINS: Final = "the services found one of this name in their environment or files, which wins; remove one of the two"
_ENVIRONMENT_PREFIX: Final = "WF_SECRET_"


def from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets of the environment."""
    prefix = _ENVIRONMENT_PREFIX
    return {name[len(prefix) :]: value for name, value in environment.items() if name.startswith(prefix) and value}


def from_directory(directory: Path | None) -> dict[str, str]:
    """Return the secrets of mounted files; one line break at the end is not part of a value."""
    found: dict[str, str] = {}
    if directory is None or not directory.is_dir():
        return found
    for file in sorted(directory.iterdir()):
        # Kubernetes mounts names that begin with two dots beside the secrets.
        if is_name(file.name) and file.is_file():
            try:
                text = file.read_text()
            except (OSError, UnicodeDecodeError) as error:
                log.warning("secret file not read", secret=file.name, error=type(error).__name__)
                continue
            found[file.name] = text[:-1] if text.endswith("\n") else text
    return found


class Values:
    """The secrets of one process."""

    def __init__(
        self,
        *,
        environment: Mapping[str, str],
        directory: Path | None,
        keys: KeySource,
        stored: Callable[[], Awaitable[Sequence[tuple[str, Sealed]]]],
        redactor: Redactor = KNOWN,
    ) -> None:
        self.redactor = redactor
        self._environment = from_environment(environment)
        self._directory = directory
        self._keys = keys
        self._stored = stored
        self._values: dict[str, str] = {}
        self._unusable: Mapping[str, str] = {}
        self._mounted: Mapping[str, str] = {}
        self._looked_at: float | None = None
        self._opened: Mapping[str, str] = {}
        self._locked: Mapping[str, str] = {}
        self._reading = Reading(self._read, "stored secrets not read")
        self.redactor.know(self._environment.values())

    async def get(self, name: str) -> str:
        """Return the value of a secret.

        Raises:
            UnknownSecret: no source has it, or what it has is too short.
            StoreUnavailable: neither the environment nor a file has it, the database cannot be asked, and had no usable
                value when it was read last, or that is ``KEPT_FOR`` ago.
        """
        self._look(FRESH_FOR)
        if name not in self._values:
            self._look(0.0)
        if name not in self._mounted:
            await self._reading.look_for(lambda: name in self._values)
        value = self._values.get(name)
        if value is None:
            raise UnusableSecret(name, self._unusable[name]) if name in self._unusable else UnknownSecret(name)
        return value

    def learn(self, value: str) -> None:
        """Know a value that is about to be stored, so that it is kept out of what is said of that."""
        self.redactor.know([*self._values.values(), value], are_all=True)

    async def names(self) -> frozenset[str]:
        """Return the names of all secrets that can be used.

        Raises:
            StoreUnavailable: the database cannot be asked.
        """
        await self.refresh(0.0)
        return frozenset(self._values)

    @property
    def mounted(self) -> frozenset[str]:
        """The names that the environment or a file has, which win over the database."""
        return frozenset(self._mounted)

    @property
    def unusable(self) -> Mapping[str, str]:
        """Those that were found, when they were last read, and cannot be used: name -> why."""
        return self._unusable

    async def refresh(self, fresh_for: float) -> None:
        """Read the sources, unless they were read ``fresh_for`` seconds ago or later.

        Raises:
            StoreUnavailable: the database cannot be asked, or could not be ``fresh_for`` seconds ago or later.
        """
        await self._reading.refresh(fresh_for)

    async def _read(self) -> None:
        self._look(0.0)
        self._open(await self._stored())
        self._combine()

    def _look(self, fresh_for: float) -> None:
        """Read the environment and the files, unless that was done ``fresh_for`` seconds ago or later."""
        now = asyncio.get_running_loop().time()
        if self._looked_at is None or now - self._looked_at >= fresh_for:
            self._mounted = {**from_directory(self._directory), **self._environment}
            self._looked_at = now
            self._combine()

    def _open(self, stored: Sequence[tuple[str, Sealed]]) -> None:
        """Decrypt what can be decrypted, and note why the others cannot."""
        opened, locked = {}, {}
        for name, sealed in stored:
            try:
                opened[name] = self._keys.ring().open(name, sealed)
            except VaultError as error:
                locked[name] = f"{error}; put it back into the key file" if isinstance(error, UnknownKey) else str(error)
        self._opened, self._locked = opened, locked

    def _combine(self) -> None:
        found = {**self._opened, **self._mounted}
        self._values = {name: value for name, value in found.items() if is_recognisable(value)}
        self.redactor.know(self._values.values(), are_all=True)
        unusable = {name: why for name, why in self._locked.items() if name not in found}
        unusable |= dict.fromkeys(found.keys() - self._values.keys(), TOO_SHORT)
        for name in sorted(unusable.keys() - self._unusable.keys()):
            log.warning("secret not used", secret=name, error=unusable[name])
        self._unusable = unusable
