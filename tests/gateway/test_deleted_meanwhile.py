"""A context that is deleted while it is read is told of as one that was deleted before."""

from collections.abc import Sequence

import pytest

from storage.logs import Logs
from tests.gateway.openai.sdk import MODEL, talking
from tests.support.service import Service, serving


def delete_before_log(monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    """Have the context that is read be deleted after its head is known, before its log is."""
    read = Logs.events

    async def late(logs: Logs, context_id: str, *, after: int, until: int) -> Sequence[bytes]:
        monkeypatch.setattr(Logs, "events", read)
        assert (await service.client.act(context_id, "delete")).status == 200
        return await read(logs, context_id, after=after, until=until)

    monkeypatch.setattr(Logs, "events", late)


@pytest.mark.parametrize("tombstones", [False, True])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/log", None),
        ("GET", "/export", None),
        ("GET", "/state?at_version=1", None),
        ("GET", "/state?after={cursor}", None),
        ("GET", "/events?after={cursor}", None),
        ("POST", "/actions/fork", {}),
    ],
)
async def test_what_is_deleted_between_two_reads_is_gone(
    store_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tombstones: bool,
    method: str,
    path: str,
    body: object,
) -> None:
    async with serving(store_url, storage={"tombstones": tombstones}) as service:
        client = service.client
        context_id = await client.create()
        cursor = (await client.state(context_id))["cursor"]
        await client.say(context_id, "Hello")
        delete_before_log(monkeypatch, service)
        address = f"/api/contexts/{context_id}{path.format(cursor=cursor)}"
        answer = await client.send(method, address, body)
        told = (410, "gone") if tombstones else (404, "not-found")
        assert (answer.status, answer.problem) == told


async def test_a_response_whose_context_is_deleted_between_two_reads_is_not_found(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talking(store_url, storage={"tombstones": True}) as talk:
        made = await talk.client.responses.create(model=MODEL, input="Hello")
        delete_before_log(monkeypatch, talk.service)
        client = talk.service.client
        async with client.session.get(f"{client.url}/v1/responses/{made.id}") as read:
            error = (await read.json())["error"]
        assert (read.status, error["code"]) == (404, "not-found")
