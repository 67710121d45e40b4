"""OpenAI's own client, unmodified, against gateways and workers of this process."""

import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionFunctionToolParam
from openai.types.responses import FunctionToolParam

from storage import StoreUnavailable
from storage.admissions import Admissions
from tests.support.service import Json, Options, Service, serving

MODEL = "scripted"
SCHEMA: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}}
CHAT_TOOL: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {"name": "weather", "description": "Look outside.", "parameters": SCHEMA},
}
TOOL: FunctionToolParam = {
    "type": "function",
    "name": "weather",
    "description": "Look outside.",
    "parameters": SCHEMA,
    "strict": False,
}


@dataclass(slots=True)
class Talk:
    """A service, and a client of each of its gateways."""

    service: Service
    clients: Sequence[AsyncOpenAI]

    @property
    def client(self) -> AsyncOpenAI:
        """Of the first gateway."""
        return self.clients[0]

    async def contexts(self) -> list[Json]:
        """All contexts that there are."""
        answer = await self.service.client.get("/api/contexts")
        listed: list[Json] = answer.json["contexts"]
        return listed

    async def keeps_nothing(self) -> bool:
        """Whether there is no context."""
        return not await self.contexts()


def lose_answer(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Have a store do a step, and the gateway never learn of it; once."""
    done = getattr(Admissions, step)

    async def lost(*given: object, **named: object) -> None:
        monkeypatch.setattr(Admissions, step, done)
        await done(*given, **named)
        raise StoreUnavailable("the connection broke")

    monkeypatch.setattr(Admissions, step, lost)


@contextlib.asynccontextmanager
async def talking(
    store_url: str,
    *,
    gateways: int = 1,
    workers: int = 1,
    gateway: Options | None = None,
    worker: Options | None = None,
    storage: Options | None = None,
) -> AsyncGenerator[Talk, None]:
    """Run a service and its clients, which try nothing twice."""
    options = {"openai_models": MODEL, **(gateway or {})}
    async with (
        contextlib.AsyncExitStack() as stack,
        serving(
            store_url,
            gateways=gateways,
            workers=workers,
            gateway=options,
            worker=worker,
            storage=storage,
        ) as service,
    ):
        clients = [
            await stack.enter_async_context(
                AsyncOpenAI(base_url=f"{client.url}/v1", api_key="unused", max_retries=0)
            )
            for client in service.clients
        ]
        yield Talk(service, clients)
