"""`contextd replay`: proves that what the server shows of a context is what its log says.

The log is folded here, from its beginning, and compared with what the server shows, which was
folded from snapshot to snapshot and went through the memory of a gateway.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import orjson
from pydantic import JsonValue

from fsm import ContextState, Refusal, StaleAnswer, decode_event, replay
from gateway.mirror import Mirror
from runtime.admin_client import AdminClient, CannotAsk, Json
from storage import View

_NOT_OF_THE_LOG = frozenset({"cursor", "draft"})
"""Fields that do not follow from the log: a cursor holds epoch and draft position, and a draft
is not committed."""
_TRIES_MAX = 5
"""How often a context that changes meanwhile is read again."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A folded log, compared with what the server shows."""

    version: int
    events: int
    """How many events were folded."""
    base_version: int | None
    """Version of the state that they go on from, where the log was compacted."""
    context: Json
    """What the log says."""
    difference: str | None
    """The first place where the server shows something else; None: there is none."""


def replay_context(client: AdminClient, context_id: str, *, at_version: int | None) -> Replay:
    """Fold a log up to a version (None: all of it), and compare.

    Raises:
        CannotAsk: The log or the state is not to be had.
    """
    path = f"/api/contexts/{context_id}"
    for _ in range(_TRIES_MAX):
        document = client.get(f"{path}/export")
        query = "" if at_version is None else f"?at_version={at_version}"
        shown: Json = client.get(f"{path}/state{query}")["context"]
        if shown["version"] <= document["version"]:
            return _compare(document, shown)
    raise CannotAsk("The context changes faster than it is read; name a version with --at.")


def _compare(document: Json, shown: Json) -> Replay:
    base, version = document.get("base"), int(shown["version"])
    state = ContextState.model_validate_json(orjson.dumps(base)) if base is not None else None
    before = state.version if state else 0
    events = document["events"][: version - before]
    for number, event in enumerate(events, start=before + 1):
        try:
            state = replay([decode_event(orjson.dumps(event))], state)
        except (Refusal, StaleAnswer) as error:
            found = f"event {number} ({event['kind']}): the machine does not take it: {error}"
            return Replay(version, number - before, before or None, {}, found)
    assert state is not None, "a log begins with a base, or an event"
    epoch = str(shown["cursor"]).partition(".")[0]
    said: Json = orjson.loads(Mirror(View(state, 0, ""), epoch).context_json())
    different = next(_differences(_of_the_log(said), _of_the_log(shown), ""), None)
    return Replay(version, len(events), before or None, said, different)


def _of_the_log(context: Json) -> Json:
    return {name: value for name, value in context.items() if name not in _NOT_OF_THE_LOG}


def _differences(said: JsonValue, shown: JsonValue, where: str) -> Iterator[str]:
    """Where and how two JSON values differ."""
    match said, shown:
        case dict(), dict():
            for name in sorted({*said, *shown}):
                place = f"{where}.{name}" if where else name
                if name not in said or name not in shown:
                    yield f"{place} is there only {'in the log' if name in said else 'shown'}"
                else:
                    yield from _differences(said[name], shown[name], place)
        case list(), list():
            for number, (ours, theirs) in enumerate(zip(said, shown, strict=False)):
                yield from _differences(ours, theirs, f"{where}[{number}]")
            if len(said) != len(shown):
                yield f"{where}: the log says {len(said)} entries, {len(shown)} are shown"
        case _:
            if said != shown:
                yield f"{where}: the log says {_short(said)}, shown is {_short(shown)}"


def _short(value: object) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 200 else f"{text[:200]}..."
