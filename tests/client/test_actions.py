"""Every action method against a real gateway, once at least."""

import asyncio
import math
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime

import pytest
from pydantic import JsonValue

from contextd_client import (
    Context,
    Contextd,
    ContextView,
    IllegalInPhase,
    InvalidRequest,
    KeyReused,
    MergeConflict,
    NoPendingApprovals,
    NotFound,
    NotJson,
    QueueFull,
    Refused,
    TurnRunning,
    VersionMismatch,
)
from gateway.kinds import KINDS
from tests.support.service import serving

TOOL = "/tool clock {}"
FAR = datetime(2100, 1, 1, tzinfo=UTC)


def said(view: ContextView) -> list[str]:
    """What users have said on the active branch."""
    return [message.content for message in view.messages if message.role == "user"]


async def until(context: Context, true: Callable[[ContextView], bool]) -> ContextView:
    """Follow the context until something is so."""
    async with asyncio.timeout(15), aclosing(context.stream()) as events:
        async for _ in events:
            view = await context.state()
            if true(view):
                return view
    raise AssertionError(context)


def test_every_action_of_the_server_has_a_method() -> None:
    assert [name for name in KINDS if not hasattr(Context, name)] == []


async def test_a_context_is_made_with_its_first_message_and_answered(store_url: str) -> None:
    async with serving(store_url) as service, Contextd(service.client.url) as client:
        context = await client.create(
            title="T",
            labels={"a": "b"},
            config={"model": "m"},
            message={
                "content": "Hello",
                "client_message_id": "mine",
                "metadata": {"k": None},
                "attachments": [{"type": "text", "name": "a.txt", "text": "in it"}],
            },
            wait_s=30,
        )
        view = context.seen
        assert view is not None
        assert (view.title, view.labels, view.config["model"]) == ("T", {"a": "b"}, "m")
        first, reply = view.messages
        assert (first.content, first.client_message_id) == ("Hello", "mine")
        assert first.metadata == {"k": None}
        assert first.parts[1]["name"] == "a.txt"
        assert (reply.role, reply.status, view.status) == ("assistant", "complete", "idle")
        assert reply.created_at is not None
        assert reply.created_at.tzinfo is not None
        assert view == await client.context(context.id).state()


@pytest.mark.parametrize(
    "value",
    ["half of a pair: \ud83d", {"\udc00": 1}, 2**64, math.nan, [{"deep": (-math.inf,)}]],
)
async def test_what_is_no_json_is_said_before_anything_is_sent(value: JsonValue) -> None:
    async with Contextd("http://127.0.0.1:1") as client:
        with pytest.raises(NotJson, match="cannot be sent"):
            await client.context("c").send_message([{"type": "n", "n": value}])
        with pytest.raises(NotJson, match="cannot be sent"):
            await client.context("c").configure({"parameters": {"n": value}})


async def test_a_message_is_applied_and_with_a_wait_answered(store_url: str) -> None:
    async with serving(store_url) as service, Contextd(service.client.url) as client:
        context = await client.create()
        answer = await context.send_message(
            [{"type": "text", "text": "one"}, {"type": "x-unheard-of", "depth": [1]}], wait_s=30
        )
        assert answer.applied
        assert answer.action is not None
        assert answer.action.id == service.action_id(context.id, 1)
        assert answer.action.version == 2
        assert answer.context.messages[0].parts[1] == {"type": "x-unheard-of", "depth": [1]}
        assert answer.context.at_rest
        status = await client.action(answer.action.id)
        assert (status.result, status.version) == ("applied", 2)


async def test_what_waits_is_edited_moved_removed_and_rejected(store_url: str) -> None:
    async with serving(store_url) as service, Contextd(service.client.url) as client:
        context = await client.create(config={"limits": {"queue_max": 4}})
        await context.send_message("/hang")
        with pytest.raises(TurnRunning):
            await context.send_message("no", policy="reject")
        for content in ("a", "b", "c"):
            await context.send_message(content)
        answer = await context.send_message("later", not_before=FAR)
        with pytest.raises(QueueFull) as refusal:
            await context.send_message("no room")
        assert refusal.value.tries == 1
        entries = answer.context.queue
        assert [entry.content for entry in entries] == ["a", "b", "c", "later"]
        assert entries[3].not_before == FAR
        a, b, c, later = (entry.id for entry in entries)
        changed = await context.update_queue(remove=[a, later], edit={b: "B"}, move={c: 0})
        assert [entry.content for entry in changed.context.queue] == ["c", "B"]
        with pytest.raises(Refused, match="Not in the queue") as gone:
            await context.update_queue(remove=[a])
        assert gone.value.type == "not-waiting"
        await context.cancel()
        view = await context.wait_until_at_rest()
        assert said(view) == ["/hang", "c", "B"]


