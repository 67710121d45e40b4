"""What is to happen at a time happens then, whoever has the context, if anybody has."""

import asyncio
from collections.abc import Mapping
from typing import Final

import pytest
from pydantic import JsonValue

from fsm import ContextCreated, Event, Phase, TimePassed
from tests.support.clock import in_virtual_time, settled
from tests.support.playbook import CONTEXT_ID, DELETE, PIN, rename, say, update_queue, wants
from tests.workers.stage import OWNER, Reply, now_ms, nth_id, open_stage

OVERDUE_MS: Final = 500
LATER_MS: Final = 20_000
EXPIRING: Final[Mapping[str, JsonValue]] = {"limits": {"approval_s_max": 20}}


async def until_ms(at_ms: int) -> None:
    """Let time pass."""
    await asyncio.sleep((at_ms - now_ms()) / 1_000)


@in_virtual_time
async def test_a_message_for_later_begins_its_turn_in_an_active_context() -> None:
    async with open_stage(linger_s=1_000) as stage, stage.running():
        due_ms = now_ms() + LATER_MS
        await stage.deliver(say("later", not_before_ms=due_ms))
        await until_ms(due_ms - 10)
        assert [m.content for m in (await stage.state()).messages] == []
        await until_ms(due_ms + 50)
        assert [text for _, text, _ in await stage.said()][:1] == ["later"]
        (passed,) = [event for event in await stage.log() if isinstance(event, TimePassed)]
        assert due_ms <= passed.at_ms <= due_ms + 10


@in_virtual_time
async def test_a_passive_context_is_claimed_when_its_time_comes_and_not_before() -> None:
    async with open_stage(linger_s=0) as stage:
        due_ms = now_ms() + LATER_MS
        await stage.deliver(say("later", not_before_ms=due_ms))
        assert await stage.pass_through() == "idle"

        async def claimed(at_ms: int) -> list[str]:
            return await stage.store.ownership.claim(now_ms=at_ms, overdue_ms=OVERDUE_MS)

        assert await claimed(due_ms - 1) == []
        assert await claimed(due_ms) == [CONTEXT_ID]
        # Whoever claimed it may be dead by now: it is claimed again, but not at once.
        assert await claimed(due_ms + 1) == []
        assert await claimed(due_ms + OVERDUE_MS) == [CONTEXT_ID]
        await until_ms(due_ms)
        assert await stage.pass_through() == "idle"
        assert [text for _, text, _ in await stage.said()][:1] == ["later"]
        assert await claimed(due_ms + 10 * OVERDUE_MS) == []


@in_virtual_time
async def test_an_approval_expires_though_nobody_has_the_context() -> None:
    async with open_stage(config=EXPIRING, linger_s=0) as stage:
        stage.performer.replies.append(Reply((), calls=(wants("c1"),)))
        await stage.deliver(say())
        assert await stage.pass_through() == "idle"
        assert (await stage.state()).phase is Phase.AWAITING_TOOL_APPROVAL
        await asyncio.sleep(21)
        overdue = await stage.store.ownership.claim(now_ms=now_ms(), overdue_ms=OVERDUE_MS)
        assert overdue == [CONTEXT_ID]
        assert await stage.pass_through() == "idle"
        expired = [m for m in (await stage.state()).messages if m.role == "tool"]
        assert [m.metadata["code"] for m in expired] == ["expired"]


@in_virtual_time
async def test_what_is_taken_back_wakes_nobody() -> None:
    async with open_stage(linger_s=0) as stage:
        for _ in range(2):
            await stage.deliver(say("later", not_before_ms=now_ms() + LATER_MS))
        assert await stage.pass_through() == "idle"
        ids = tuple(said.id for said in (await stage.state()).scheduled)
        await stage.deliver(update_queue(remove=ids))
        assert await stage.pass_through() == "idle"
        later_ms = now_ms() + 2 * LATER_MS
        assert await stage.store.ownership.claim(now_ms=later_ms, overdue_ms=OVERDUE_MS) == []


@in_virtual_time
async def test_what_mail_has_taken_back_that_was_not_heard_is_not_told_as_due() -> None:
    async with open_stage(linger_s=1_000) as stage, stage.running():
        due_ms = now_ms() + LATER_MS
        await stage.deliver(say("later", not_before_ms=due_ms))
        await asyncio.sleep(1)
        (said,) = (await stage.state()).scheduled
        commit = stage.store.hold("commit")
        await stage.deliver(rename("one"))
        await commit.reached.wait()
        stage.deaf = True
        await stage.deliver(update_queue(remove=(said.id,)))
        await settled()
        stage.deaf = False
        await stage.deliver(rename("two"))
        await until_ms(due_ms + 1)
        commit.opened.set()
        await settled()
        assert await stage.titles() == ["one", "two"]
        assert await stage.said() == []


@in_virtual_time
async def test_a_deleted_context_is_not_woken() -> None:
    async with open_stage(linger_s=0) as stage:
        await stage.deliver(say("later", not_before_ms=now_ms() + LATER_MS))
        await stage.deliver(DELETE)
        assert await stage.pass_through() == "deleted"
        later_ms = now_ms() + 2 * LATER_MS
        assert await stage.store.ownership.claim(now_ms=later_ms, overdue_ms=OVERDUE_MS) == []


@pytest.mark.parametrize(("action", "end"), [(PIN, "idle"), (DELETE, "deleted")])
@in_virtual_time
async def test_what_was_asked_before_the_end_of_a_context_is_done_before_it(
    action: Event, end: str
) -> None:
    async with open_stage(linger_s=0) as stage:
        expiring = nth_id(2)
        made = ContextCreated(
            at_ms=now_ms(),
            context_id=expiring,
            owner=OWNER,
            expires_ms=now_ms() + LATER_MS,
        )
        await stage.store.admissions.create(made, first=None, key="", digest="")
        await stage.deliver(action, context_id=expiring)
        await asyncio.sleep(2 * LATER_MS / 1_000)
        assert await stage.pass_through(expiring) == end
