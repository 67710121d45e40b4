"""Questions, titles, times and attachments, as a client meets them."""

import datetime

from tests.support.service import Json, eventually, serving


def in_s(seconds: float) -> str:
    """A time from now, as the wire has it."""
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)  # noqa: TID251 - a real service is told a real time
    return at.isoformat()


async def test_a_question_of_the_model_is_answered_by_the_person(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        arguments = '{"question": "Which colour?", "options": ["red", "blue"]}'
        asked = await client.say(context_id, f"/tool ask_person {arguments}")
        assert (asked.status, asked.json["status"]) == (200, "awaiting_answer")
        (question,) = asked.context["pending_questions"]
        assert (question["name"], question["arguments"]) == ("ask_person", arguments)
        assert asked.context["pending_tool_calls"] == []
        body = {"question_id": question["id"], "content": "blue"}
        answer = await client.act(context_id, "answer", body, Prefer="wait=10")
        assert answer.json["status"] == "idle"
        assert "blue" in answer.context["messages"][-1]["content"]
        gone = await client.act(context_id, "answer", body)
        assert (gone.status, gone.problem) == (409, "illegal-in-phase")


async def test_an_approval_in_the_history_says_who_when_and_of_what(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        asked = await client.say(context_id, "/tool clock {}")
        (call,) = asked.context["pending_tool_calls"]
        assert call["expires_at"] is not None
        body = {"tool_call_ids": [call["id"]]}
        done = await client.act(context_id, "approve_tools", body, Prefer="wait=10")
        (told,) = [m for m in done.context["messages"] if m["role"] == "tool"]
        approval = told["metadata"]["approval"]
        assert (approval["by"], approval["digest"]) == ("local", call["digest"])
        assert approval["at_ms"] > 0


async def test_an_approval_that_nobody_gives_expires_though_nobody_watches(
    store_url: str,
) -> None:
    worker = {"linger_s": 0, "worker_heartbeat_s": 0.1}
    async with serving(store_url, worker=worker) as service:
        client = service.client
        context_id = await client.create(config={"limits": {"approval_s_max": 1}})
        await client.say(context_id, "/tool clock {}")
        context = await client.until(context_id, "idle")
        (told,) = [m for m in context["messages"] if m["role"] == "tool"]
        assert (told["status"], told["metadata"]["code"]) == ("failed", "expired")


async def test_a_message_for_later_waits_where_everybody_can_see_it(store_url: str) -> None:
    worker = {"linger_s": 0, "worker_heartbeat_s": 0.1}
    async with serving(store_url, worker=worker) as service:
        client = service.client
        context_id = await client.create()
        body: Json = {"content": "soon", "not_before": in_s(1)}
        sent = await client.act(context_id, "send_message", body)
        assert sent.json["status"] == "idle"
        (entry,) = sent.context["queue"]
        assert entry["content"] == "soon"
        assert entry["not_before"] is not None
        far = await client.act(
            context_id, "send_message", {"content": "never", "not_before": in_s(9_000)}
        )
        never = far.context["queue"][1]["id"]
        removed = await client.act(context_id, "update_queue", {"remove": [never]})
        assert [one["content"] for one in removed.context["queue"]] == ["soon"]
        async with client.stream(context_id) as stream:
            await stream.take("reply-ended")
        state = await client.state(context_id)
        assert [m["content"] for m in state["messages"] if m["role"] == "user"] == ["soon"]
        assert state["queue"] == []


async def test_the_first_moment_of_1970_is_a_time_as_any_other(store_url: str) -> None:
    first = "1970-01-01T00:00:00Z"
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        said: Json = {"messages": [{"role": "user", "content": "Hi", "created_at": first}]}
        recorded = await client.act(context_id, "record_messages", said)
        assert recorded.context["messages"][0]["created_at"] == "1970-01-01T00:00:00.000Z"
        await client.act(context_id, "pause")
        body: Json = {"content": "soon", "not_before": first}
        sent = await client.act(context_id, "send_message", body)
        (entry,) = sent.context["queue"]
        assert entry["not_before"] == "1970-01-01T00:00:00.000Z"


async def test_a_context_that_expires_is_deleted_though_nobody_watches(store_url: str) -> None:
    worker = {"linger_s": 0, "worker_heartbeat_s": 0.1}
    async with serving(store_url, worker=worker) as service:
        client = service.client
        expires_at = in_s(1.5)
        made = await client.send("POST", "/api/contexts", {"expires_at": expires_at})
        shown = datetime.datetime.fromisoformat(made.context["expires_at"])
        asked = datetime.datetime.fromisoformat(expires_at)
        assert shown == asked.replace(microsecond=asked.microsecond // 1_000 * 1_000)
        kept = await client.send("POST", "/api/contexts", {"expires_at": expires_at})
        assert (await client.act(kept.context["id"], "pin")).status == 200
        async with client.stream(made.context["id"]) as stream:
            await stream.take("context-deleted")
        gone = await client.get(f"/api/contexts/{made.context['id']}/state")
        assert (gone.status, gone.problem) == (404, "not-found")
        assert (await client.state(kept.context["id"]))["status"] == "idle"


async def test_a_context_cannot_have_expired_when_it_is_made(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        body: Json = {"expires_at": in_s(-1)}
        answer = await service.client.send("POST", "/api/contexts", body)
        assert (answer.status, answer.problem) == (422, "invalid-body")
        assert "expires_at" in answer.json["detail"]


async def test_a_context_that_was_made_in_time_is_there_when_its_request_comes_again(
    store_url: str,
) -> None:
    async with serving(store_url, workers=0) as service:
        body: Json = {"expires_at": in_s(0.5)}
        path, key = "/api/contexts", {"Idempotency-Key": "k"}
        first = await service.client.send("POST", path, body, headers=key)
        assert first.status == 201

        async def is_over() -> bool:
            return (await service.client.send("POST", path, body)).status == 422

        await eventually(is_over)
        again = await service.client.send("POST", path, body, headers=key)
        assert (again.status, again.context) == (201, first.context)


async def test_a_title_is_made_on_request(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create(title="Old")
        await client.say(context_id, "Why is the sky blue at noon, really?")
        async with client.stream(context_id) as stream:
            await stream.take("snapshot")
            await client.act(context_id, "generate_title")
            made = (await stream.take("title-made"))[-1]
        assert made.data["title"] == "Why is the sky blue at"
        assert (await client.state(context_id))["title"] == made.data["title"]


async def test_attachments_come_with_a_message(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        attachments = [
            {"type": "text", "name": "a.txt", "text": "line"},
            {"type": "file_reference", "name": "b.pdf", "url": "https://example.org/b.pdf"},
        ]
        body = {"content": "Look:", "attachments": attachments}
        answer = await client.act(context_id, "send_message", body, Prefer="wait=10")
        assert answer.context["messages"][0]["content"] == "Look:"
        assert answer.context["messages"][0]["parts"] == [
            {"type": "text", "text": "Look:"},
            {"type": "text_attachment", "name": "a.txt", "text": "line"},
            {**attachments[1]},
        ]


async def test_a_long_history_is_summarised_and_kept(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create(config={"limits": {"history_tokens_max": 500}})
        for _ in range(3):
            await client.say(context_id, "word " * 300)
        log = await client.get(f"/api/contexts/{context_id}/log?limit=200")
        events = [entry["event"] for entry in log.json["events"]]
        made = [e["summary"] for e in events if e["kind"] == "request-prepared"]
        assert made
        assert all(summary["text"] for summary in made)
        state = await client.state(context_id)
        assert len(state["messages"]) == 6
        assert made[-1]["through_id"] in {m["id"] for m in state["messages"]}
