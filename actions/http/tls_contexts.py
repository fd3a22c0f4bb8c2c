"""What the TLS settings of requests become: one context for each, so that connections with the same settings are pooled."""

import hashlib
import ssl
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Final

from actions.http.auth import Ask
from actions.http.timing import TimedSSLContext
from actions.http.tls import Tls

MOST_CONTEXTS: Final = 64


class BadTls(Exception):
    """A certificate or key cannot be read."""


class TlsContexts:
    """Contexts by content, so that connections with the same settings are pooled together."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._contexts: OrderedDict[bytes, ssl.SSLContext] = OrderedDict()

    async def get(self, tls: Tls | None, ask: Ask) -> ssl.SSLContext:
        """Return the context of these settings.

        Raises:
            BadTls: a file or PEM is not usable.
        """
        authority = certificate = key = ""
        if tls is not None:
            authority = await self._pem("ca", tls.ca_secret, tls.ca_file, ask)
            certificate = await self._pem("certificate", tls.certificate_secret, tls.certificate_file, ask)
            key = await self._pem("key", tls.key_secret, tls.key_file, ask)
        digest = hashlib.sha256("\0".join((authority, certificate, key)).encode()).digest() if tls else b""
        context = self._contexts.get(digest)
        if context is None:
            context = self._contexts[digest] = _make(authority, certificate, key)
            if len(self._contexts) > MOST_CONTEXTS:
                self._contexts.popitem(last=False)
        self._contexts.move_to_end(digest)
        return context

    async def _pem(self, what: str, secret: str | None, file: str | None, ask: Ask) -> str:
        if secret is not None:
            return await ask(secret)
        if file is None:
            return ""
        if self._directory is None:
            raise BadTls(f"{what}File {file}: the operator has set no HTTP_TLS_DIR; use {what}Secret")
        try:
            return (self._directory / file).read_text()
        except (OSError, ValueError) as error:
            raise BadTls(f"{what}File {file} cannot be read from HTTP_TLS_DIR: {type(error).__name__}") from None


def _make(authority: str, certificate: str, key: str) -> ssl.SSLContext:
    context = TimedSSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificates and host names
    try:
        if authority:
            context.load_verify_locations(cadata=authority)
        else:
            context.load_default_certs()
        if certificate:
            # The ssl module reads certificates with their key from files alone; the directory is the owner's only.
            with tempfile.TemporaryDirectory() as directory:
                file = Path(directory) / "pem"
                file.touch(mode=0o600)
                file.write_text(f"{certificate}\n{key}")
                context.load_cert_chain(file, password=lambda: b"")
    except (ssl.SSLError, ValueError, TypeError, OSError) as error:
        raise BadTls(f"the certificate or key is not usable PEM: {getattr(error, 'reason', None) or error}") from None
    return context
