"""The text of a reply that is arriving, and how much of it readers have."""

import asyncio

import pytest
from hypothesis import given, strategies as st

from storage import Draft, DraftConflict, Fenced, StoreRefusedWrite
from tests.support.clock import in_virtual_time, settled, until
from tests.support.memory_store import Fault, MemoryOwnership
from tests.support.playbook import (
    cancel,
    rename,
    say,
)
from tests.workers.stage import Reply, open_stage, taken_over
from workers.draft import DraftBuffer


def begun(*texts: str) -> DraftBuffer:
    draft = DraftBuffer("2.0")
    for text in texts:
        draft.add(text)
    draft.begin()
    draft.reply_id = "m1"
    return draft


def test_nothing_is_sent_before_the_draft_has_begun() -> None:
    draft = DraftBuffer("2.0")
    draft.add("Hel")
    draft.add("lo")
    assert draft.take() is None
    assert draft.begin() == "Hello"
    assert draft.take() is None
    draft.reply_id = "m1"
    assert draft.take() is None
    assert draft.n == 5


def test_what_arrives_while_a_draft_begins_is_the_first_frame() -> None:
    draft = DraftBuffer("2.0")
    draft.add("Hel")
    draft.begin()
    draft.add("lo")
    draft.reply_id = "m1"
    assert draft.waiting
    assert draft.take() == (3, "lo")


def test_one_frame_is_on_its_way_and_the_next_holds_all_that_came_since() -> None:
    draft = begun("a")
    draft.add("b")
    assert draft.take() == (1, "b")
    draft.add("c")
    draft.add("d")
    assert draft.take() is None
    draft.sent()
    assert draft.take() == (2, "cd")
    draft.sent()
    assert not draft.waiting
    assert draft.n == 4


def test_a_frame_that_was_not_confirmed_is_given_again_without_what_came_since() -> None:
    draft = begun("a")
    draft.add("b")
    draft.take()
    draft.add("c")
    draft.not_sent()
    assert draft.waiting
    assert draft.take() == (1, "b")


def test_positions_count_characters_not_bytes() -> None:
    draft = begun("ä👋")
    draft.add("é")
    assert draft.take() == (2, "é")


def test_the_text_is_all_that_has_arrived_sent_or_not() -> None:
    draft = begun("a")
    assert draft.text == "a"
    draft.add("b")
    draft.take()
    draft.add("c")
    assert draft.text == "abc"


@given(
    st.lists(
        st.one_of(
            st.text(min_size=1, max_size=3), st.sampled_from([b"take", b"sent", b"not sent"])
        )
    )
)
def test_frames_join_to_the_text_whatever_is_confirmed_when(steps: list[str | bytes]) -> None:
    draft, store, text = begun("x"), "x", "x"
    frame: tuple[int, str] | None = None
    for step in [*steps, b"take", b"sent", b"take", b"sent"]:
        match step:
            case str():
                draft.add(step)
                text += step
            case b"take":
                frame = draft.take() or frame
            case _ if frame is not None:
                n_before, sent = frame
                if n_before == len(store):
                    store += sent
                else:
                    assert store == store[:n_before] + sent
                if step == b"sent":
                    draft.sent()
                else:
                    draft.not_sent()
                frame = None
            case _:
                pass
    assert store == text == draft.text
    assert draft.n == len(text)


# In an activation


@in_virtual_time
async def test_the_first_text_leaves_with_the_commit_that_begins_the_reply() -> None:
    async with open_stage(say()) as stage:
        stage.performer.usual = Reply(("Hel",), pause_s=1, hangs=True)
        async with stage.running() as run:
            await until(lambda: stage.performer.kinds)
            begun = stage.store.hold("commit")
            await begun.reached.wait()
            run.activation.drafts.add("2.0", "lo")
            begun.opened.set()
            await stage.until_phase("streaming_llm_response")
            assert await stage.draft() == "Hel"
            assert "draft" not in stage.store.steps
            await stage.send_drafts()
            assert await stage.draft() == "Hello"
            assert stage.store.steps.count("draft") == 1


@in_virtual_time
async def test_later_text_leaves_in_frames_that_join_without_a_gap() -> None:
    async with open_stage(say()) as stage:
        stage.performer.usual = Reply(("Hel",), hangs=True)
        async with stage.running() as run:
            await stage.until_phase("streaming_llm_response")
            for text in ("lo ", "wörld", " 👋", "!"):
                run.activation.drafts.add("2.0", text)
                await stage.send_drafts()
            assert await stage.draft() == "Hello wörld 👋!"
            assert not stage.drafts


