"""Where the value of a secret comes from: the environment, then mounted files, then the database; the first that has it.

The environment (``WF_SECRET_<NAME>``) is read once, files (``SECRETS_DIR/<name>``) and the database again after a second;
a secret that was set a moment ago is looked for at once when it is not known.

A value that is too short to be recognised, and so could not be kept out of logs and history, is no secret wherever it comes
from: it cannot be stored, and one from the environment or a file is not used. Who asks for it is told why.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import structlog

from vault.keys import KeySource, Sealed, UnknownKey, VaultError
from vault.redaction import KNOWN, SHORTEST, Redactor, is_recognisable

log = structlog.get_logger(__name__)

NAME_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_-]{0,127}$"
LONGEST_VALUE: Final = 65_536
TOO_SHORT: Final = (
    f"its value has fewer than {SHORTEST} characters (without white space at its ends), so it cannot be told from other text"
    " and could not be kept out of logs and history; use a longer one"
)
_NAME: Final = re.compile(NAME_PATTERN)
_ENVIRONMENT_PREFIX: Final = "WF_SECRET_"
FRESH_FOR: Final = 1.0  # seconds; a value that was changed is used after that time at the latest


class UnknownSecret(LookupError):
    """No source has a secret of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"secret {name} is not there; set it with `wf secrets set {name}`")
        self.name = name


class UnusableSecret(UnknownSecret):
    """There is a secret of that name, whose value cannot be read, or could not be kept secret."""

    def __init__(self, name: str, why: str) -> None:
        LookupError.__init__(self, f"secret {name} is not used: {why}")
        self.name = name


class SecretValues(Protocol):
    """What actions ask for secrets."""

    @property
    def redactor(self) -> Redactor:
        """What keeps values out of results."""

    async def get(self, name: str) -> str:
        """Return the value of a secret. Raises UnknownSecret."""


class NoSecrets:
    """Knows no secret."""

    redactor = Redactor()

    async def get(self, name: str) -> str:
        """Return the value of a secret. Raises UnknownSecret."""
        raise UnknownSecret(name)


def is_secret_name(name: str) -> bool:
    """Tell whether ``name`` can be that of a secret."""
    return _NAME.fullmatch(name) is not None


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
        if is_secret_name(file.name) and file.is_file():
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
        self._read_at: float | None = None
        self._reading = asyncio.Lock()
        self._unusable: Mapping[str, str] = {}
        self._mounted: frozenset[str] = frozenset()
        self.redactor.know(self._environment.values())

    async def get(self, name: str) -> str:
        """Return the value of a secret.

        Raises:
            UnknownSecret: no source has it, or what it has is too short.
            StoreUnavailable: the database cannot be asked, and was not asked before.
        """
        await self.refresh(FRESH_FOR)
        value = self._values.get(name)
        if value is None:
            await self.refresh(0.0)
            value = self._values.get(name)
        if value is None:
            raise UnusableSecret(name, self._unusable[name]) if name in self._unusable else UnknownSecret(name)
        return value

    async def names(self) -> frozenset[str]:
        """Return the names of all secrets that can be used."""
        await self.refresh(0.0)
        return frozenset(self._values)

    @property
    def mounted(self) -> frozenset[str]:
        """The names that the environment or a file has, which win over the database."""
        return self._mounted

    @property
    def unusable(self) -> Mapping[str, str]:
        """Those that were found, when they were last read, and cannot be used: name -> why."""
        return self._unusable

    async def refresh(self, fresh_for: float) -> None:
        """Read the sources, unless they were read ``fresh_for`` seconds ago or later."""
        loop = asyncio.get_running_loop()
        if self._read_at is not None and loop.time() - self._read_at < fresh_for:
            return
        asked = loop.time()
        async with self._reading:
            if self._read_at is not None and self._read_at >= asked:
                return
            began = loop.time()
            opened, locked = await self._opened()
            mounted = {**from_directory(self._directory), **self._environment}
            found = {**opened, **mounted}
            self._mounted = frozenset(mounted)
            self._values = {name: value for name, value in found.items() if is_recognisable(value)}
            self._read_at = began
            self.redactor.know(self._values.values())
            unusable = {name: why for name, why in locked.items() if name not in found}
            unusable |= dict.fromkeys(found.keys() - self._values.keys(), TOO_SHORT)
            for name in sorted(unusable.keys() - self._unusable.keys()):
                log.warning("secret not used", secret=name, error=unusable[name])
            self._unusable = unusable

    async def _opened(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the values of those that can be decrypted, and why the others cannot."""
        opened, locked = {}, {}
        for name, sealed in await self._stored():
            try:
                opened[name] = self._keys.ring().open(name, sealed)
            except VaultError as error:
                locked[name] = f"{error}; put it back into the key file" if isinstance(error, UnknownKey) else str(error)
        return opened, locked
