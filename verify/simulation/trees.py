"""What random clients do with trees, queues and policies.

Invariant: every text is said once in a run, so that whoever judges it knows it again; what a
client names, it has just read.
"""

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from fsm import SendPolicy
from verify.records import Json
from verify.simulation.clients import Client

POLICIES: Final[tuple[SendPolicy, ...]] = (
    *("enqueue", "reject", "interrupt", "rollback", "steer", "merge", "latest"),
)
TREE_ACTIONS: Final = (
    *("say", "edit", "regenerate", "name", "switch", "bring", "queue"),
    *("record", "title", "pin"),
)
SCRIPTS: Final = (
    *("/chunks 1 0", "/chunks 6 10", "/chunks 20 5", "/tool charge {}"),
    '/tool look {"pause_ms": 40}\n/rounds 2',
    '/tool ask_person {"question": "Really?"}',
    "/fail stream_cut 1\n/chunks 8 5",
)
_BRANCHES: Final = ("b1", "b2", "b3")
_STRATEGIES: Final = ("append", "append", "cherry_pick", "rebase")
_LATER_MS_MAX: Final = 1_500
_DECIDED_ON_ARRIVAL: Final = frozenset({"reject", "interrupt", "rollback"})


async def act_on_tree(
    client: Client, rng: random.Random, context_id: str, doing: str, text: str
) -> None:
    """Do one of `TREE_ACTIONS`; `text` is said by nobody else."""
    match doing:
        case "say":
            body = _message(client, rng, text)
            await client.act(context_id, "send_message", body)
        case "name":
            body = {"name": rng.choice(_BRANCHES)}
            await client.act(context_id, "create_branch", body)
        case "record":
            messages = [
                {"role": "user", "content": text},
                {"role": "assistant", "content": f"As you say: {text}"},
            ]
            await client.act(context_id, "record_messages", {"messages": messages})
        case "title":
            await client.act(context_id, "generate_title", {})
        case "pin":
            await client.act(context_id, rng.choice(("pin", "unpin")), {})
        case _:
            context = await client.read(context_id)
            if context is not None:
                await _act_on_what_is_there(client, rng, context, doing, text)


def _message(client: Client, rng: random.Random, text: str) -> Mapping[str, Json]:
    body: dict[str, Json] = {"content": f"{text}\n{rng.choice(SCRIPTS)}"}
    policy = rng.choice((None, *POLICIES))
    if policy is not None:
        body["policy"] = policy
    if rng.random() < 0.15 and policy not in _DECIDED_ON_ARRIVAL:
        due_s = (client.world.now_ms() + rng.randrange(_LATER_MS_MAX)) / 1_000
        body["not_before"] = datetime.fromtimestamp(due_s, UTC).isoformat()
    return body


async def _act_on_what_is_there(
    client: Client, rng: random.Random, context: Json, doing: str, text: str
) -> None:
    context_id, messages = context["id"], context["messages"]
    said = [message for message in messages if message["role"] == "user"]
    match doing:
        case "edit" if said:
            body = {
                "message_id": rng.choice(said)["id"],
                "content": f"{text}\n{rng.choice(SCRIPTS)}",
            }
            await client.act(context_id, "edit_message", body)
        case "regenerate":
            replies = [m["id"] for m in messages if m["role"] == "assistant"]
            named = rng.choice([None, *replies])
            await client.act(context_id, "regenerate", {"message_id": named} if named else {})
        case "switch":
            beside = [one for ids in context["alternatives"].values() for one in ids]
            ways: list[dict[str, Json]] = [{"name": name} for name in context["branches"]]
            ways += [{"message_id": message_id} for message_id in beside]
            await client.act(context_id, "switch_branch", rng.choice(ways))
        case "bring":
            await _merge(client, rng, context)
        case "queue" if context["queue"]:
            await _change_queue(client, rng, context, text)
        case _:
            pass


async def _merge(client: Client, rng: random.Random, context: Json) -> None:
    source = rng.choice(list(context["branches"]))
    strategy = rng.choice(_STRATEGIES)
    body: dict[str, Json] = {"source": source, "strategy": strategy}
    if strategy == "cherry_pick":
        head = context["branches"][source]["head"]
        body["message_ids"] = [head] if head is not None else []
    body["accept_conflicts"] = rng.random() < 0.7
    await client.act(context["id"], "merge_branch", body)


async def _change_queue(client: Client, rng: random.Random, context: Json, text: str) -> None:
    waiting = rng.choice(context["queue"])
    takes = [waiting["content"]]
    match rng.choice(("remove", "edit", "move")):
        case "remove":
            body: dict[str, Json] = {"remove": [waiting["id"]]}
        case "edit":
            body = {"edit": {waiting["id"]: text}}
        case _:
            body, takes = {"move": {waiting["id"]: 0}}, []
    await client.act(context["id"], "update_queue", body, takes=takes)
