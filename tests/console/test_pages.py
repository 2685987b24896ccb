"""What the pages show and do, without a browser: every form is sent as the page has it."""

import csv
import html
import io
import re
from functools import partial
from typing import Any

import httpx
import pytest

from administration.mappings import Mappings
from administration.reading import previews
from administration.tenants import read_tenant
from directory.condition import Compare, OneOf
from directory.documents import EntitlementKey, Event, event_id
from directory.store import Assign, Query, Update
from directory.tenants import Policy
from queues.port import Message
from queues.relay import message_for
from reconciler.questions.preview import Preview
from tests.console.organisation import (
    ADD_IN,
    OWNER,
    VISITORS,
    Form,
    Organisation,
    followed,
    organisation,
    shown,
)
from tests.environment import TENANT, Environment, add_tenant
from trust.tokens import bearer_tokens, presented, prove
from wiring import utc_now


@pytest.fixture
async def acme(environment: Environment) -> Organisation:
    """The organisation, provisioned and reconciled."""
    return await organisation(environment)


def value(one: EntitlementKey) -> str:
    return f"{one.kind}:{one.key}"


async def grants_of(acme: Organisation, user: str) -> set[str]:
    answer = await acme.environment.access.get(f"/users/{user}")
    return {f"{grant['kind']}:{grant['key']}" for grant in answer.json()["grants"]}


async def test_what_a_deleted_group_gave_is_shown_given_again_and_forgotten(
    acme: Organisation, owner: httpx.AsyncClient
) -> None:
    """Product, section 3."""
    scim, mappings = acme.environment.client, acme.environment.mappings
    body = {"displayName": "Guests", "externalId": "guests-id"}
    assert "Deleted groups" not in (await shown(owner, "/groups")).text
    first = (await scim.post("/Groups", json=body)).json()["id"]
    await mappings.save(first, (VISITORS,))
    await scim.delete(f"/Groups/{first}")
    listed = (await shown(owner, "/groups")).text
    assert "Deleted groups" in listed
    assert "guests-id" in listed
    again = (await scim.post("/Groups", json=body)).json()["id"]
    assert "Deleted groups" not in (await shown(owner, "/groups")).text
    page = await shown(owner, f"/groups/{again}")
    assert "given again from the group deleted on" in page.text
    await scim.delete(f"/Groups/{again}")
    form = Form(await shown(owner, "/groups"), "/groups/forget")
    page = await followed(owner, await form.send(owner))
    assert "What the deleted group gave is forgotten." in page.text
    assert "Deleted groups" not in page.text
    assert (await form.send(owner)).status_code == 404
    assert "Mapping of a deleted group forgotten" in (await shown(owner, "/log")).text


async def test_a_mapping_is_previewed_saved_and_applied_as_previewed(
    acme: Organisation, owner: httpx.AsyncClient
) -> None:
    page = await shown(owner, f"/groups/{acme.staff}")
    edited = Form(page, f"/groups/{acme.staff}/preview")
    preview = await edited.send(owner, entitlement=[value(ADD_IN), value(VISITORS)])
    assert preview.status_code == 200
    gained = re.findall(r'href="/console/users/(\w+)"', preview.text)
    assert set(gained) == {acme.ada, acme.bo}
    assert await grants_of(acme, acme.ada) == set()
    saved = await Form(preview, f"/groups/{acme.staff}/mapping").send(owner)
    page = await followed(owner, saved)
    assert "The mapping is saved" in page.text
    assert "Applying changes" in page.text
    await acme.environment.settle()
    for user in (acme.ada, acme.bo):
        assert await grants_of(acme, user) == {value(ADD_IN), value(VISITORS)}
    assert await grants_of(acme, acme.carl) == set()
    status = await owner.get(f"/console/groups/{acme.staff}/status")
    assert "Active" in status.text
    assert "data-refresh" not in status.text
    (event,) = [
        Event.from_document(stored.document)
        for stored in (
            await acme.environment.application.store.query(
                TENANT, Query("Event", Compare(("operation",), "eq", "mapping"))
            )
        ).items
    ]
    assert (event.actor.type, event.actor.id) == ("administrator", "you@this-machine")


