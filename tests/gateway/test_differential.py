"""One history, read through every door there is, is one history, at each version of it.

Contexts are used at random: branches, policies, tools, cancellations, workers that leave in the
middle. Whoever polls, streams, listens on a socket, reads the log or an export then has to
come to the same state, and the past has to be what was shown when it was the present.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import pytest

from tests.gateway.folding import Fold, fold, view_of
from tests.gateway.test_sockets import open_socket
from tests.support.service import Client, Json, Service, SseFrame, eventually, serving
from verify.simulation.trees import TREE_ACTIONS, choose

ROUNDS, ROUNDS_LONG = 4, 20
CONTEXTS: Final = 30
"""Of a round, all used at once."""
ROOM: Final = 16
"""Of a worker: less than all contexts, so that each of the three has some."""
STREAMING_MIN: Final = 2
"""Replies that are under way when a worker leaves."""
ACTIONS: Final = 9
CHECKED_VERSIONS: Final = 12
"""Of a history, whose past is read again; the others of every sixth one."""
DECISIONS_MAX: Final = 40
SCRIPTS: Final = (
    *("/chunks 1 0", "/chunks 6 4", "/chunks 40 8", "/tool clock {}"),
    '/tool calculator {"expression": "6*7"}\n/rounds 2',
    '/tool ask_person {"question": "Really?"}',
    *("/fail overloaded 1", "/fail stream_cut 1\n/chunks 8 2", "/fail bad_request"),
)
MODES: Final = ("manual", "auto_loop", "auto_loop")
OTHERS: Final = ("cancel", "pause", "rename", "decide")
RESTING: Final = frozenset(
    {"idle", "awaiting_tool_approval", "awaiting_answer", "failed", "paused"}
)


@dataclass
class Watched:
    """A context, and what was seen of it by whoever was there."""

    context_id: str
    epoch: str
    polls: list[Json] = field(default_factory=list[Json])
    streamed: list[SseFrame] = field(default_factory=list[SseFrame])
    heard: list[Json] = field(default_factory=list[Json])
    over: bool = False
    """Whether nobody uses it any more."""

    @property
    def beginning(self) -> str:
        """The cursor before everything."""
        return f"{self.epoch}.0.0"

    async def reaches(self, cursor: str) -> bool:
        """Whether stream and socket have shown everything up to a cursor."""
        shown = [frame.id for frame in self.streamed[-1:]]
        return [*shown, *(one["id"] for one in self.heard[-1:])] == [cursor, cursor]


async def use(client: Client, rng: random.Random, watched: Watched, name: str) -> None:
    """Act at random, then have everything come to rest."""
    context_id = watched.context_id
    for number in range(ACTIONS):
        doing = rng.choice((*TREE_ACTIONS, "say", "say", *OTHERS))
        text = f"{name}-{number}\n{rng.choice(SCRIPTS)}"
        context = await client.state(context_id)
        now = datetime.fromisoformat(context["updated_at"])
        match doing:
            case "cancel" | "pause":
                await client.act(context_id, doing)
            case "rename":
                await client.act(context_id, "rename", {"title": text})
            case "decide":
                await decide(client, context)
            case _:
                now_ms = int(now.timestamp() * 1_000)
                chosen = choose(rng, doing, text, context=context, now_ms=now_ms)
                if chosen is not None:
                    await client.act(context_id, chosen.action, chosen.body)
        await asyncio.sleep(rng.random() * 0.02)
    await bring_to_rest(client, context_id)


async def decide(client: Client, context: Json) -> None:
    """Do what a person would who wants it to go on."""
    context_id, calls = context["id"], context["pending_tool_calls"]
    for question in context["pending_questions"]:
        body = {"question_id": question["id"], "content": "Yes."}
        await client.act(context_id, "answer", body)
    if pending := [call["id"] for call in calls if call["approval_status"] == "pending"]:
        body = {"tool_call_ids": pending[:1], "deny": [{"id": one} for one in pending[1:]]}
        await client.act(context_id, "approve_tools", body)
    if unknown := [c["id"] for c in calls if c["approval_status"] == "outcome_unknown"]:
        await client.act(context_id, "approve_tools", {"deny": [{"id": unknown[0]}]})
    if context["status"] in {"failed", "paused"}:
        await client.act(context_id, "reset" if context["status"] == "failed" else "resume")


async def bring_to_rest(client: Client, context_id: str) -> None:
    """Decide until the context is idle and nothing waits, not even for its time."""
    for _ in range(DECISIONS_MAX):
        context = await client.until(context_id, *RESTING)
        if context["status"] == "idle" and not context["queue"]:
            return
        if context["status"] == "idle":
            etag = f'"{context["cursor"]}"'
            path = f"/api/contexts/{context_id}/state"
            await client.get(path, If_None_Match=etag, Prefer="wait=2")
        else:
            await decide(client, context)
    pytest.fail(f"{context_id} does not come to rest")


async def poll(service: Service, watched: Watched) -> None:
    """Poll until cancelled, through one gateway after the other."""
    for client in service.clients * 100_000:
        watched.polls.append(await client.state(watched.context_id))
        await asyncio.sleep(0.015)


async def stream(client: Client, watched: Watched) -> None:
    """Watch the stream until cancelled."""
    async with client.stream(watched.context_id, after=watched.beginning) as frames:
        while (frame := await frames.next(60)) is not None:
            watched.streamed.append(frame)


async def listen(client: Client, watched: Watched) -> None:
    """Listen on a socket until cancelled."""
    query = f"?after={watched.beginning}"
    async with open_socket(client, watched.context_id, query) as socket:
        while (message := await socket.next(60)) is not None:
            watched.heard.append(message)


async def watch_one(
    service: Service, rng: random.Random, name: str, all_watched: list[Watched]
) -> None:
    """Use a context while others poll it, stream it and listen to it."""
    here, there = service.clients
    config = {
        "tool_policy": {"mode": rng.choice(MODES)},
        "send_policy": rng.choice(("enqueue", "enqueue", "interrupt", "merge", "steer")),
        "limits": {"backoff_ms_base": 1},
    }
    context_id = await here.create(config=config)
    epoch = (await here.state(context_id))["cursor"].partition(".")[0]
    watched = Watched(context_id, epoch)
    all_watched.append(watched)
    async with asyncio.TaskGroup() as group:
        watching = [
            group.create_task(poll(service, watched), name="poll"),
            group.create_task(stream(here, watched), name="stream"),
            group.create_task(listen(there, watched), name="listen"),
        ]
        await use(rng.choice((here, there)), rng, watched, name)
        end = (await here.state(context_id))["cursor"]
        await eventually(lambda: watched.reaches(end))
        watched.over = True
        for task in watching:
            task.cancel()


async def leave(service: Service, worker: str, all_watched: list[Watched]) -> None:
    """Have a worker leave while some replies are being streamed."""

    async def some_stream() -> bool:
        last = [watched.streamed[-1].event for watched in all_watched if watched.streamed]
        over = sum(watched.over for watched in all_watched) == CONTEXTS
        return over or last.count("reply-delta") >= STREAMING_MIN

    await eventually(some_stream)
    service.stop(worker)


def of_stream(watched: Watched) -> Fold:
    """What the stream has come to."""
    return fold([(frame.id, frame.event, frame.data) for frame in watched.streamed])


def of_socket(watched: Watched) -> Fold:
    """What the socket has come to."""
    return fold([(one["id"], one["event"], one["data"]) for one in watched.heard])


async def logged(client: Client, context_id: str) -> list[Json]:
    """The log, page by page."""
    events: list[Json] = []
    path: str | None = f"/api/contexts/{context_id}/log?limit=7"
    while path is not None:
        answer = await client.get(path)
        events += [entry["event"] for entry in answer.json["events"]]
        link = answer.headers.get("Link")
        path = link[1 : link.index(">")] if link else None
    return events


async def check_doors(service: Service, watched: Watched) -> Fold:
    """Hold everything that was seen of a context against everything else."""
    here, there = service.clients
    context_id = watched.context_id
    live = of_stream(watched)
    final = await there.state(context_id)
    assert live.view_at(final["cursor"]) == final
    # A socket shows the same events, however the text between them is cut
    heard = of_socket(watched)
    assert heard.events == live.events
    assert heard.states == live.states
    assert heard.view_at(final["cursor"]) == final
    # Whoever polled saw the state of some moment
    for polled in watched.polls:
        assert live.view_at(polled["cursor"]) == polled
    assert await logged(there, context_id) == live.events
    # A page of events from the beginning, and one from somewhere
    page = (await here.get(f"/api/contexts/{context_id}/state?after={watched.beginning}")).json
    paged = fold([(one["id"], one["event"], one["data"]) for one in page["events"]])
    assert (paged.events, page["cursor"]) == (live.events, final["cursor"])
    await check_import(there, watched, live)
    return live


async def check_import(client: Client, watched: Watched, live: Fold) -> None:
    """An export that is imported is the same conversation."""
    exported = await client.get(f"/api/contexts/{watched.context_id}/export")
    assert exported.json["events"] == live.events
    made = await client.send("POST", "/api/contexts/import", raw=exported.body)
    assert made.status == 201
    ours = view_of(live.state, watched.epoch)
    own = {"id", "origins", "cursor"}
    assert without(made.context, own) == without(ours, own)


def without(view: Mapping[str, Json], fields: set[str]) -> Json:
    """A view without some of its fields."""
    return {name: value for name, value in view.items() if name not in fields}


async def check_past(client: Client, watched: Watched, live: Fold, versions: list[int]) -> None:
    """The state at a version is what a live subscriber had then."""
    for version in versions:
        path = f"/api/contexts/{watched.context_id}/state?at_version={version}"
        answer = await client.get(path)
        assert answer.context == view_of(live.states[version - 1], watched.epoch), version


async def resume(client: Client, watched: Watched, live: Fold, rng: random.Random) -> None:
    """A stream that is resumed anywhere ends with the same events."""
    at = rng.choice(watched.streamed).id or watched.beginning
    version = int(at.split(".")[1])
    async with client.stream(watched.context_id, after=at) as frames:
        hello = await frames.next()
        assert hello is not None
        shown: list[Json] = []
        while len(shown) < len(live.events) - version:
            frame = await frames.next()
            assert frame is not None
            if frame.event != "reply-delta":
                shown.append(frame.data)
    assert shown == live.events[version:]


@pytest.mark.timeout(900)
async def test_every_door_shows_one_history_at_each_of_its_versions(
    store_url: str, request: pytest.FixtureRequest
) -> None:
    rounds = ROUNDS_LONG if request.config.getoption("--long") else ROUNDS
    kinds: set[str] = set()
    histories = takeovers = 0
    for number in range(rounds):
        rng = random.Random(number)
        async with serving(
            store_url,
            gateways=2,
            workers=3,
            # Nothing that is only accepted is still to come once a context rests.
            gateway={"applied_s_max": 30.0},
            worker={
                "drain_s": 0.0,
                "draft_ms": rng.choice((0, 5)),
                "linger_s": 0.1,
                "activations_max": ROOM,
            },
        ) as service:
            all_watched: list[Watched] = []
            async with asyncio.TaskGroup() as group:
                for one in range(CONTEXTS):
                    chances = random.Random(f"{number} {one}")
                    using = watch_one(service, chances, f"c{one}", all_watched)
                    group.create_task(using, name=f"using {one}")
                for worker in ("worker 0", "worker 1"):
                    await leave(service, worker, all_watched)
            for index, watched in enumerate(all_watched):
                live = await check_doors(service, watched)
                every = range(1, len(live.states) + 1)
                few = rng.sample(every, min(len(every), CHECKED_VERSIONS))
                versions = list(every) if index % 6 == 0 else few
                await check_past(rng.choice(service.clients), watched, live, versions)
                await resume(service.clients[1], watched, live, rng)
                histories += 1
                kinds |= {event["kind"] for event in live.events}
                takeovers += sum(e["kind"] == "reply-restarted" for e in live.events)
    assert histories == rounds * CONTEXTS
    assert takeovers > 0, sorted(kinds)
    # What is not shown by any history is not compared by any
    assert kinds >= {
        *("message-edited", "regenerate-requested", "branch-created", "branch-switched"),
        *("branch-merged", "messages-recorded", "queue-updated", "time-passed"),
        *("approval-given", "answer-given", "cancel-requested", "pause-requested"),
        *("reply-failed", "reply-restarted", "title-made", "tool-returned"),
    }