@in_virtual_time
@pytest.mark.parametrize("fault", ["lost", "unanswered", "refused", "no script"])
async def test_a_frame_whose_outcome_is_unknown_is_sent_again_as_it_was(fault: Fault) -> None:
    async with open_stage(say()) as stage:
        stage.performer.usual = Reply(("Hel",), hangs=True)
        async with stage.running() as run:
            await stage.until_phase("streaming_llm_response")
            stage.store.fail("draft", fault, fault)
            stage.store.fail("reload", "lost")
            run.activation.drafts.add("2.0", "lo")
            await stage.send_drafts()
            run.activation.drafts.add("2.0", "!")
            for _ in range(3):
                await stage.send_drafts()
            assert await stage.draft() == "Hello!"
            assert not run.task.done()


@in_virtual_time
async def test_a_commit_in_mid_reply_leaves_the_draft_as_it_is() -> None:
    async with open_stage(say()) as stage, stage.running() as run:
        stage.performer.usual = Reply(("Hel",), hangs=True)
        await stage.until_phase("streaming_llm_response")
        run.activation.drafts.add("2.0", "lo")
        await stage.send_drafts()
        run.activation.drafts.add("2.0", "!")
        await stage.deliver(rename("one"))
        await until(lambda: stage.store.commits[-1].acknowledged == 2)
        assert stage.store.commits[-1].draft == Draft("keep", n=5)
        await stage.send_drafts()
        assert await stage.draft() == "Hello!"


@in_virtual_time
async def test_text_that_came_before_its_reply_has_begun_outlasts_a_commit() -> None:
    async with open_stage(say(), commit_events_max=1) as stage, stage.running():
        stage.performer.usual = Reply(("Hel",), pause_s=1, hangs=True)
        await until(lambda: stage.performer.kinds)
        commit = stage.store.hold("commit")
        await stage.deliver_all(rename("one"), rename("two"))
        await asyncio.sleep(2)
        assert not stage.drafts, "there is nothing yet that text could be appended to"
        commit.opened.set()
        await stage.until_phase("streaming_llm_response")
        assert await stage.titles() == ["one", "two"]
        assert await stage.draft() == "Hel"


@in_virtual_time
@pytest.mark.parametrize("fault", ["lost", "refused", None])
async def test_scripts_that_the_store_has_forgotten_are_loaded_again(
    fault: Fault | None,
) -> None:
    async with open_stage(say()) as stage, stage.running() as run:
        stage.performer.usual = Reply(("Hel",), hangs=True)
        await stage.until_phase("streaming_llm_response")
        stage.store.fail("draft", "no script")
        if fault is not None:
            stage.store.fail("reload", fault)
        run.activation.drafts.add("2.0", "lo")
        await stage.send_drafts()
        assert stage.store.steps.count("reload") == 1
        await stage.send_drafts()
        assert await stage.draft() == "Hello"


@in_virtual_time
async def test_a_frame_that_a_full_store_refuses_is_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_stage(say()) as stage, stage.running() as run:
        stage.performer.usual = Reply(("Hel",), hangs=True)
        await stage.until_phase("streaming_llm_response")
        refused: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        refused.set_exception(StoreRefusedWrite("read-only"))

        def refuse(*_args: object, **_kwargs: object) -> asyncio.Future[object]:
            return refused

        run.activation.drafts.add("2.0", "lo")
        with monkeypatch.context() as full:
            full.setattr(MemoryOwnership, "append_draft", refuse)
            await stage.send_drafts()
        await stage.send_drafts()
        assert await stage.draft() == "Hello"


@in_virtual_time
async def test_a_frame_that_does_not_continue_the_draft_ends_the_activation_at_once() -> None:
    async with open_stage(say()) as stage:
        stage.performer.usual = Reply(("Hel",), hangs=True)
        async with stage.running() as run:
            await stage.until_phase("streaming_llm_response")
            stage.store.fail("draft", "conflict")
            run.activation.drafts.add("2.0", "lo")
            await stage.send_drafts()
            with pytest.RaisesGroup(DraftConflict):
                await run.ended()
        assert stage.performer.stopped == ["2.0"]


@in_virtual_time
async def test_a_failure_of_the_draft_is_not_forgotten_during_a_commit() -> None:
    async with open_stage(say()) as stage:
        stage.performer.usual = Reply(("Hel",), hangs=True)
        async with stage.running() as run:
            await stage.until_phase("streaming_llm_response")
            commit = stage.store.hold("commit")
            await stage.deliver(rename("one"))
            await commit.reached.wait()
            stage.store.fail("draft", "conflict")
            run.activation.drafts.add("2.0", "lo")
            await stage.send_drafts()
            commit.opened.set()
            with pytest.RaisesGroup(DraftConflict):
                await run.ended()


