"""``/secrets``: set, listed by name and deleted; no address returns a value."""

from typing import Any, ClassVar, Final

from aiohttp import web
from pydantic import Field

from apps.operations import Answer, Operation
from apps.workflows import representations
from apps.workflows.answers.secrets import Rotated, SecretList, SecretShown
from apps.workflows.bodies import read_object
from apps.workflows.errors import BadRequest, FieldError, SecretsNotEncrypted, UnknownSecret
from apps.workflows.views import Resource
from domain.access import Scope
from domain.model import Model
from domain.names import NAME_RULE, is_name
from vault.keys import KeyRing, VaultError
from vault.redaction import SHORTEST, is_recognisable
from vault.values import LONGEST_VALUE, MOUNTED_WINS, TOO_SHORT


class SecretValue(Model):
    """A secret's value; it is never shown again."""

    value: str = Field(min_length=SHORTEST, max_length=LONGEST_VALUE)


class Secrets(Resource):
    """The list."""

    view_name = "secrets"
    view_path = "/secrets"
    operations: ClassVar = {
        "get": Operation(
            "listSecrets", "List the names of the secrets", {200: Answer("The names.", SecretList)}, tag="secrets"
        )
    }

    async def get(self, request: web.Request) -> web.Response:
        """Return the names of the stored secrets, and of those that the service found in its environment and files."""
        stored = await self.app.store.secrets.list()
        found: dict[str, dict[str, Any]] = {
            name: {"name": name, "source": "mounted"} for name in await self.app.secrets.names()
        }
        unusable = self.app.secrets.unusable
        found |= {name: {"name": name, "source": "mounted", "problem": why} for name, why in unusable.items()}
        for name, key_id, updated_at in stored:
            kept = {"source": "stored", "keyId": key_id, "updatedAt": representations.instant(updated_at)}
            if name in self.app.secrets.mounted:
                kept["problem"] = found[name].get("problem", MOUNTED_WINS)
            found[name] = {"name": name, **found.get(name, {}), **kept}
        items = list(found.values())
        return self.answer({"items": sorted(items, key=lambda item: item["name"])})


class OneSecret(Resource):
    """One secret."""

    view_name = "secret"
    view_path = "/secrets/{name}"
    operations: ClassVar = {
        "put": Operation(
            "setSecret",
            "Set a secret",
            {
                200: Answer("It was there and has a new value.", SecretShown),
                201: Answer("It is stored.", SecretShown),
            },
            tag="secrets",
            scope=Scope.ADMIN,
            body=SecretValue,
            refusals=(BadRequest, SecretsNotEncrypted),
        ),
        "delete": Operation(
            "deleteSecret",
            "Delete a secret",
            {204: Answer("It is gone.", content_type=None)},
            tag="secrets",
            scope=Scope.ADMIN,
            refusals=(BadRequest, UnknownSecret),
        ),
    }

    async def put(self, request: web.Request, name: str) -> web.Response:
        """Set the value."""
        check_name(name)
        body = await read_object(request)
        value = body.get("value")
        errors = [FieldError(key[:100], "is not known here; remove it") for key in body if key != "value"]
        if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_VALUE:
            errors.append(FieldError("value", f"must be a string of {SHORTEST} to {LONGEST_VALUE} characters"))
        elif not is_recognisable(value):
            errors.append(FieldError("value", f"cannot be stored: {TOO_SHORT}"))
        if errors or not isinstance(value, str):
            raise BadRequest("The secret is not valid.", errors)
        now = self.app.clock()
        self.app.secrets.learn(value)
        try:
            sealed = self._ring().seal(name, value)
        except VaultError as error:
            raise SecretsNotEncrypted(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
        created = await self.app.store.secrets.put(name, sealed, now)
        return self.answer(
            {"name": name, "keyId": sealed.key_id, "updatedAt": representations.instant(now)}, status=201 if created else 200
        )

    async def delete(self, request: web.Request, name: str) -> web.Response:
        """Delete the secret; workflows that refer to it fail from then on."""
        check_name(name)
        if not await self.app.store.secrets.delete(name):
            raise UnknownSecret(name)
        return web.Response(status=204)

    def _ring(self) -> KeyRing:
        return self.app.secret_keys.ring()


class Rotation(Resource):
    """Where secrets are encrypted anew."""

    view_name = "secrets-rotation"
    view_path = "/secrets-rotation"
    operations: ClassVar = {
        "post": Operation(
            "rotateSecrets",
            "Encrypt every secret with the first key",
            {200: Answer("What was encrypted anew.", Rotated)},
            tag="secrets",
            scope=Scope.ADMIN,
            refusals=(SecretsNotEncrypted,),
        )
    }

    async def post(self, request: web.Request) -> web.Response:
        """Encrypt with the first key what was encrypted with another."""
        rotated, failed = [], []
        try:
            ring = self.app.secret_keys.ring()
            primary = ring.primary
        except VaultError as error:
            raise SecretsNotEncrypted(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
        for name, sealed in await self.app.store.secrets.all():
            if sealed.key_id == primary:
                continue
            try:
                fresh = ring.seal(name, ring.open(name, sealed))
            except VaultError as error:
                failed.append({"name": name, "message": str(error)})
                continue
            if await self.app.store.secrets.replace(name, sealed, fresh):
                rotated.append(name)
        return self.answer({"keyId": primary, "rotated": rotated, "failed": failed})


def check_name(name: str) -> None:
    """Raise BadRequest where the name in the address is none."""
    if not is_name(name):
        raise BadRequest("The address is not valid.", [FieldError("name", NAME_RULE)])


VIEWS: Final[tuple[Any, ...]] = (Secrets, OneSecret, Rotation)
