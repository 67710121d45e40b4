"""Questions to the chat modes, over a model server that has seen every request."""

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from tests.support.model_server import ModelServer, Script
from tests.support.service import Answer, Client, Json, Options, Service, serving

NOWHERE = "http://127.0.0.1:9/v1"
"""Nobody listens on the port for discarding."""


@dataclass
class Scene:
    """A service whose model server has seen every request."""

    service: Service
    model: ModelServer

    @property
    def client(self) -> Client:
        return self.service.client

    def last_request(self) -> list[Json]:
        """Messages of the last model call."""
        messages = self.model.requests[-1].body["messages"]
        assert isinstance(messages, list)
        return messages

    async def waits(self, context_id: str, count: int) -> bool:
        """Whether so many messages wait in a context."""
        shown = await self.client.state(context_id)
        return len(shown["queue"]) == count

    def last_system(self) -> str:
        """What the model was told before the conversation."""
        first = self.last_request()[0]
        assert first["role"] == "system"
        content: str = first["content"]
        return content


@contextlib.asynccontextmanager
async def scene(store_url: str, **gateway: object) -> AsyncGenerator[Scene, None]:
    model = ModelServer(Script(text="At noon."))
    async with model.running() as url:
        worker: Options = {"model_base_url": url, "model": "mock-1"}
        async with serving(store_url, worker=worker, gateway=gateway) as service:
            yield Scene(service, model)


async def chat(client: Client, mode: str, query: str, **more: object) -> Answer:
    return await client.send("POST", f"/api/chat/{mode}", {"query": query, **more})


async def answered(client: Client, mode: str, query: str, **more: object) -> Json:
    answer = await chat(client, mode, query, **more)
    assert answer.status == 200, answer
    return answer.json


async def contexts(client: Client) -> list[str]:
    """Ids of all contexts that there are."""
    answer = await client.get("/api/contexts")
    return [entry["id"] for entry in answer.json["contexts"]]


async def travel(client: Client) -> str:
    """A context in which something was said that is worth finding; its id."""
    context_id = await client.create(title="Travel")
    said = [
        {"role": "user", "content": "When does the ferry to the island leave?"},
        {"role": "assistant", "content": "The ferry leaves at twelve from pier nine."},
    ]
    answer = await client.act(context_id, "record_messages", {"messages": said})
    assert answer.status == 200
    return context_id