@in_virtual_time
async def test_a_fenced_frame_ends_the_activation_as_taken_over() -> None:
    async with open_stage(say()) as stage:
        stage.performer.usual = Reply(("Hel",), hangs=True)
        async with stage.running() as run:
            await stage.until_phase("streaming_llm_response")
            await taken_over(stage)
            run.activation.drafts.add("2.0", "lo")
            await stage.send_drafts()
            with pytest.RaisesGroup(Fenced):
                await run.ended()
        assert await stage.draft() == "Hel"


@in_virtual_time
async def test_the_outcome_of_a_frame_does_not_concern_the_draft_after_it() -> None:
    async with open_stage(say("one")) as stage:
        stage.performer.usual = Reply(("Hel",), hangs=True)
        async with stage.running() as run:
            await stage.until_phase("streaming_llm_response")
            stage.store.fail("draft", "conflict")
            run.activation.drafts.add("2.0", "lo")
            answer = run.activation.drafts.send(version=run.activation.state.version)
            assert answer is not None
            await stage.deliver_all(cancel(), say("two"))
            await until(lambda: len(stage.performer.kinds) == 2)
            await stage.until_phase("streaming_llm_response")
            await run.activation.drafts.confirm(answer)
            await settled()
            assert not run.task.done()
            assert await stage.draft() == "Hel"


@in_virtual_time
async def test_only_one_frame_of_a_reply_is_on_its_way() -> None:
    async with open_stage(say()) as stage:
        stage.performer.usual = Reply(("Hel",), hangs=True)
        async with stage.running() as run:
            await stage.until_phase("streaming_llm_response")
            run.activation.drafts.add("2.0", "lo")
            answer = run.activation.drafts.send(version=run.activation.state.version)
            assert answer is not None
            run.activation.drafts.add("2.0", "!")
            assert run.activation.drafts.send(version=run.activation.state.version) is None
            await run.activation.drafts.confirm(answer)
            await stage.send_drafts()
            assert await stage.draft() == "Hello!"


@in_virtual_time
async def test_a_reply_that_has_ended_leaves_no_draft() -> None:
    async with open_stage(say()) as stage:
        stage.performer.usual = Reply(("Hel", "lo"), pause_s=1)
        await stage.pass_through()
        assert await stage.draft() == ""
        assert [commit.draft.op for commit in stage.store.commits] == [
            *("keep", "start", "clear")
        ]


@in_virtual_time
async def test_cancel_keeps_exactly_the_text_that_had_arrived() -> None:
    async with open_stage(say()) as stage:
        stage.performer.usual = Reply(("Hel",), hangs=True)
        async with stage.running() as run:
            await stage.until_phase("streaming_llm_response")
            run.activation.drafts.add("2.0", "lo")  # not sent to anybody yet
            commit = stage.store.hold("commit")
            await stage.deliver(cancel())
            await commit.reached.wait()
            run.activation.drafts.add("2.0", " too late")
            commit.opened.set()
            assert await run.ended() == "idle"
        assert await stage.said() == [
            ("user", "Hello", "complete"),
            ("assistant", "Hello", "cancelled"),
        ]
        assert stage.performer.stopped == ["2.0"]
        assert await stage.draft() == ""


@in_virtual_time
async def test_cancel_before_the_first_text_keeps_nothing_of_a_reply() -> None:
    async with open_stage(say()) as stage:
        stage.performer.usual = Reply((), hangs=True)
        async with stage.running() as run:
            await stage.until_phase("awaiting_llm_response")
            await stage.deliver(cancel())
            assert await run.ended() == "idle"
        assert await stage.said() == [("user", "Hello", "complete")]


@in_virtual_time
async def test_cancel_does_not_take_the_text_of_the_reply_before() -> None:
    async with open_stage(say("one"), say("two")) as stage:
        stage.performer.replies.extend((Reply(("first",), hangs=True), Reply((), hangs=True)))
        async with stage.running() as run:
            await stage.until_phase("streaming_llm_response")
            commit = stage.store.hold("commit")
            await stage.deliver(cancel())
            await commit.reached.wait()
            run.activation.drafts.add("2.0", "an echo of the first")
            commit.opened.set()
            await until(lambda: len(stage.performer.kinds) == 2)
            await stage.deliver(cancel())
            await run.ended()
        assert [content for _, content, _ in await stage.said()] == ["one", "first", "two"]
