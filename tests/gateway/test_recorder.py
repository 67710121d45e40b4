"""Programs that bring their own model loop record into the same mailbox as everybody."""

import asyncio
import math
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from fsm import Usage
from storage import (
    ContextMissing,
    KeyReused,
    Reading,
    Recorder,
    RecordRefused,
    StorageConfig,
    Store,
    StoreUnavailable,
    connect,
    open_recorder,
)
from storage.recorder import METADATA_DEPTH_MAX
from tests.support.service import eventually, serving
from tests.support.store_server import StoreServer

OWNER = "local"


async def test_a_recorded_conversation_is_read_like_any_other(store_url: str) -> None:
    async with (
        serving(store_url) as service,
        open_recorder(store_url, owner=OWNER) as recorder,
    ):
        context_id = await recorder.initialize()
        await recorder.record_user_message(context_id, "Hello", client_message_id="c-1")
        usage = Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3)
        await recorder.record_assistant_final(context_id, "Hi.", model="mine", usage=usage)
        await recorder.record_user_message(context_id, "And?")
        await recorder.mark_error(context_id, "The provider is down.", partial="We")
        assert await recorder.cleanup()
        context = await service.client.state(context_id)
        assert [(m["role"], m["content"], m["status"]) for m in context["messages"]] == [
            ("user", "Hello", "complete"),
            ("assistant", "Hi.", "complete"),
            ("user", "And?", "complete"),
            ("assistant", "We", "failed"),
        ]
        assert context["title"] == "Hello"
        failed = context["messages"][3]
        assert failed["metadata"] == {"error": "The provider is down."}
        assert failed["finish_reason"] == "error"
        assert context["status"] == "idle"


async def test_p2_what_is_recorded_twice_under_one_key_is_there_once(store_url: str) -> None:
    async with (
        serving(store_url) as service,
        open_recorder(store_url, owner=OWNER) as recorder,
    ):
        context_id = await recorder.initialize(title="t", key="proxy-1")
        assert await recorder.initialize(title="t", key="proxy-1") == context_id
        for _ in range(3):
            await recorder.record_user_message(context_id, "Hello", key="m-1")
        with pytest.raises(KeyReused):
            await recorder.record_user_message(context_id, "Other", key="m-1")
        assert await recorder.cleanup()
        assert len((await service.client.state(context_id))["messages"]) == 1


async def test_all_that_is_recorded_of_a_message_is_kept(store_url: str) -> None:
    usage = Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3)
    async with serving(store_url), connect(store_url, StorageConfig()) as store:
        recorder = Recorder(store, OWNER)
        context_id = await recorder.initialize(title="t", labels={"by": "proxy"})
        await recorder.record_user_message(
            context_id, "Hello", client_message_id="c-1", metadata={"n": 1}
        )
        await recorder.record_assistant_final(
            context_id, "Hi.", model="m", usage=usage, finish_reason="length", metadata={"n": 2}
        )
        assert await recorder.cleanup()
        view = (await store.read(context_id, OWNER)).view
        assert view is not None
        said, reply = view.state.messages
        assert (view.state.title, view.state.labels) == ("t", {"by": "proxy"})
        assert (said.client_message_id, said.metadata) == ("c-1", {"n": 1})
        assert (reply.model, reply.usage, reply.finish_reason) == ("m", usage, "length")
        assert reply.metadata == {"n": 2}


def nested(depth: int, *, lists: bool = False) -> JsonValue:
    value: JsonValue = 1
    for _ in range(depth):
        value = [value] if lists else {"in": value}
    return value