async def test_the_figures_of_a_large_preview_count_on(
    acme: Organisation, owner: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer counts some; the form that the page sends by itself counts more."""
    little = partial(Preview, first_step=1, page_cost=1, summary_cost=1)
    monkeypatch.setattr(previews, "Preview", little)
    path = f"/groups/{acme.staff}"
    edited = Form(await shown(owner, path), f"{path}/preview")
    preview = await edited.send(owner, entitlement=[value(ADD_IN)])
    counted = []
    while 'id="figures" method="post"' in preview.text:
        counted += re.findall(r"the first (\d+) people", preview.text)
        preview = await Form(preview, f"{path}/preview").send(owner)
    assert counted == sorted(counted)
    assert len(counted) > 1
    assert re.findall(r"Gain something</dt><dd[^>]*>(\d+)<", preview.text) == ["2"]


async def test_leaving_nobody_with_owner_asks_and_a_later_save_is_not_overwritten(
    acme: Organisation, owner: httpx.AsyncClient
) -> None:
    mappings = Mappings(acme.environment.application.service, TENANT)
    await mappings.save(acme.sales, (OWNER,))
    await acme.environment.settle()
    page = await shown(owner, f"/groups/{acme.sales}")
    preview = await Form(page, f"/groups/{acme.sales}/preview").send(owner, entitlement=[])
    assert "Nobody would hold the role Owner" in preview.text
    form = Form(preview, f"/groups/{acme.sales}/mapping")
    form.fields.pop("confirmed", None)
    refused = await form.send(owner)
    assert refused.status_code == 422
    stale = Form(page, f"/groups/{acme.sales}/preview")
    await mappings.save(acme.sales, (OWNER, ADD_IN))
    overtaken = await Form(
        await stale.send(owner, entitlement=[value(VISITORS), value(OWNER)]),
        f"/groups/{acme.sales}/mapping",
    ).send(owner)
    assert overtaken.status_code == 409
    assert "manage.py saved version 2" in overtaken.text
    assert "+ Add-in User" in overtaken.text
    ours = Form(overtaken, f"/groups/{acme.sales}/preview")
    assert set(ours.fields["entitlement"]) == {value(VISITORS), value(OWNER)}
    assert ours.fields["version"] == ["2"]
    fresh = Form(await shown(owner, f"/groups/{acme.sales}"), f"/groups/{acme.sales}/preview")
    preview = await fresh.send(owner, entitlement=[])
    confirmed = await Form(preview, f"/groups/{acme.sales}/mapping").send(owner, confirmed="yes")
    assert confirmed.status_code == 303
    await acme.environment.settle()
    assert await grants_of(acme, acme.ada) == {value(OWNER)}
    assert await grants_of(acme, acme.bo) == set()


async def test_what_is_kept_is_shown_and_let_go(
    acme: Organisation, owner: httpx.AsyncClient
) -> None:
    environment = acme.environment
    await environment.mappings.save(acme.sales, (OWNER,))
    await environment.settle()
    assert "is kept for" not in (await shown(owner, "")).text
    page = await shown(owner, f"/groups/{acme.sales}")
    preview = await Form(page, f"/groups/{acme.sales}/preview").send(owner, entitlement=[])
    assert f'/users/{acme.ada}">Ada Lovelace</a> would keep it' in preview.text
    assert "1 of" not in preview.text
    await environment.mappings.save(acme.sales, ())
    await environment.settle()
    assert f'kept for <a href="/console/users/{acme.ada}">' in (await shown(owner, "")).text
    about = await shown(owner, f"/users/{acme.ada}")
    assert "keeps Owner" in about.text
    assert ">Kept</span>" in about.text
    because = await shown(owner, f"/users/{acme.ada}/why?entitlement={value(OWNER)}")
    assert "was the last to hold it" in because.text
    form = Form(about, f"/users/{acme.ada}/let-go")
    assert (await form.send(owner, entitlement=value(OWNER))).status_code == 303
    await environment.settle()
    assert await grants_of(acme, acme.ada) == set()
    assert "Kept no longer" in (await shown(owner, f"/users/{acme.ada}")).text
    refused = await form.send(owner, entitlement=value(OWNER))
    assert (refused.status_code, "is not kept" in refused.text) == (422, True)


async def test_what_the_catalog_lacks_is_not_saved(
    acme: Organisation, owner: httpx.AsyncClient
) -> None:
    page = await shown(owner, f"/groups/{acme.sales}")
    preview = await Form(page, f"/groups/{acme.sales}/preview").send(
        owner, entitlement=["role:invented"]
    )
    saved = await Form(preview, f"/groups/{acme.sales}/mapping").send(owner)
    assert saved.status_code == 422
    assert "role invented" in saved.text


async def test_of_two_who_save_at_once_the_second_is_told_what_changed(
    acme: Organisation, owner: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await shown(owner, f"/groups/{acme.sales}")
    preview = await Form(page, f"/groups/{acme.sales}/preview").send(
        owner, entitlement=[value(VISITORS)]
    )
    store = acme.environment.application.store
    write = type(store).batch

    async def late(*arguments: Any) -> Any:
        """The first to save comes between the second's reading and writing."""
        monkeypatch.undo()
        await Mappings(acme.environment.application.service, TENANT).save(acme.sales, (ADD_IN,))
        return await write(*arguments)

    monkeypatch.setattr(type(store), "batch", late)
    overtaken = await Form(preview, f"/groups/{acme.sales}/mapping").send(owner)
    assert overtaken.status_code == 409
    assert "+ Add-in User" in overtaken.text
    assert "manage.py saved version 1" in overtaken.text


async def logged(acme: Organisation, *operations: str) -> list[Event]:
    """The log's entries of these operations, oldest first."""
    where = OneOf(("operation",), operations)
    found = await acme.environment.application.store.query(TENANT, Query("Event", where))
    events = [Event.from_document(stored.document) for stored in found.items]
    return sorted(events, key=lambda event: event.event_id)


async def test_provisioning_is_disabled_and_enabled(
    acme: Organisation, owner: httpx.AsyncClient
) -> None:
    before = len(await logged(acme, "enable", "disable"))
    for state in ("disabled", "enabled"):
        form = Form(await shown(owner, ""), "/provisioning")
        page = await followed(owner, await form.send(owner, state=state))
        assert f"Provisioning {state}" in page.text
        tenant = await read_tenant(acme.environment.application.store, TENANT)
        assert tenant.provisioning == state
        await form.send(owner, state=state)  # as it is already: nothing to log
    entries = await logged(acme, "enable", "disable")
    assert [entry.operation for entry in entries[before:]] == ["disable", "enable"]
    assert {entry.actor.id for entry in entries[before:]} == {"you@this-machine"}
    assert "Provisioning disabled" in (await shown(owner, "/log?operation=disable")).text


async def test_a_token_is_shown_once_works_rotates_and_is_revoked(
    acme: Organisation, owner: httpx.AsyncClient
) -> None:
    form = Form(await shown(owner, "/set-up"), "/set-up/tokens")
    created = await form.send(owner, kind="scim", note="For <Entra>")
    (text,) = re.findall(r'id="fresh-token"[^>]*value="(muster_scim_[^"]+)"', created.text)
    again = await shown(owner, "/set-up")
    assert text not in again.text
    assert "For &lt;Entra&gt;" in again.text
    token_id = text.split("_")[3]
    tenant = await read_tenant(acme.environment.application.store, TENANT)
    proven = presented(text)
    assert proven is not None
    assert prove(proven, bearer_tokens(tenant, "scim"), utc_now()) == "entra"
    refused = await form.send(owner, kind="scim", note="a third")
    assert refused.status_code == 422
    assert "revoke the one that is not in use" in refused.text
    assert "manage.py" not in refused.text
    revoked = await Form(again, f"/set-up/tokens/{token_id}").send(owner, do="revoke")
    assert token_id not in (await followed(owner, revoked)).text.partition('id="tokens"')[2]
    old = (await read_tenant(acme.environment.application.store, TENANT)).connections[0].tokens[0]
    rotated = await Form(again, f"/set-up/tokens/{old.token_id}").send(owner, do="rotate")
    (new,) = re.findall(r'id="fresh-token"[^>]*value="(muster_scim_[^"]+)"', rotated.text)
    assert "It replaces" in rotated.text
    by_us = [
        entry
        for entry in await logged(acme, "tokenCreate", "tokenRotate", "tokenRevoke")
        if entry.actor.type == "administrator"
    ]
    assert [(entry.operation, entry.attributes) for entry in by_us] == [
        ("tokenCreate", (f"scim {token_id}",)),
        ("tokenRevoke", (f"scim {token_id}",)),
        ("tokenRotate", (f"scim {old.token_id}", f"scim {new.split('_')[3]}")),
    ]
    for secret in (text, new):
        assert secret.split("_")[-1] not in "".join(entry.model_dump_json() for entry in by_us)
    assert all(entry.state == "done" and entry.ttl for entry in by_us)


async def test_the_catalog_is_imported_after_a_dry_run(
    acme: Organisation, owner: httpx.AsyncClient
) -> None:
    text = "kind,key,displayName\ncostCenterMembership,cc-1,=Sum\nrole,owner,The owner\n"
    form = Form(await shown(owner, "/catalog"), "/catalog/import")
    plan = await form.send(owner, content=text)
    assert plan.status_code == 200
    assert "The owner" not in (await shown(owner, "/catalog")).text
    page = await followed(owner, await Form(plan, "/catalog/import").send(owner, do="import"))
    assert "The owner" in page.text
    exported = await shown(owner, "/catalog.csv")
    rows = list(csv.reader(io.StringIO(exported.text)))
    assert ["costCenterMembership", "cc-1", "'=Sum"] in rows
    bad = await form.send(owner, content="kind,key,displayName\nnonsense,a,b\n")
    assert bad.status_code == 400
    assert "line 2" in bad.text
    assert "Choose a file" in (await form.send(owner, content="")).text
    await Mappings(acme.environment.application.service, TENANT).save(acme.sales, (ADD_IN,))
    form = Form(page, "/catalog/remove")
    refused = await form.send(owner, kind="role", key="addInUser")
    assert refused.status_code == 400
    assert "the group Sales" in refused.text
    assert (await form.send(owner, kind="role", key="owner")).status_code == 303


async def test_a_policy_is_previewed_and_saved(
    acme: Organisation, owner: httpx.AsyncClient
) -> None:
    await Mappings(acme.environment.application.service, TENANT).save(acme.sales, (OWNER,))
    await acme.environment.settle()
    form = Form(await shown(owner, "/policy"), "/policy/preview")
    kept = [reason for reason in form.fields["disable"] if reason != "inactive"]
    preview = await form.send(owner, disable=kept)
    assert re.findall(r'href="/console/users/(\w+)"', preview.text) == [acme.carl]
    assert "Becomes enabled" in preview.text
    assert 'minus">off</span> Disable a user: inactive in Entra ID<' in preview.text
    await followed(owner, await Form(preview, "/policy").send(owner))
    await acme.environment.settle()
    assert "Enabled" in (await shown(owner, f"/users/{acme.carl}")).text


async def test_why_timeline_and_the_past_tell_the_same_story(
    acme: Organisation, owner: httpx.AsyncClient
) -> None:
    before = utc_now()
    await Mappings(acme.environment.application.service, TENANT).save(acme.staff, (ADD_IN,))
    await acme.environment.settle()
    page = await shown(owner, f"/users/{acme.ada}")
    assert "gained Add-in User" in page.text
    why = await shown(owner, f"/users/{acme.ada}/why?entitlement={value(ADD_IN)}")
    for part in ("Ada Lovelace", "Sales", "Staff", "Mapping version 1", "Mapping saved"):
        assert part in why.text
    lacking = await shown(owner, f"/users/{acme.carl}/why?entitlement={value(ADD_IN)}")
    assert "The account is disabled" in lacking.text
    unmapped = await shown(owner, f"/users/{acme.ada}/why?entitlement={value(VISITORS)}")
    assert "No group is mapped to it" in unmapped.text
    then = f"{before:%Y-%m-%dT%H:%M:%S.%f}"
    assert "Nothing was granted" in (await shown(owner, f"/users/{acme.ada}/past?at={then}")).text
    for at in (f"{utc_now():%Y-%m-%dT%H:%M:%S.%f}", "2999-01-01T00:00"):  # the future is today
        past = (await shown(owner, f"/users/{acme.ada}/past?at={at}")).text
        assert "Add-in User" in past
        assert "2999" not in past


async def test_a_user_made_by_hand_is_given_something_edited_and_deleted(
    acme: Organisation, owner: httpx.AsyncClient
) -> None:
    form = Form(await shown(owner, "/users/new"), "/users/new")
    given = {
        "userName": "eve@partner.example",
        "name.givenName": "Eve",
        "name.familyName": "Extern",
    }
    refused = await form.send(owner, **given)
    assert refused.status_code == 400
    assert 'value="eve@partner.example"' in refused.text
    email = {'emails[type eq "work"].value': "eve@partner.example"}
    page = await followed(owner, await form.send(owner, **given, **email))
    (eve,) = set(re.findall(r"/console/users/(\w{26})/grants", page.text))
    grants = Form(await shown(owner, f"/users/{eve}/grants"), f"/users/{eve}/grants")
    await followed(owner, await grants.send(owner, entitlement=[value(VISITORS)]))
    await acme.environment.settle()
    assert await grants_of(acme, eve) == {value(VISITORS)}
    grants = Form(await shown(owner, f"/users/{eve}/grants"), f"/users/{eve}/grants")
    await followed(owner, await grants.send(owner, entitlement=[value(ADD_IN)]))
    await acme.environment.settle()
    assert await grants_of(acme, eve) == {value(ADD_IN)}
    edit = Form(await shown(owner, f"/users/{eve}/edit"), f"/users/{eve}/edit")
    assert (
        "Eva" in (await followed(owner, await edit.send(owner, **{"name.givenName": "Eva"}))).text
    )
    await edit.send(owner, do="delete")
    assert (await owner.get(f"/console/users/{eve}")).status_code == 404
    assert (await owner.get(f"/console/users/{acme.ada}/edit")).status_code == 404


async def test_what_was_refused_is_in_the_log_on_the_persons_page_and_in_the_api(
    acme: Organisation, owner: httpx.AsyncClient
) -> None:
    assert "No refused request matches" in (await shown(owner, "/log?state=refused")).text
    patch = {"Operations": [{"op": "replace", "path": "emails[", "value": "x"}]}
    refused = await acme.environment.client.patch(f"/Users/{acme.bo}", json=patch)
    detail = refused.json()["detail"]
    await acme.environment.application.counter.close()
    page = await shown(owner, "/log?state=refused&resource=diddley")
    for shows in (detail, "Bo <Diddley>", "PATCH /Users/{id}"):
        assert html.escape(shows) in page.text
    assert detail not in (await shown(owner, "/log?state=refused&resource=lovelace")).text
    assert html.escape(detail) in (await shown(owner, f"/users/{acme.bo}")).text
    assert "Refused requests" not in (await shown(owner, f"/users/{acme.ada}")).text
    export = await shown(owner, "/log.csv?state=refused")
    (row,) = csv.DictReader(io.StringIO(export.text))
    assert (row["about"], row["detail"], row["count"]) == ("Bo <Diddley>", detail, "1")


async def test_the_log_is_filtered_and_exported(
    acme: Organisation, owner: httpx.AsyncClient
) -> None:
    page = await shown(owner, "/log?resource=lovelace&operation=create")
    (entry,) = set(re.findall(r"/console/log/(\w{26})", page.text))
    assert "ignored: unheardOf" in page.text
    detail = await shown(owner, f"/log/{entry}")
    assert ">Ada Lovelace</a>: enabled" in detail.text
    export = await shown(owner, "/log.csv?type=User")
    rows = list(csv.DictReader(io.StringIO(export.text)))
    assert [row["name"] for row in rows] == ["Carl Gauss", "Bo <Diddley>", "Ada Lovelace"]
    assert "Bo &lt;Diddley&gt;" in (await shown(owner, "/users?q=DIDD")).text
    assert "No entry matches" in (await shown(owner, "/log?until=2020-01-01T00:00")).text


async def test_a_failed_event_is_shown_and_replayed(
    acme: Organisation, owner: httpx.AsyncClient
) -> None:
    store = acme.environment.application.store
    mapping = await Mappings(acme.environment.application.service, TENANT).save(
        acme.sales, (OWNER,)
    )
    changes = (Assign(("state",), "failed"), Assign(("reason",), "TooLarge"))
    await store.batch(TENANT, [Update(event_id(mapping.event_id), changes)])
    page = await shown(owner, "/failed")
    assert "TooLarge" in page.text
    assert f'<a href="/console/groups/{acme.sales}">Sales</a>' in page.text
    await followed(owner, await Form(page, "/failed").send(owner, event=mapping.event_id))
    await acme.environment.settle()
    assert await grants_of(acme, acme.ada) == {value(OWNER)}
    assert "Nothing has failed" in (await shown(owner, "/failed")).text
    (entry,) = await logged(acme, "replay")
    assert (entry.actor.id, entry.resource_id) == ("you@this-machine", acme.sales)
    assert entry.attributes == (f"event {mapping.event_id}",)


async def test_a_dead_letter_that_nothing_waits_for_is_discarded(
    acme: Organisation, owner: httpx.AsyncClient
) -> None:
    environment = acme.environment
    await environment.mappings.save(acme.sales, (OWNER,))
    await environment.application.relay.drain()  # still to be applied
    foreign = Message("foreign", b"{}")
    others = message_for("other", "others")
    await environment.bury(message_for(TENANT, "long-gone"), others, foreign)
    page = await shown(owner, "/failed")
    assert "Pending" in page.text
    assert re.findall(r'name="letter" value="([^"]*)" data-confirm="Discard', page.text) == [
        "long-gone"
    ]
    for hidden in ("others", "foreign"):
        assert hidden not in page.text
        refused = await Form(page, "/failed").send(owner, letter=hidden)
        assert (refused.status_code, f"no dead letter {hidden}" in refused.text) == (422, True)
    done = await followed(owner, await Form(page, "/failed").send(owner, letter="long-gone"))
    assert "The dead letter is discarded." in done.text
    assert "long-gone" not in done.text
    left = {letter.id for letter in await environment.queue.list_dead_letters()}
    assert {"others", "foreign"} < left
    (entry,) = await logged(acme, "discard")
    assert (entry.actor.id, entry.attributes) == ("you@this-machine", ("event long-gone",))
    assert "Dead letter discarded" in (await shown(owner, "/log?operation=discard")).text


async def test_another_tenants_things_do_not_exist(
    acme: Organisation, owner: httpx.AsyncClient
) -> None:
    application = acme.environment.application
    token, _ = await add_tenant(application.store, "other", Policy())
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=application.scim),
        base_url="http://muster.test/scim",
        headers={"Authorization": f"Bearer {token}"},
    ) as other:
        group = {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": "Theirs",
            "externalId": "theirs",
        }
        theirs = (await other.post("/Groups", json=group)).json()["id"]
    event = (await application.store.query("other", Query("Event"))).items[0].document["eventId"]
    assert (await owner.get(f"/console/groups/{theirs}")).status_code == 404
    assert (await owner.get(f"/console/log/{event}")).status_code == 404
    assert "Theirs" not in (await shown(owner, "/groups")).text
    form = Form(await shown(owner, f"/groups/{acme.sales}"), f"/groups/{acme.sales}/preview")
    answer = await owner.post(f"/console/groups/{theirs}/mapping", data=form.fields)
    assert answer.status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/groups?after=nonsense",
        "/users?after=e30=",
        "/log?after=x",
        "/log?since=yesterday",
        "/log/x",
        "/users/x",
        "/users/x/why",
        "/users/{ada}/past?at=never",
        "/users/{ada}/why?entitlement=",
        "/users/{ada}/why?entitlement=%00:%ff",
        "/users/{ada}?after=x",
        "/users?q=%F0%9F%A6%84%00",
        "/groups/x/status",
        "/nothing",
    ],
)
async def test_nothing_in_a_url_is_a_fault(
    acme: Organisation, owner: httpx.AsyncClient, path: str
) -> None:
    answer = await owner.get("/console" + path.format(ada=acme.ada))
    assert answer.status_code in (200, 400, 404)
