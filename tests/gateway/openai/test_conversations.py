"""Conversations by OpenAI's client: contexts, whoever has made them."""

from typing import TYPE_CHECKING

import openai
import pytest
from uuid_utils import uuid7

from fsm import ContextCreated, MessagesRecorded, RecordedMessage
from storage import Mail
from tests.gateway.openai.sdk import MODEL, talking

if TYPE_CHECKING:
    from openai.types.responses import ResponseInputItemParam

    from tests.support.service import Json


async def test_a_conversation_is_a_context(store_url: str) -> None:
    async with talking(store_url) as talk:
        conversations = talk.client.conversations
        made = await conversations.create(
            metadata={"topic": "demo"},
            items=[{"type": "message", "role": "user", "content": "Before."}],
        )
        assert (made.object, made.metadata) == ("conversation", {"topic": "demo"})
        assert await conversations.retrieve(made.id) == made
        response = await talk.client.responses.create(
            model=MODEL, input="Now.", conversation=made.id
        )
        assert response.conversation is not None
        assert response.conversation.id == made.id
        listed = await conversations.items.list(made.id, order="asc")
        shown: list[Json] = [item.to_dict() for item in listed.data]
        assert [item["content"][0]["text"] for item in shown] == [
            "Before.",
            "Now.",
            response.output_text,
        ]
        (context,) = await talk.contexts()
        assert made.id == f"conv_{context['id'].replace('-', '')}"
        await conversations.delete(made.id)
        assert await talk.keeps_nothing()
        with pytest.raises(openai.NotFoundError):
            await conversations.retrieve(made.id)


async def test_a_deleted_conversation_is_not_found_also_where_tombstones_are_on(
    store_url: str,
) -> None:
    async with talking(store_url, storage={"tombstones": True}) as talk:
        conversations = talk.client.conversations
        made = await conversations.create()
        (context,) = await talk.contexts()
        await conversations.delete(made.id)
        native = await talk.service.client.get(f"/api/contexts/{context['id']}")
        assert (native.status, native.problem) == (410, "gone")
        with pytest.raises(openai.NotFoundError):
            await conversations.retrieve(made.id)
        with pytest.raises(openai.NotFoundError):
            await conversations.delete(made.id)
        asked: dict[str, object] = {"model": MODEL, "input": "x", "conversation": made.id}
        chat: dict[str, object] = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "x"}],
        }
        for path, body in (
            ("/v1/responses", asked),
            ("/v1/responses", asked | {"stream": True}),
            ("/v1/chat/completions", chat),
            ("/v1/chat/completions", chat | {"stream": True}),
        ):
            session, url = talk.service.client.session, talk.service.client.url + path
            bound = {"Contextd-Context-Id": context["id"]}
            async with session.post(url, json=body, headers=bound) as refused:
                error = (await refused.json())["error"]
            assert (refused.status, error["code"]) == (404, "not-found"), body


async def test_items_come_in_pages_from_either_end(store_url: str) -> None:
    async with talking(store_url) as talk:
        context_id = await talk.service.client.create()
        recorded = [{"role": "user", "content": f"{n}"} for n in range(7)]
        await talk.service.client.act(context_id, "record_messages", {"messages": recorded})
        conversation = f"conv_{context_id.replace('-', '')}"
        items = talk.client.conversations.items
        newest = [item.to_dict() async for item in items.list(conversation, limit=3)]
        oldest: list[Json] = [
            item.to_dict() async for item in items.list(conversation, limit=2, order="asc")
        ]
        assert [item["content"][0]["text"] for item in oldest] == [*"0123456"]
        assert newest == oldest[::-1]
        first = await items.list(conversation, limit=3)
        assert (first.has_more, len(first.data)) == (True, 3)
        with pytest.raises(openai.BadRequestError):
            await items.list(conversation, limit=101)
        with pytest.raises(openai.BadRequestError):
            await items.list(conversation, after="msg_0")


async def test_pages_come_to_an_end_where_calls_share_an_id(store_url: str) -> None:
    round_trip: list[ResponseInputItemParam] = [
        {"type": "function_call", "call_id": "call_0", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_0", "output": "Nothing."},
    ]
    async with talking(store_url) as talk:
        conversations = talk.client.conversations
        made = await conversations.create(items=round_trip * 3)
        for order in ("asc", "desc"):
            shown: list[str] = []
            async for item in conversations.items.list(made.id, limit=1, order=order):
                assert item.id not in shown
                shown.append(item.id or "")
            assert len(shown) == 6


async def test_images_of_native_messages_are_shown_where_they_have_an_address(
    store_url: str,
) -> None:
    async with talking(store_url) as talk:
        context_id = await talk.service.client.create()
        images: list[Json] = [
            *({}, {"image_url": None}, {"image_url": {"detail": "low"}}),
            *({"image_url": {"url": 5, "detail": "low"}}, {"image_url": "https://a/0.png"}),
            {"image_url": {"url": "https://a/1.png"}},
            {"image_url": {"url": "https://a/2.png", "detail": 7}},
            {"image_url": {"url": "https://a/3.png", "detail": "low"}},
        ]
        parts = [{"type": "image_url", **image} for image in images]
        content = [*parts, {"type": "file_reference"}, {"type": "input_audio"}]
        await talk.service.client.say(context_id, content)
        conversation = f"conv_{context_id.replace('-', '')}"
        listed = await talk.client.conversations.items.list(conversation, order="asc")
        item: Json = listed.data[0].to_dict()
        assert [(part["image_url"], part["detail"]) for part in item["content"]] == [
            ("https://a/1.png", "auto"),
            ("https://a/2.png", "auto"),
            ("https://a/3.png", "low"),
        ]


async def test_what_belongs_to_somebody_else_is_not_found(store_url: str) -> None:
    async with talking(store_url) as talk:
        made = await talk.client.responses.create(model=MODEL, input="Mine.")
        context_id = str(uuid7())
        request = made.id[37:]
        said = RecordedMessage(role="user", content="x", client_message_id=f"{request}.0")
        await talk.service.stores[0].admissions.create(
            ContextCreated(at_ms=1, context_id=context_id, owner="somebody else"),
            first=Mail(event=MessagesRecorded(at_ms=1, messages=(said,))),
            key="",
            digest="",
        )
        hexed = context_id.replace("-", "")
        theirs = f"resp_{hexed}{request}"
        client = talk.client
        asked = (
            client.conversations.retrieve(f"conv_{hexed}"),
            client.conversations.delete(f"conv_{hexed}"),
            client.responses.retrieve(theirs),
            client.responses.cancel(theirs),
            client.responses.delete(theirs),
            client.responses.create(model=MODEL, input="x", previous_response_id=theirs),
            client.responses.create(model=MODEL, input="x", conversation=f"conv_{hexed}"),
            client.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": "x"}],
                metadata={"context_id": context_id},
            ),
        )
        for asking in asked:
            with pytest.raises(openai.NotFoundError):
                await asking


async def test_what_is_no_conversation_is_not_found(store_url: str) -> None:
    async with talking(store_url) as talk:
        for unknown in ("conv_0", "x", f"conv_{'0' * 32}"):
            with pytest.raises(openai.NotFoundError):
                await talk.client.conversations.retrieve(unknown)