@pytest.mark.parametrize(
    "value",
    [
        *(nested(METADATA_DEPTH_MAX), nested(METADATA_DEPTH_MAX, lists=True), nested(1_000)),
        *(2**63, -(2**63) - 1, math.nan, math.inf, ["half \ud83d"], {"half \ud83d": 1}),
    ],
    ids=["deep", "deep lists", "deeper", "large", "small", "nan", "inf", "half", "half key"],
)
async def test_metadata_that_nobody_could_read_again_is_not_recorded(
    store_url: str, value: JsonValue
) -> None:
    async with (
        serving(store_url) as service,
        open_recorder(store_url, owner=OWNER) as recorder,
    ):
        context_id = await recorder.initialize()
        with pytest.raises(ValueError, match=r"read again|metadata"):
            await recorder.record_user_message(context_id, "Hello", metadata={"x": value})
        most = {"deep": nested(METADATA_DEPTH_MAX - 1), "large": 2**63 - 1, "small": -(2**63)}
        await recorder.record_user_message(context_id, "Hello", metadata=most)
        assert await recorder.cleanup()
        (said,) = (await service.client.state(context_id))["messages"]
        assert said["metadata"] == most


@pytest.mark.parametrize(
    ("title", "labels"),
    [("half \ud83d", {}), ("", {"by": "half \ud83d"}), ("", {"half \ud83d": "by"})],
    ids=["title", "label", "name of a label"],
)
async def test_no_context_is_made_that_nobody_could_read_again(
    store_url: str, title: str, labels: dict[str, str]
) -> None:
    async with (
        serving(store_url, workers=0) as service,
        open_recorder(store_url, owner=OWNER) as recorder,
    ):
        with pytest.raises(ValueError, match="read again"):
            await recorder.initialize(title=title, labels=labels)
        assert (await service.client.get("/api/contexts")).json["contexts"] == []


async def test_nothing_is_recorded_for_another_owner(store_url: str) -> None:
    async with open_recorder(store_url, owner=OWNER) as recorder:
        context_id = await recorder.initialize()
    async with open_recorder(store_url, owner="eve") as other:
        with pytest.raises(ContextMissing):
            await other.record_user_message(context_id, "Hello")


async def test_p1_what_is_recorded_without_a_worker_is_applied_by_the_next(
    store_url: str,
) -> None:
    async with open_recorder(store_url, owner=OWNER) as recorder:
        context_id = await recorder.initialize()
        await recorder.record_user_message(context_id, "Hello")
        assert not await recorder.cleanup(within_s=0.2)
        async with serving(store_url) as service:
            assert await recorder.cleanup()
            assert len((await service.client.state(context_id))["messages"]) == 1


async def test_a_turn_of_somebody_else_refuses_what_is_recorded_and_says_so(
    store_url: str,
) -> None:
    async with serving(store_url) as service, connect(store_url, StorageConfig()) as store:
        recorder = Recorder(store, OWNER)
        context_id = await service.client.create()
        await service.client.act(context_id, "send_message", {"content": "/hang"})
        await recorder.record_user_message(context_id, "Hello")
        with pytest.raises(RecordRefused) as caught:
            await recorder.cleanup()
        (result,) = caught.value.results.values()
        assert result.code == "illegal-in-phase"


async def test_a_store_that_is_away_for_a_moment_loses_and_doubles_nothing() -> None:
    with StoreServer() as server:
        async with open_recorder(server.url, owner=OWNER) as recorder:
            context_id = await recorder.initialize()
            server.pause()
            async with asyncio.TaskGroup() as group:
                group.create_task(recorder.record_user_message(context_id, "Hello"))
                await asyncio.sleep(0.3)
                server.resume()
            async with serving(server.url) as service:
                assert await recorder.cleanup()
                assert len((await service.client.state(context_id))["messages"]) == 1


async def test_the_example_of_the_page_records_what_it_says(store_url: str) -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "recording.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(code.replace("unix:///path/to/contextd-data/store.sock", store_url), names)
    async with serving(store_url) as service:
        context_id = await names["keep"]()
        statuses = [m["status"] for m in (await service.client.state(context_id))["messages"]]
    assert statuses == ["complete", "complete", "failed"]


