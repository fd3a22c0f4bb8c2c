"""The keys that secrets are encrypted with.

A key is 32 random bytes, written in base64, one per line of a key file; the first is the one that is encrypted with, all of
them decrypt. A key's id is made from the key itself, and is kept with what was encrypted with it. To rotate: put a new key
above the old one, restart nothing, call ``wf secrets rotate``, which encrypts everything anew; then the old key can go.

AES-GCM, a fresh nonce for each value, the secret's name as associated data: a value moved to another name does not decrypt.
"""

import base64
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class VaultError(Exception):
    """Base of what is wrong with keys."""


class NoKey(VaultError):
    """No key is set, so nothing can be encrypted."""

    def __init__(self) -> None:
        super().__init__("no key for secrets is set; put one into the file that SECRETS_KEY_FILE names, or into SECRETS_KEY")


class BadKey(VaultError):
    """A key is not 32 bytes in base64."""

    def __init__(self, where: str) -> None:
        super().__init__(f"{where} must hold keys of 32 bytes in base64, one per line; `wf secrets key` makes one")


class UnknownKey(VaultError):
    """A secret was encrypted with a key that is not here, or was changed since."""

    def __init__(self, name: str, key_id: str) -> None:
        super().__init__(f"secret {name} was encrypted with key {key_id}, which is not among the keys")
        self.name = name
        self.key_id = key_id


@dataclass(frozen=True)
class Sealed:
    """An encrypted value."""

    key_id: str
    data: bytes  # nonce and ciphertext


def new_key() -> str:
    """Return a fresh key as it is written in a key file."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


class KeyRing:
    """The keys, the first of which encrypts."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = dict(keys)

    @classmethod
    def parse(cls, text: str, where: str) -> "KeyRing":
        """Read keys, one per line.

        Raises:
            BadKey: a line is no key.
        """
        keys: dict[str, bytes] = {}
        for line in text.replace(",", " ").split():
            try:
                key = base64.b64decode(line + "=" * (-len(line) % 4), validate=True)
            except ValueError:
                raise BadKey(where) from None
            if len(key) != KEY_BYTES:
                raise BadKey(where)
            keys[hashlib.sha256(key).hexdigest()[:8]] = key
        return cls(keys)

    @property
    def primary(self) -> str:
        """The id of the key that encrypts.

        Raises:
            NoKey: there is none.
        """
        if not self._keys:
            raise NoKey
        return next(iter(self._keys))

    def seal(self, name: str, value: str) -> Sealed:
        """Encrypt the value of a secret.

        Raises:
            NoKey: there is no key.
        """
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # 6 MB, for nothing where no secrets are

        nonce = os.urandom(_NONCE_BYTES)
        key_id = self.primary
        return Sealed(key_id, nonce + AESGCM(self._keys[key_id]).encrypt(nonce, value.encode(), name.encode()))

    def open(self, name: str, sealed: Sealed) -> str:
        """Decrypt the value of a secret.

        Raises:
            UnknownKey: the key is not here, or does not fit.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key = self._keys.get(sealed.key_id)
        if key is None:
            raise UnknownKey(name, sealed.key_id)
        nonce, data = sealed.data[:_NONCE_BYTES], sealed.data[_NONCE_BYTES:]
        try:
            return AESGCM(key).decrypt(nonce, data, name.encode()).decode()
        except (InvalidTag, ValueError):
            raise UnknownKey(name, sealed.key_id) from None


class KeySource:
    """Where the keys are read from: SECRETS_KEY, else the file, which is read anew when it has changed."""

    def __init__(self, text: str, file: Path | None) -> None:
        self._file = file
        self._stamp: tuple[int, int] | None = None
        self._ring = KeyRing.parse(text, "SECRETS_KEY") if text else KeyRing({})

    def ring(self) -> KeyRing:
        """Return the keys of now.

        Raises:
            BadKey: the file holds something else.
        """
        if self._file is not None:
            try:
                status = self._file.stat()
                stamp = (status.st_mtime_ns, status.st_size)
                if stamp != self._stamp:
                    self._ring = KeyRing.parse(self._file.read_text(errors="replace"), "SECRETS_KEY_FILE")
                    self._stamp = stamp
            except OSError:
                return self._ring
        return self._ring


def ensure_key_file(file: Path) -> None:
    """Make a key file that only its owner can read, unless there is one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as handle:
        handle.write(new_key() + "\n")
