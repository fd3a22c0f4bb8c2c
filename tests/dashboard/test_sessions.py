"""The dashboard where people log in: what a viewer, an operator and an administrator see and may do."""

import re

import pytest
import pytest_asyncio
from playwright.async_api import expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOG = {"type": "log", "message": "hello"}


@pytest_asyncio.fixture(loop_scope="session")
async def token(api, workflow_id):
    """Makes tokens: ``await token("viewer")`` returns the token and its id."""

    async def make(scope):
        status, made = await api.call("POST", "/tokens", {"name": f"{workflow_id[:60]}-{scope}", "scope": scope})
        assert status == 201, made
        return made["token"], made["tokenId"]

    return make


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(refused_page, guarded):
    """A page that nobody is logged in on, at the API that asks for tokens."""
    await refused_page.context.clear_cookies()
    yield refused_page
    await refused_page.context.clear_cookies()


async def log_in(page, address, token):
    await page.goto(address)
    await page.wait_for_url(re.compile("/login"))
    await page.get_by_role("textbox", name="Token").fill(token)
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_url(re.compile(re.escape(address)))


async def test_logging_in_leads_back_to_where_one_wanted_to_go(visitor, guarded, api, token, workflow_id):
    await api.create(workflow_id, [LOG])
    address = f"{guarded}/#/workflows/{workflow_id}"
    await visitor.goto(address)
    await visitor.get_by_role("textbox", name="Token").fill("wf_0000000000000000_nobody")
    await visitor.get_by_role("button", name="Log in").click()
    await expect(visitor.get_by_role("alert")).to_contain_text("unknown, revoked or expired")
    text, _ = await token("viewer")
    await visitor.get_by_role("textbox", name="Token").fill(text)
    await visitor.get_by_role("button", name="Log in").click()
    await visitor.wait_for_url(address)
    await expect(visitor.get_by_role("heading", level=1, name=workflow_id)).to_be_visible()
    await expect(visitor.get_by_text("It has not run yet")).to_be_visible()


async def test_a_viewer_sees_everything_and_finds_nothing_to_change(visitor, guarded, api, token, workflow_id):
    await api.create(workflow_id, [LOG], trigger={"type": "periodic", "interval": "1h", "allowManual": True})
    execution_id = await api.trigger(workflow_id)
    await api.finished(execution_id)
    text, _ = await token("viewer")
    await log_in(visitor, f"{guarded}/#/workflows?search={workflow_id}", text)
    await expect(visitor.get_by_text("viewer", exact=True)).to_be_visible()
    row = visitor.locator(f"[data-workflow='{workflow_id}']")
    await expect(row.get_by_text("Succeeded")).to_be_visible()
    changes = visitor.get_by_role("main").get_by_role(
        "button", name=re.compile("^(Run|Pause|Archive|Roll back|Cancel|Retry|Send again|New|Store)")
    )
    for view, seen in (
        (f"workflows?search={workflow_id}", workflow_id),
        (f"workflows/{workflow_id}", "Next runs"),
        (f"executions/{execution_id}", "What happened"),
        ("system/dead-letters", "Records that no service could take."),
        ("system/secrets", "Names only"),
        ("system/variables", "What differs"),
    ):
        await visitor.goto(f"{guarded}/#/{view}")
        await expect(visitor.get_by_role("main").get_by_text(seen).first).to_be_visible()
        await expect(visitor.locator("[aria-busy]")).to_have_count(0)
        await expect(changes).to_have_count(0)
    await expect(visitor.get_by_role("link", name="Audit log")).to_have_count(0)
    for view, scope in (("system/audit", "admin"), ("system/tokens", "admin"), ("new", "operator")):
        await visitor.goto(f"{guarded}/#/{view}")
        await expect(visitor.get_by_text(f"This is for the scope {scope}")).to_be_visible()