async def test_tool_calls_are_approved_denied_and_edited(store_url: str) -> None:
    async with serving(store_url) as service, Contextd(service.client.url) as client:
        context = await client.create()
        with pytest.raises(NoPendingApprovals) as refusal:
            await context.approve_tools(["nobody"])
        assert refusal.value.phase == "idle"
        asked = await context.send_message(
            f'{TOOL}\n/tool calculator {{"expression": "1"}}', wait_s=30
        )
        clock, calculator = asked.context.pending_tool_calls
        assert (clock.name, clock.approval_status) == ("clock", "pending")
        assert clock.expires_at is not None
        done = await context.approve_tools(
            [calculator.id],
            deny=[{"id": clock.id, "reason": "not now"}],
            edits={calculator.id: {"expression": "6 * 7"}},
            wait_s=30,
        )
        results = {m.tool_call_id: m.content for m in done.context.messages}
        assert "not now" in results[clock.id]
        assert "42" in results[calculator.id]


async def test_a_question_of_the_model_is_answered(store_url: str) -> None:
    async with serving(store_url) as service, Contextd(service.client.url) as client:
        context = await client.create()
        asked = await context.send_message(
            '/tool ask_person {"question": "Which one?"}', wait_s=30
        )
        assert asked.context.status == "awaiting_answer"
        (question,) = asked.context.pending_questions
        assert "Which one?" in question.arguments
        done = await context.answer(question.id, "The left one", wait_s=30)
        assert done.context.status == "idle"
        assert "The left one" in done.context.messages[-1].content
        with pytest.raises(Refused) as refusal:
            await context.answer(question.id, "The right one")
        assert refusal.value.status == 409


async def test_a_turn_is_cancelled_and_only_the_one_that_is_named(store_url: str) -> None:
    async with serving(store_url) as service, Contextd(service.client.url) as client:
        context = await client.create(message="/hang")
        streaming = await until(context, lambda view: view.draft is not None)
        with pytest.raises(Refused) as refusal:
            await context.cancel("another")
        assert refusal.value.type == "unknown-turn"
        answer = await context.cancel(streaming.turn_id)
        assert answer.context.messages[-1].status == "cancelled"
        assert answer.context.at_rest


async def test_a_failed_turn_is_retried_and_given_up(store_url: str) -> None:
    async with serving(store_url) as service, Contextd(service.client.url) as client:
        context = await client.create()
        failed = await context.send_message("/fail bad_request", wait_s=30)
        assert failed.context.status == "failed"
        assert failed.context.error is not None
        assert failed.context.error.code == "bad_request"
        again = await context.retry(wait_s=30)
        assert again.context.status == "failed"
        assert (await context.reset()).context.status == "idle"
        with pytest.raises(IllegalInPhase) as refusal:
            await context.retry()
        assert refusal.value.phase == "idle"
        assert "send_message" in refusal.value.allowed_actions
        assert refusal.value.version == (await context.state()).version


async def test_a_context_is_paused_and_resumed(store_url: str) -> None:
    async with serving(store_url) as service, Contextd(service.client.url) as client:
        context = await client.create()
        assert (await context.pause()).context.status == "paused"
        await context.send_message("while paused")
        resumed = await context.resume(wait_s=30)
        assert said(resumed.context) == ["while paused"]
        assert resumed.context.status == "idle"


async def test_messages_are_edited_and_replies_made_again(store_url: str) -> None:
    async with serving(store_url) as service, Contextd(service.client.url) as client:
        context = await client.create(message="one", wait_s=30)
        first, reply = (await context.state()).messages
        edited = await context.edit_message(
            first.id, "two", client_message_id="e", metadata={"m": 1}, wait_s=30
        )
        assert said(edited.context) == ["two"]
        assert edited.context.messages[0].replaces == first.id
        assert edited.context.alternatives[edited.context.messages[0].id] == (
            first.id,
            edited.context.messages[0].id,
        )
        again = await context.regenerate(wait_s=30)
        assert again.context.messages[-1].replaces == edited.context.messages[-1].id
        older = await context.regenerate(reply.id, wait_s=30)
        assert said(older.context) == ["one"]


async def test_branches_are_made_switched_and_merged(store_url: str) -> None:
    async with serving(store_url) as service, Contextd(service.client.url) as client:
        context = await client.create(message="root", wait_s=30)
        head = (await context.state()).messages[-1].id
        made = await context.create_branch(
            "side", from_message_id=head, system_prompt="Be brief."
        )
        assert made.context.branches["side"].head == head
        assert made.context.branches["side"].system_prompt == "Be brief."
        switched = await context.switch_branch("side")
        assert switched.context.active_branch == "side"
        await context.send_message("aside", wait_s=30)
        await context.switch_branch("main")
        with pytest.raises(MergeConflict) as refusal:
            await context.merge_branch("side")
        assert [(c.kind, c.theirs) for c in refusal.value.conflicts] == [
            ("system_prompt", "Be brief.")
        ]
        merged = await context.merge_branch("side", strategy="append", accept_conflicts=True)
        assert said(merged.context) == ["root", "aside"]
        back = await context.switch_branch(message_id=head)
        assert back.context.active_branch == "main"
        with pytest.raises(Refused) as unknown:
            await context.switch_branch("nowhere")
        assert unknown.value.type == "unknown-branch"


