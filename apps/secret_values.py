"""The secrets of a service, from the sources that its settings name."""

import os
from collections.abc import Awaitable, Callable, Sequence

from apps.settings import ServiceSettings
from vault.keys import KeySource, Sealed
from vault.values import Values


def key_source(settings: ServiceSettings) -> KeySource:
    """Return where the keys come from."""
    return KeySource(settings.secrets_key, settings.secrets_key_file)


def secret_values(settings: ServiceSettings, stored: Callable[[], Awaitable[Sequence[tuple[str, Sealed]]]]) -> Values:
    """Return the secrets of this process; read with the first that is asked for."""
    # The names of these variables are the users': no settings model can list them.
    return Values(
        environment=os.environ,
        directory=settings.secrets_dir,
        keys=key_source(settings),
        stored=stored,
    )
