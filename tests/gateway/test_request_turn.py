"""The action `request_turn`: messages, where they stand, how to ask, and the answer."""

from tests.support.service import serving


async def test_messages_from_elsewhere_are_answered(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        messages = [
            {"role": "user", "content": "Hi."},
            {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": "one two three"},
        ]
        asked = {"messages": messages, "config": {"parameters": {"temperature": 0}}}
        answer = await client.act(context_id, "request_turn", asked, Prefer="wait=30")
        assert answer.status == 200
        assert [m["role"] for m in answer.context["messages"]] == [
            *("user", "assistant", "user", "assistant"),
        ]
        assert answer.context["messages"][-1]["content"].startswith("You said, in 3 words")
        assert answer.context["config"]["parameters"] == {"temperature": 0}
        first = answer.context["messages"][0]["id"]
        again = {"messages": messages[2:], "follows": first}
        answer = await client.act(context_id, "request_turn", again, Prefer="wait=30")
        assert [m["role"] for m in answer.context["messages"]] == ["user", "user", "assistant"]


async def test_what_cannot_be_asked_is_refused_and_changes_nothing(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        said = {"messages": [{"role": "user", "content": "Hi."}]}
        for wrong, problem in (
            ({"follows": "none"}, "unknown-message"),
            ({"config": {"limits": {"tools_max": -1}}}, "invalid-config"),
            ({"config": {"limits": {"tools_max": True}}}, "invalid-body"),
            ({"config": {"limits": {"tools_max": "7"}}}, "invalid-body"),
            ({"config": {"nope": None}}, "invalid-config"),
        ):
            answer = await client.act(context_id, "request_turn", {**said, **wrong})
            assert (answer.status, answer.problem) == (422, problem)
        assert (await client.state(context_id))["version"] == 1