async def test_p12_a_full_mailbox_is_waited_for(store_url: str) -> None:
    config = StorageConfig(mailbox_max=1)
    async with open_recorder(store_url, owner=OWNER, config=config) as recorder:
        context_id = await recorder.initialize()
        await recorder.record_user_message(context_id, "one")
        async with asyncio.TaskGroup() as group:
            group.create_task(recorder.record_user_message(context_id, "two"))
            await asyncio.sleep(0)
            async with serving(store_url) as service:

                async def both_are_there() -> bool:
                    state = await service.client.state(context_id)
                    return len(state["messages"]) == 2

                await eventually(both_are_there)


async def test_more_than_the_store_keeps_results_of_is_waited_for_to_its_end(
    store_url: str,
) -> None:
    config = StorageConfig(mailbox_max=4, results_max=4)
    async with (
        serving(store_url) as service,
        open_recorder(store_url, owner=OWNER, config=config) as recorder,
    ):
        context_id = await recorder.initialize()
        for number in range(10):
            await recorder.record_user_message(context_id, f"{number}")
        assert await recorder.cleanup(within_s=5)
        assert len((await service.client.state(context_id))["messages"]) == 10


async def test_a_context_that_was_deleted_meanwhile_is_not_waited_for(store_url: str) -> None:
    async with (
        serving(store_url) as service,
        open_recorder(store_url, owner=OWNER) as recorder,
    ):
        deleted, kept = await recorder.initialize(), await recorder.initialize()
        for context_id in (deleted, kept):
            await recorder.record_user_message(context_id, "Hello")
        assert (await service.client.act(deleted, "delete")).status < 300
        assert await recorder.cleanup(within_s=5)
        assert len((await service.client.state(kept))["messages"]) == 1


async def test_what_others_have_pushed_out_of_the_results_is_not_waited_for(
    store_url: str,
) -> None:
    config = StorageConfig(mailbox_max=4, results_max=4)
    async with (
        serving(store_url),
        open_recorder(store_url, owner=OWNER, config=config) as recorder,
    ):
        context_id = await recorder.initialize()
        await recorder.record_user_message(context_id, "Hello")
        other = Recorder(recorder.store, OWNER)
        for number in range(10):
            await other.record_user_message(context_id, f"{number}")
        assert await recorder.cleanup(within_s=5)


async def test_a_store_that_is_away_at_the_end_is_waited_for(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, away = Store.read, [True, True]

    async def sometimes(store: Store, *asked: Any, **named: Any) -> Reading:
        if away:
            away.pop()
            raise StoreUnavailable("away")
        return await read(store, *asked, **named)

    async with serving(store_url), open_recorder(store_url, owner=OWNER) as recorder:
        context_id = await recorder.initialize()
        await recorder.record_user_message(context_id, "Hello")
        monkeypatch.setattr(Store, "read", sometimes)
        assert await recorder.cleanup(within_s=5)
        assert away == []


async def test_what_a_recorders_block_raises_comes_out_as_it_is(store_url: str) -> None:
    mine = ValueError("mine")
    mine.__cause__ = KeyError("why")
    with pytest.raises(ValueError, match="mine") as caught:
        async with open_recorder(store_url, owner=OWNER):
            raise mine
    assert caught.value is mine
    assert isinstance(mine.__cause__, KeyError)
    with pytest.raises(ContextMissing):
        async with open_recorder(store_url, owner=OWNER) as recorder:
            await recorder.record_user_message("nobody", "Hello")
    with pytest.raises(ExceptionGroup, match="own"):
        async with open_recorder(store_url, owner=OWNER):
            raise ExceptionGroup("own", [ValueError("one")])


async def test_a_store_that_is_not_there_is_no_group_of_errors(tmp_path: Path) -> None:
    config = StorageConfig(store_call_s_max=0.1)
    with pytest.raises(StoreUnavailable):
        async with open_recorder(f"unix://{tmp_path}/nobody.sock", owner=OWNER, config=config):
            raise AssertionError


async def test_what_was_refused_is_told_at_the_end_of_the_block(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        await service.client.act(context_id, "send_message", {"content": "/hang"})
        with pytest.raises(RecordRefused):
            async with open_recorder(store_url, owner=OWNER) as recorder:
                await recorder.record_user_message(context_id, "Hello")
