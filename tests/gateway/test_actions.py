"""Actions: each one applied, each one refused, and what is said about it."""

from urllib.parse import quote

import pytest

from tests.support.service import eventually, serving

TOOL = "/tool clock {}"


async def test_a_message_is_answered_once_it_is_applied(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        answer = await service.client.act(
            context_id, "send_message", {"content": "/hang", "metadata": {"a": [1, None]}}
        )
        assert answer.status == 200
        assert answer.json["action"] == {
            "id": service.action_id(context_id, 1),
            "result": "applied",
            "version": 2,
        }
        assert answer.json["status"] in {"awaiting_llm_response", "streaming_llm_response"}
        assert answer.context["messages"][0]["metadata"] == {"a": [1, None]}
        assert answer.context["turn_id"] == answer.context["messages"][0]["id"]
        assert "Preference-Applied" not in answer.headers


async def test_content_may_be_typed_parts_of_any_kind(store_url: str) -> None:
    async with serving(store_url) as service:
        parts = [
            {"type": "text", "text": "look"},
            {"type": "image_url", "image_url": {"url": "data:,x"}},
            {"type": "x-unheard-of", "depth": {"a": 1.5}},
        ]
        context_id = await service.client.create()
        answer = await service.client.say(context_id, parts)
        message = answer.context["messages"][0]
        assert (message["content"], message["parts"]) == ("look", parts)


async def test_messages_during_a_turn_wait_in_the_visible_queue(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        await client.act(context_id, "send_message", {"content": "/hang"})
        body = {"content": "second", "client_message_id": "q"}
        queued = await client.act(context_id, "send_message", body)
        (entry,) = queued.context["queue"]
        assert (entry["content"], entry["policy"]) == ("second", "enqueue")
        assert entry["client_message_id"] == "q"
        await client.act(context_id, "cancel")
        state = await client.until(context_id, "idle")
        assert [m["content"] for m in state["messages"] if m["role"] == "user"] == [
            "/hang",
            "second",
        ]


async def test_a_full_queue_is_refused_with_429(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create(config={"limits": {"queue_max": 1}})
        for content in ("/hang", "waits"):
            await client.act(context_id, "send_message", {"content": content})
        answer = await client.act(context_id, "send_message", {"content": "no room"})
        assert (answer.status, answer.problem) == (429, "queue-full")
        assert answer.headers["Retry-After"] == "1"


async def test_a_tool_call_waits_runs_once_approved_and_ignores_a_second_approval(
    store_url: str,
) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        asked = await client.say(context_id, TOOL)
        assert (asked.status, asked.json["status"]) == (200, "awaiting_tool_approval")
        (call,) = asked.context["pending_tool_calls"]
        assert (call["name"], call["approval_status"]) == ("clock", "pending")
        approval = {"tool_call_ids": [call["id"]]}
        done = await client.act(context_id, "approve_tools", approval, Prefer="wait=30")
        assert (done.status, done.json["status"]) == (200, "idle")
        roles = [message["role"] for message in done.context["messages"]]
        assert roles == ["user", "assistant", "tool", "assistant"]
        again = await client.act(context_id, "approve_tools", approval)
        assert (again.status, again.problem) == (400, "no-pending-approvals")
        assert again.json["detail"] == "No pending tool approvals"
        assert (await client.state(context_id)) == done.context


async def test_tool_calls_are_denied_and_edited_by_id(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        asked = await client.say(context_id, f'{TOOL}\n/tool calculator {{"expression": "1"}}')
        clock, calculator = asked.context["pending_tool_calls"]
        done = await client.act(
            context_id,
            "approve_tools",
            {
                "tool_call_ids": [calculator["id"]],
                "deny": [{"id": clock["id"], "reason": "not now"}],
                "edits": {calculator["id"]: {"expression": "6 * 7"}},
            },
            Prefer="wait=30",
        )
        assert (done.status, done.json["status"]) == (200, "idle")
        results = {
            message["tool_call_id"]: message["content"]
            for message in done.context["messages"]
            if message["role"] == "tool"
        }
        assert "not now" in results[clock["id"]]
        assert "42" in results[calculator["id"]]


async def test_an_unknown_tool_call_decides_nothing(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        asked = await client.say(context_id, TOOL)
        call_id = asked.context["pending_tool_calls"][0]["id"]
        answer = await client.act(
            context_id, "approve_tools", {"tool_call_ids": [call_id, "nobody"]}
        )
        assert (answer.status, answer.problem) == (422, "unknown-tool-call")
        assert answer.json["phase"] == "awaiting_tool_approval"
        assert (await client.state(context_id)) == asked.context


async def test_cancel_keeps_the_partial_reply_marked_cancelled(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        await client.act(context_id, "send_message", {"content": "/hang"})
        streaming = await client.until(context_id, "streaming_llm_response")
        answer = await client.act(context_id, "cancel", {"turn_id": streaming["turn_id"]})
        assert (answer.status, answer.json["status"]) == (200, "idle")
        assert answer.context["draft"] is None
        reply = answer.context["messages"][-1]
        assert reply["id"] == streaming["draft"]["message_id"]
        assert (reply["status"], reply["finish_reason"]) == ("cancelled", "cancelled")
        assert reply["content"].startswith(streaming["draft"]["text"])


async def test_cancel_of_another_turn_is_refused(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        await client.act(context_id, "send_message", {"content": "/hang"})
        answer = await client.act(context_id, "cancel", {"turn_id": "another"})
        assert (answer.status, answer.problem) == (409, "unknown-turn")


@pytest.mark.parametrize("way_out", ["retry", "reset"])
async def test_a_failed_context_is_left_by_retry_and_by_reset(
    store_url: str, way_out: str
) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        failed = await client.say(context_id, "/fail bad_request 1")
        assert (failed.status, failed.json["status"]) == (200, "failed")
        assert failed.context["error"]["code"] == "bad_request"
        answer = await client.act(context_id, way_out, Prefer="wait=30")
        if way_out == "reset":
            assert answer.json["status"] == "idle"
        assert answer.status == 200
        assert answer.json["action"]["result"] == "applied"


async def test_a_paused_context_goes_on_when_resumed(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        paused = await client.act(context_id, "pause")
        assert paused.json["status"] == "paused"
        waits = await client.act(context_id, "send_message", {"content": "later"})
        assert [entry["content"] for entry in waits.context["queue"]] == ["later"]
        resumed = await client.act(context_id, "resume", Prefer="wait=30")
        assert resumed.json["status"] == "idle"
        assert len(resumed.context["messages"]) == 2


async def test_configure_patches_and_null_restores_the_default(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        patch = {"model": "m", "parameters": {"temperature": 0.25}, "limits": {"rounds_max": 2}}
        first = await client.act(context_id, "configure", patch)
        assert first.status == 200
        assert first.context["config"]["parameters"] == {"temperature": 0.25}
        assert first.context["config"]["limits"]["rounds_max"] == 2
        assert first.context["config"]["limits"]["tools_max"] == 20
        second = await client.act(context_id, "configure", {"model": None, "limits": None})
        assert second.context["config"]["model"] is None
        assert second.context["config"]["limits"]["rounds_max"] == 5


@pytest.mark.parametrize(
    "patch",
    [
        {"limits": {"rounds_max": 0}},
        {"unheard_of": 1},
        {"unheard_of": None},
        {"tool_policy": {"mode": "chaos"}},
    ],
)
async def test_a_configuration_that_would_be_invalid_is_refused(
    store_url: str, patch: dict[str, object]
) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        before = await service.client.state(context_id)
        answer = await service.client.act(context_id, "configure", patch)
        assert (answer.status, answer.problem) == (422, "invalid-config")
        assert (await service.client.state(context_id)) == before


async def test_configure_takes_the_media_type_of_merge_patches(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        answer = await service.client.send(
            "POST",
            f"/api/contexts/{context_id}/actions/configure",
            raw=b'{"role":"pirate"}',
            headers={"Content-Type": "application/merge-patch+json"},
        )
        assert answer.context["config"]["role"] == "pirate"


async def test_rename_changes_the_title_and_renaming_alike_changes_nothing(
    store_url: str,
) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create(title="a")
        first = await service.client.act(context_id, "rename", {"title": "b"})
        assert (first.context["title"], first.json["version"]) == ("b", 2)
        again = await service.client.act(context_id, "rename", {"title": "b"})
        assert (again.status, again.json["version"]) == (200, 2)
        assert again.headers["ETag"] == first.headers["ETag"]


@pytest.mark.parametrize("action", ["retry", "reset", "resume", "cancel"])
async def test_what_the_phase_forbids_is_refused_with_what_it_allows(
    store_url: str, action: str
) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        before = await service.client.state(context_id)
        answer = await service.client.act(context_id, action)
        assert (answer.status, answer.problem) == (409, "illegal-in-phase")
        assert answer.json["phase"] == "idle"
        assert answer.json["version"] == 1
        assert set(answer.json["allowed_actions"]) == {
            *("send_message", "edit_message", "regenerate", "update_queue", "create_branch"),
            *("switch_branch", "merge_branch", "record_messages", "request_turn", "pause"),
            *("configure", "rename", "generate_title", "pin", "unpin", "delete"),
        }
        assert (await service.client.state(context_id)) == before


async def test_a_refusal_is_told_by_the_action_status_too(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        receipt = await service.client.act(context_id, "resume", Prefer="respond-async")
        assert (receipt.status, receipt.context) == (202, None)
        location = receipt.headers["Location"]
        assert location == f"/api/actions/{service.action_id(context_id, 1)}"

        async def applied() -> bool:
            result: str = (await service.client.get(location)).json["result"]
            return result != "waiting"

        await eventually(applied)
        status = await service.client.get(location)
        assert status.json["result"] == "refused"
        assert status.json["version"] == 1
        assert status.json["problem"]["type"] == "/problems/illegal-in-phase"


async def test_an_action_that_was_never_sent_has_no_status(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        context_id = await service.client.create()
        epoch = service.stores[0].epoch
        for name in ("1", "0", "01", "-1", "1.1", "x", "9" * 16, "٣", ""):
            answer = await service.client.get(
                f"/api/actions/{context_id}.{epoch}.{quote(name)}"
            )
            assert (answer.status, answer.problem) == (404, "not-found"), name


async def test_an_action_that_is_forgotten_does_not_wait(store_url: str) -> None:
    few = {"mailbox_max": 2, "results_max": 2}
    async with serving(store_url, storage=few) as service:
        context_id = await service.client.create()
        for title in ("a", "b", "c"):
            await service.client.act(context_id, "rename", {"title": title})
    async with serving(store_url, workers=0, storage=few) as service:
        client, actions = service.client, f"/api/actions/{context_id}.{service.stores[0].epoch}"
        forgotten = await client.get(f"{actions}.1")
        assert (forgotten.status, forgotten.problem) == (404, "not-found")
        assert "no longer remembered" in forgotten.json["detail"]
        assert (await client.get(f"{actions}.2")).json["result"] == "applied"
        for _ in range(2):
            await client.act(context_id, "pause", Prefer="respond-async")
        for number in (4, 5):
            waiting = await client.get(f"{actions}.{number}")
            assert waiting.json["result"] == "waiting"


async def test_if_match_applies_only_to_the_version_it_names(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        etag = (await client.get(f"/api/contexts/{context_id}")).headers["ETag"]
        good = await client.act(context_id, "rename", {"title": "x"}, If_Match=etag)
        assert good.status == 200
        stale = await client.act(context_id, "rename", {"title": "y"}, If_Match=etag)
        assert (stale.status, stale.problem) == (412, "version-mismatch")
        assert stale.json["version"] == 2
        epoch, version, n = good.context["cursor"].split(".")
        foreign = f'"{int(epoch) + 1}.{version}.{n}"'
        other = await client.act(context_id, "rename", {"title": "y"}, If_Match=foreign)
        assert other.status == 412
        star = await client.act(context_id, "rename", {"title": "z"}, If_Match="*")
        assert (star.status, star.context["title"]) == (200, "z")


@pytest.mark.parametrize("value", ["nonsense", '"1.2"', '"a.b.c"', '"1.2.3", "1.2.4"', ""])
async def test_if_match_that_is_no_etag_of_ours_is_refused(store_url: str, value: str) -> None:
    async with serving(store_url, workers=0) as service:
        context_id = await service.client.create()
        answer = await service.client.act(context_id, "pause", If_Match=value)
        assert (answer.status, answer.problem) == (400, "invalid-header")


async def test_a_full_mailbox_is_refused_with_429_and_takes_nothing(store_url: str) -> None:
    async with serving(store_url, workers=0, storage={"mailbox_max": 2}) as service:
        client = service.client
        context_id = await client.create()
        for _ in range(2):
            taken = await client.act(context_id, "pause", Prefer="respond-async")
            assert taken.status == 202
        answer = await client.act(context_id, "pause", Prefer="respond-async")
        assert (answer.status, answer.problem) == (429, "mailbox-full")
        assert answer.headers["Retry-After"] == "1"
        assert (
            await client.get(f"/api/actions/{service.action_id(context_id, 3)}")
        ).status == 404


async def test_an_unknown_action_is_not_found_and_told_the_known_ones(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        context_id = await service.client.create()
        for name in ("sing", "SEND_MESSAGE", "%2e%2e", "a" * 300):
            answer = await service.client.act(context_id, name)
            assert (answer.status, answer.problem) == (404, "not-found")
            assert "send_message" in answer.json["detail"]
