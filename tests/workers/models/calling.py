"""What the tests of models share: a request, and a call read to its end."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import orjson
from pydantic import JsonValue

from tests.support.model_server import Script
from workers.models import (
    Model,
    ModelError,
    ModelRequest,
    ReplyFinished,
    TextDelta,
    WireObject,
)

TOOL: dict[str, JsonValue] = {
    "type": "function",
    "function": {
        "name": "clock",
        "description": "Tell the time.",
        "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}},
    },
}


def request(
    said: str | Script = "hello",
    *,
    tools: Sequence[WireObject] = (),
    parameters: Mapping[str, JsonValue] | None = None,
    model: str | None = None,
    key: str = "c1:3.0",
    timeout_s: float = 30.0,
    attempt: int = 1,
    after: Sequence[WireObject] = (),
) -> ModelRequest:
    """A request whose last user message says `said`, with messages `after` it."""
    text = said.in_message() if isinstance(said, Script) else said
    return ModelRequest(
        model=model,
        messages_json=orjson.dumps([{"role": "user", "content": text}, *after]),
        tools=tuple(tools),
        parameters=parameters or {},
        idempotency_key=key,
        timeout_s=timeout_s,
        attempt=attempt,
    )


@dataclass
class Called:
    """What one call gave."""

    deltas: list[str] = field(default_factory=list[str])
    finished: ReplyFinished | None = None
    error: ModelError | None = None

    @property
    def text(self) -> str:
        return "".join(self.deltas)

    @property
    def reply(self) -> ReplyFinished:
        assert self.finished is not None, self.error
        return self.finished

    @property
    def failure(self) -> ModelError:
        assert self.error is not None, self.finished
        return self.error


async def call(model: Model, given: ModelRequest) -> Called:
    called = Called()
    try:
        async with contextlib.aclosing(model.stream(given)) as items:
            async for item in items:
                assert called.finished is None, "something came after the end"
                if isinstance(item, TextDelta):
                    assert item.text
                    called.deltas.append(item.text)
                else:
                    called.finished = item
    except ModelError as error:
        called.error = error
    return called