async def test_an_operator_creates_runs_and_pauses(visitor, guarded, token, workflow_id):
    text, _ = await token("operator")
    await log_in(visitor, f"{guarded}/#/new", text)
    await visitor.get_by_role("textbox", name="Definition", exact=True).fill(
        f"workflowId: {workflow_id}\ntrigger: {{type: periodic, interval: 1h, allowManual: true}}\n"
        "actions:\n  - {type: log, message: done by an operator}\n"
    )
    await visitor.get_by_role("button", name="Create").click()
    await visitor.get_by_role("button", name="Pause").click()
    await expect(visitor.get_by_role("status").get_by_text("Paused")).to_be_visible()
    await visitor.get_by_role("button", name="Run now").click()
    await expect(visitor.get_by_role("heading", name="What happened")).to_be_visible()
    await expect(visitor.get_by_text("done by an operator")).to_be_visible()
    await visitor.goto(f"{guarded}/#/system/tokens")
    await expect(visitor.get_by_text("This is for the scope admin")).to_be_visible()


async def test_an_administrator_makes_a_token_sees_it_once_and_revokes_it(visitor, guarded, api, token, workflow_id):
    text, _ = await token("admin")
    await log_in(visitor, f"{guarded}/#/system/tokens", text)
    name = workflow_id[-40:]
    await visitor.get_by_role("button", name="New token").click()
    dialog = visitor.get_by_role("dialog")
    await dialog.get_by_role("button", name="Make the token").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("name")
    await dialog.get_by_role("textbox", name="Name").fill(name)
    await dialog.get_by_role("combobox", name="Scope").select_option("operator")
    await dialog.get_by_role("button", name="Make the token").click()
    shown = visitor.get_by_role("region", name="Token", exact=True)
    await expect(shown).to_have_text(re.compile(r"^wf_[0-9a-f]{16}_[\w-]{43}$"))
    made = await shown.text_content()
    await visitor.get_by_role("button", name="I have it").click()
    await expect(visitor.get_by_text(made)).to_have_count(0)
    row = visitor.get_by_role("row").filter(has_text=name)
    await expect(row).to_contain_text("operator")
    await row.get_by_role("button", name="Revoke").click()
    await visitor.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    await expect(row).to_contain_text("Revoked")
    await visitor.get_by_role("link", name="Audit log").click()
    await expect(visitor.get_by_role("listitem").filter(has_text=name).first).to_contain_text("Made a token")


async def test_the_end_of_a_session_loses_neither_the_place_nor_what_was_typed(visitor, guarded, api, token, workflow_id):
    await api.create(workflow_id, [LOG])
    text, _ = await token("operator")
    address = f"{guarded}/#/workflows/{workflow_id}/edit"
    await log_in(visitor, address, text)
    editor = visitor.get_by_role("textbox", name="Definition", exact=True)
    await expect(editor).to_have_value(re.compile("hello"))
    await visitor.context.clear_cookies(name="wf_session")  # as after SESSION_HOURS
    await editor.fill((await editor.input_value()).replace("hello", "typed before"))
    await expect(visitor.get_by_role("heading", name="Log in")).to_be_visible()
    await visitor.get_by_role("textbox", name="Token").fill(text)
    await visitor.get_by_role("button", name="Log in").click()
    await visitor.wait_for_url(address)
    await expect(editor).to_have_value(re.compile("typed before"))
    await expect(visitor.get_by_text("What you typed before is back")).to_be_visible()
    await visitor.get_by_role("button", name="Store as a new version").click()
    await expect(visitor.get_by_text("Version 2", exact=True)).to_be_visible()


async def test_logging_out_ends_it(visitor, guarded, token):
    text, _ = await token("viewer")
    await log_in(visitor, f"{guarded}/#/executions", text)
    await visitor.get_by_role("button", name="Log out").click()
    await expect(visitor.get_by_role("heading", name="Log in")).to_be_visible()
    await visitor.goto(f"{guarded}/#/executions")
    await expect(visitor.get_by_role("heading", name="Log in")).to_be_visible()
