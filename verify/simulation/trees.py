"""What random clients do with trees, queues and policies.

Invariant: every text is said once in a run, so that whoever judges it knows it again; what a
client names, it has just read.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
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
NEEDS_READING: Final = frozenset({"edit", "regenerate", "switch", "bring", "queue"})
"""Of those, what names something that is there."""
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


@dataclass(frozen=True, slots=True)
class Chosen:
    """What somebody does."""

    action: str
    body: Mapping[str, Json]
    takes: tuple[str, ...] = ()
    """Texts of waiting messages that it names."""


async def act_on_tree(
    client: Client, rng: random.Random, context_id: str, doing: str, text: str
) -> None:
    """Do one of `TREE_ACTIONS`; `text` is said by nobody else."""
    context = await client.read(context_id) if doing in NEEDS_READING else None
    message = f"{text}\n{rng.choice(SCRIPTS)}"
    chosen = choose(rng, doing, message, context=context, now_ms=client.world.now_ms())
    if chosen is not None:
        await client.act(context_id, chosen.action, chosen.body, takes=chosen.takes)


def choose(
    rng: random.Random, doing: str, text: str, *, context: Json | None, now_ms: int
) -> Chosen | None:
    """How to do one of `TREE_ACTIONS`; None if there is nothing to do it with.

    Args:
        rng: Decides.
        doing: Which.
        text: What to say, if something is said.
        context: As it was read; needed for some (`NEEDS_READING`).
        now_ms: Unix time.
    """
    match doing:
        case "say":
            return Chosen("send_message", _message(rng, text, now_ms))
        case "name":
            return Chosen("create_branch", {"name": rng.choice(_BRANCHES)})
        case "record":
            messages = [
                {"role": "user", "content": text},
                {"role": "assistant", "content": "As you say."},
            ]
            return Chosen("record_messages", {"messages": messages})
        case "title":
            return Chosen("generate_title", {})
        case "pin":
            return Chosen(rng.choice(("pin", "unpin")), {})
        case _ if context is not None:
            return _choose_there(rng, doing, text, context)
        case _:
            return None


def _message(rng: random.Random, text: str, now_ms: int) -> Mapping[str, Json]:
    body: dict[str, Json] = {"content": text}
    policy = rng.choice((None, *POLICIES))
    if policy is not None:
        body["policy"] = policy
    if rng.random() < 0.15 and policy not in _DECIDED_ON_ARRIVAL:
        due_s = (now_ms + rng.randrange(_LATER_MS_MAX)) / 1_000
        body["not_before"] = datetime.fromtimestamp(due_s, UTC).isoformat()
    return body


def _choose_there(rng: random.Random, doing: str, text: str, context: Json) -> Chosen | None:
    messages = context["messages"]
    said = [message["id"] for message in messages if message["role"] == "user"]
    match doing:
        case "edit" if said:
            return Chosen("edit_message", {"message_id": rng.choice(said), "content": text})
        case "regenerate":
            replies = [m["id"] for m in messages if m["role"] == "assistant"]
            named = rng.choice([None, *replies])
            return Chosen("regenerate", {"message_id": named} if named else {})
        case "switch":
            beside = [one for ids in context["alternatives"].values() for one in ids]
            ways: list[dict[str, Json]] = [{"name": name} for name in context["branches"]]
            ways += [{"message_id": message_id} for message_id in beside]
            return Chosen("switch_branch", rng.choice(ways))
        case "bring":
            return Chosen("merge_branch", _merge(rng, context))
        case "queue" if context["queue"]:
            return _change_queue(rng, context, text)
        case _:
            return None


def _merge(rng: random.Random, context: Json) -> Mapping[str, Json]:
    source = rng.choice(list(context["branches"]))
    strategy = rng.choice(_STRATEGIES)
    body: dict[str, Json] = {"source": source, "strategy": strategy}
    if strategy == "cherry_pick":
        head = context["branches"][source]["head"]
        body["message_ids"] = [head] if head is not None else []
    body["accept_conflicts"] = rng.random() < 0.7
    return body


def _change_queue(rng: random.Random, context: Json, text: str) -> Chosen:
    waiting = rng.choice(context["queue"])
    takes = (waiting["content"],)
    match rng.choice(("remove", "edit", "move")):
        case "remove":
            return Chosen("update_queue", {"remove": [waiting["id"]]}, takes)
        case "edit":
            return Chosen("update_queue", {"edit": {waiting["id"]: text}}, takes)
        case _:
            return Chosen("update_queue", {"move": {waiting["id"]: 0}})
