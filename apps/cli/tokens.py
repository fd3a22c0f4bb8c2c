"""``wf tokens`` and ``wf audit``: who may use the service, and who changed what."""

import os
from typing import Annotated, Any

import typer

from apps.cli import output
from apps.cli.client import Client
from apps.cli.environment import said, service_settings
from apps.cli.errors import WfError
from apps.cli.options import DEFAULT_URL, Format, Json, Limit, Output, Url, chosen, examples
from apps.cli.workflows import MORE

tokens = typer.Typer(no_args_is_help=True, help="Who may use the service (needs a token of scope admin).")


@tokens.command(
    "create",
    epilog=examples(
        "wf tokens create 'deploy pipeline' --scope operator --expires 90d",
        "wf tokens create me --scope admin --bootstrap",
    ),
)
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="Whose it is, or what for.")],
    scope: Annotated[
        str, typer.Option(metavar="SCOPE", help="viewer reads; operator also changes and starts; admin also makes tokens.")
    ] = "viewer",
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", show_default=False, help="How long it is good, as in 30d.")
    ] = None,
    bootstrap: Annotated[
        bool,
        typer.Option("--bootstrap", help="Write it to the database at MONGODB_URL itself: how the first token comes to be."),
    ] = False,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Make a token; its secret is shown this once."""
    form = chosen(output_format, as_json)
    body = {"name": name, "scope": scope, **({"expiresIn": expires} if expires else {})}
    if bootstrap:
        made = _bootstrap(body)
    else:
        with Client(url) as client:
            made = client.post("tokens", body=body, key="")
    if form is not Format.TABLE:
        output.data(made, form)
        return
    output.line(str(made["token"]))
    output.note(f"Scope {made['scope']}, id {made['tokenId']}. Keep it now: it is not shown again. Use it as WF_TOKEN.")


@tokens.command("list", epilog=examples("wf tokens list"))
def list_tokens(url: Url = DEFAULT_URL, output_format: Output = Format.TABLE, as_json: Json = False) -> None:
    """List tokens, without their secrets."""
    form = chosen(output_format, as_json)
    with Client(url) as client:
        found = client.get("tokens")
    if form is not Format.TABLE:
        output.data(found["items"], form)
        return
    if not found["items"]:
        output.line("There are no tokens.")
        output.note("Make one: wf tokens create NAME --scope operator (it counts where the services run with AUTH=tokens)")
        return
    present = output.now()
    rows = [
        (
            item["tokenId"],
            item["name"],
            item["scope"],
            "revoked" if item.get("revokedAt") else output.relative(item.get("expiresAt"), present, none="never"),
            output.relative(item.get("lastUsedAt"), present, none="never"),
        )
        for item in found["items"]
    ]
    output.table(["ID", "~NAME", "SCOPE", "EXPIRES", "LAST USED"], rows)


@tokens.command("revoke", epilog=examples("wf tokens revoke 0f3c5a7e9b1d2c4e"))
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", show_default=False, help="As `wf tokens list` shows it.")],
    url: Url = DEFAULT_URL,
) -> None:
    """Revoke a token: it is good no more, within five seconds everywhere."""
    with Client(url) as client:
        client.delete("tokens", token_id, missing=f"there is no good token {token_id}; `wf tokens list` shows them")
    output.line(f"{token_id} revoked")


def audit(
    path: Annotated[
        str | None,
        typer.Option(metavar="PATH", show_default=False, help="Only of this address and below, as in /workflows/nightly."),
    ] = None,
    who: Annotated[str | None, typer.Option(metavar="NAME", show_default=False, help="Only by this token.")] = None,
    limit: Limit = 20,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Show who changed what, newest first."""
    form = chosen(output_format, as_json)
    with Client(url) as client:
        page = client.page("audit", limit=limit, query={"path": path, "who": who})
    if form is not Format.TABLE:
        output.data(page.items, form)
    elif not page.items:
        output.line("No change is recorded." if not (path or who) else "No change matches.")
    else:
        present = output.now()
        rows = [(output.relative(item["at"], present), item["who"], item["operation"], _what(item)) for item in page.items]
        output.table(["WHEN", "WHO", "WHAT", "~WHERE"], rows)
    if page.is_cut:
        output.note(MORE)


def _what(item: dict[str, Any]) -> str:
    changed = [str(change.get("path") or "everything") for change in item.get("changes") or ()]
    more = f", and {len(changed) - 3} more" if len(changed) > 3 else ""
    return str(item.get("path")) + (f" ({', '.join(changed[:3])}{more})" if changed else "")


def _bootstrap(body: dict[str, Any]) -> dict[str, Any]:
    """Make a token in the database, as the service would."""
    import asyncio
    from datetime import datetime, timezone

    from pydantic import ValidationError

    from actions.wording import all_told
    from apps.database import store_of
    from apps.workflows import representations
    from apps.workflows.v1.tokens import TokenBody, make
    from domain.instants import instant
    from store.interfaces import StoreError

    try:
        wanted = TokenBody.model_validate(body)
    except ValidationError as error:
        details = [f"{field}: {message}" for field, message in all_told(error, body)]
        raise WfError("the token is not valid", details=details) from None
    text, token = make(wanted, now=instant(datetime.now(timezone.utc)), entropy=os.urandom(40))
    settings = service_settings()

    async def write() -> None:
        store = store_of(settings)
        try:
            await store.tokens.add(token)
        finally:
            await store.stop()

    try:
        asyncio.run(write())
    except StoreError as error:
        raise WfError(
            f"no token was made: {said(error)}", hint="Name the database with MONGODB_URL and MONGODB_DATABASE."
        ) from None
    return {**representations.token(token), "token": text}