async def test_messages_from_elsewhere_are_recorded(store_url: str) -> None:
    async with serving(store_url) as service, Contextd(service.client.url) as client:
        context = await client.create()
        answer = await context.record_messages(
            [
                {"role": "user", "content": "before", "created_at": FAR},
                {"role": "assistant", "content": "yes", "metadata": {"from": "elsewhere"}},
            ]
        )
        first, second = answer.context.messages
        assert (first.content, first.created_at) == ("before", FAR)
        assert (second.content, second.metadata) == ("yes", {"from": "elsewhere"})
        assert answer.context.status == "idle"


async def test_a_context_is_configured_renamed_titled_and_pinned(store_url: str) -> None:
    async with serving(store_url) as service, Contextd(service.client.url) as client:
        context = await client.create(message="A question of some length", wait_s=30)
        patched = await context.configure({"model": "m", "limits": {"rounds_max": 2}})
        assert patched.context.config["model"] == "m"
        restored = await context.configure({"model": None})
        assert restored.context.config["model"] is None
        assert (await context.rename("Other")).context.title == "Other"
        assert (await context.pin()).context.pinned is True
        assert (await context.unpin()).context.pinned is False
        await context.generate_title()
        await until(context, lambda view: view.title == "A question of some length")


async def test_a_context_is_forked_and_exported_and_imported(store_url: str) -> None:
    async with serving(store_url) as service, Contextd(service.client.url) as client:
        context = await client.create(title="Trip", expires_at=FAR)
        first = (await context.send_message("One", wait_s=20)).context
        await context.send_message("Two", wait_s=20)
        fork = await context.fork(at_version=first.version, title="Other", idempotency_key="f")
        again = await context.fork(at_version=first.version, title="Other", idempotency_key="f")
        assert again.id == fork.id != context.id
        forked = await fork.state()
        assert (forked.title, said(forked), forked.expires_at) == ("Other", ["One"], None)
        assert [origin.context_id for origin in forked.origins] == [context.id]
        document = await context.export()
        imported = await (await client.import_context(document)).state()
        assert (imported.title, said(imported)) == ("Trip", ["One", "Two"])
        assert (await context.state()).expires_at == FAR
        await fork.send_message("Three", wait_s=20)
        assert said(await context.state()) == ["One", "Two"]


async def test_a_deleted_context_is_gone(store_url: str) -> None:
    async with serving(store_url) as service, Contextd(service.client.url) as client:
        context = await client.create()
        await context.delete()
        for asked in (context.state(), context.pause(), context.delete()):
            with pytest.raises(NotFound):
                await asked


async def test_an_action_is_done_only_at_the_version_it_was_meant_for(store_url: str) -> None:
    async with serving(store_url) as service, Contextd(service.client.url) as client:
        context = await client.create()
        seen = await context.state()
        await context.rename("x", if_cursor=seen.cursor)
        with pytest.raises(VersionMismatch) as refusal:
            await context.rename("y", if_cursor=seen.cursor)
        assert (refusal.value.status, refusal.value.version) == (412, 2)
        assert (await context.state()).title == "x"


async def test_a_key_of_ones_own_is_done_once_and_stands_for_one_request(
    store_url: str,
) -> None:
    async with serving(store_url) as service, Contextd(service.client.url) as client:
        context = await client.create(idempotency_key="made")
        again = await client.create(idempotency_key="made")
        assert again.id == context.id
        first = await context.send_message("once", idempotency_key="k", wait_s=30)
        second = await context.send_message("once", idempotency_key="k", wait_s=30)
        assert first.action == second.action
        with pytest.raises(KeyReused):
            await context.send_message("twice", idempotency_key="k")
        with pytest.raises(InvalidRequest):  # a key was meant, and none is there
            await context.send_message("twice", idempotency_key="")
        assert said(await context.state()) == ["once"]


async def test_the_state_is_sent_again_only_if_it_has_changed(store_url: str) -> None:
    async with serving(store_url) as service, Contextd(service.client.url) as client:
        context = await client.create()
        other = client.context(context.id)
        first = await context.state()
        assert await context.state() is first
        await other.rename("x")
        assert (await context.state()).title == "x"
        assert repr(context) == f"<Context {context.id} v2 idle>"


async def test_messages_from_elsewhere_are_answered(store_url: str) -> None:
    async with serving(store_url) as service, Contextd(service.client.url) as client:
        context = await client.create()
        answer = await context.request_turn(
            [{"role": "assistant", "content": "Ask me."}, {"role": "user", "content": "Why?"}],
            config={"role": "oracle"},
            wait_s=30,
        )
        assert [m.role for m in answer.context.messages] == ["assistant", "user", "assistant"]
        assert answer.context.config["role"] == "oracle"
