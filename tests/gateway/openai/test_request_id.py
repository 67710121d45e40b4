"""Every answer of OpenAI's doors says which request it answers."""

# pyright: reportPrivateUsage=false
# The SDK's documented name for it has an underscore.

import openai
import pytest
from structlog.testing import capture_logs

from tests.gateway.openai.sdk import MODEL, Talk, talking


async def asked_so(talk: Talk) -> list[str | None]:
    """The ids of several requests, whole and streamed, taken and refused."""
    client = talk.client
    whole = await client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Hi."}]
    )
    chunks = await client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Hi."}], stream=True
    )
    made = await client.responses.create(model=MODEL, input="Hi.")
    events = await client.responses.retrieve(made.id, stream=True)
    for stream in (chunks, events):
        async for _ in stream:
            pass
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.models.retrieve("gpt-9")
    with pytest.raises(openai.NotFoundError) as nowhere:
        await client.embeddings.create(model=MODEL, input="Hi.")
    return [
        whole._request_id,
        chunks.response.headers.get("x-request-id"),
        made._request_id,
        events.response.headers.get("x-request-id"),
        unknown.value.request_id,
        nowhere.value.request_id,
    ]


async def test_every_answer_has_an_id_of_its_own(store_url: str) -> None:
    async with talking(store_url) as talk:
        ids = await asked_so(talk)
        native = await talk.service.client.get("/v1/contexts")
    assert None not in ids
    assert len(set(ids)) == 6
    assert "x-request-id" not in native.headers


async def test_the_log_knows_a_request_that_failed_by_the_id_of_its_answer(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str) -> dict[str, object]:
        raise ZeroDivisionError(name)

    async with talking(store_url) as talk:
        monkeypatch.setattr("gateway.openai.models._model", broken)
        with capture_logs() as logged, pytest.raises(openai.InternalServerError) as failed:
            await talk.client.models.list()
    (line,) = [line for line in logged if line["event"] == "request failed"]
    assert line["request_id"] == failed.value.request_id
