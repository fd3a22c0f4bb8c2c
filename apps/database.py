"""The database that the settings name: the one place where a store is made of them, with the credentials they hold."""

from apps.settings import ServiceSettings
from store.client import MongoStore


def store_of(settings: ServiceSettings, *, timeout: float | None = None, user: str = "wf") -> MongoStore:
    """Return the store for a ``user`` (a service, or the command line), which connects with its first operation.

    ``timeout`` is in seconds, instead of that of the settings.
    """
    return MongoStore(
        settings.mongodb_url,
        settings.mongodb_database,
        timeout=settings.mongodb_timeout if timeout is None else timeout,
        credentials=settings.mongodb_credentials,
        user=user,
    )
