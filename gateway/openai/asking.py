"""From a request of these doors to a turn of a context, in one atomic step."""

import contextlib
from collections.abc import AsyncGenerator, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from pydantic import JsonValue
from uuid_utils import uuid7

from fsm import (
    ClientTool,
    Config,
    ContextCreated,
    ContextDeleted,
    Limits,
    RecordedMessage,
    TurnRequested,
)
from gateway.app import Gateway
from gateway.delivery import deliver, orphaned_ms
from gateway.openai.errors import ONCE
from gateway.openai.watch import TurnWatch
from gateway.problems import Problem, problem_of
from storage import Mail, StoreUnavailable

_LIMITS: Final = Limits(tools_max=200)
"""Of contexts that these doors make: the client runs the tools, and counts them itself."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request wants answered, and how."""

    request: str
    """Its number; see `new_request`."""
    messages: tuple[RecordedMessage, ...]
    model: str
    tools: tuple[ClientTool, ...]
    parameters: Mapping[str, JsonValue]
    system_prompt: str | None = None
    """None: as the context has it."""
    key: str = ""
    """Its Idempotency-Key."""
    digest: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    """Labels of a context that is made for it."""
    kept: bool = True
    """Whether anything of it is kept after the answer."""

    @property
    def repeatable(self) -> bool:
        """Whether sending it again cannot say anything twice."""
        return bool(self.key) or not self.kept

    def config(self) -> Config:
        """Configuration of a context that is made for it: the client's tools, and no others."""
        return Config(
            model=self.model,
            system_prompt=self.system_prompt or "",
            parameters=self.parameters,
            tools=(),
            client_tools=self.tools,
            limits=_LIMITS,
        )

    def patch(self) -> dict[str, JsonValue]:
        """Merge patch of the configuration of a context that exists already."""
        patch: dict[str, JsonValue] = {
            "model": self.model,
            "parameters": {"tool_choice": None, **self.parameters},
            "client_tools": [tool.model_dump(mode="json") for tool in self.tools],
        }
        if self.system_prompt is not None:
            patch["system_prompt"] = self.system_prompt
        return patch


@contextlib.contextmanager
def told_once(ask: Ask) -> Generator[None, None, None]:
    """Have clients not send again by themselves what may have been taken, and has no key.

    Raises:
        Problem: store-unavailable, in place of the error that does not say so.
    """
    try:
        yield
    except StoreUnavailable as error:
        problem = problem_of(error)
        if ask.repeatable or problem is None:
            raise
        raise replace(problem, headers=ONCE) from None


async def begin(gateway: Gateway, owner: str, ask: Ask) -> str:
    """Make a context whose first turn answers the request; returns its id."""
    at_ms = gateway.clock()
    created = ContextCreated(
        at_ms=at_ms,
        context_id=str(uuid7()),
        owner=owner,
        labels=ask.labels,
        config=ask.config(),
        expires_ms=None if ask.kept else orphaned_ms(gateway, gateway.config.openai_wait_s_max),
    )
    first = Mail(event=TurnRequested(at_ms=at_ms, messages=ask.messages))
    context_id, repeated = await gateway.store.admissions.create(
        created, first=first, key=ask.key, digest=ask.digest
    )
    if not repeated:
        await gateway.store.queue.enqueue(context_id, owner=owner)
    return context_id


@contextlib.asynccontextmanager
async def watching(
    gateway: Gateway, owner: str, context_id: str, request: str
) -> AsyncGenerator[TurnWatch, None]:
    """Watch the turn of a request that was delivered before.

    Raises:
        Problem: compacted, if the log does not say any more what became of it.
    """
    async with gateway.directory.follow(context_id, owner) as feed:
        watch = TurnWatch(gateway, feed, request)
        try:
            await watch.begin_with_log()
            yield watch
        finally:
            watch.close()


@contextlib.asynccontextmanager
async def going_on(
    gateway: Gateway, owner: str, context_id: str, ask: Ask, follows: str | None
) -> AsyncGenerator[TurnWatch, None]:
    """Have the request answered in a context that exists already, and watch its turn.

    Args:
        gateway: Where the request came in.
        owner: Who asks.
        context_id: Where.
        ask: What.
        follows: Id of the message that it goes on from; None: the last one.

    Raises:
        Problem: The machine refuses it: a turn is running; or compacted, if this is a repeat
            and the log does not say any more what became of it.
    """
    async with gateway.directory.follow(context_id, owner) as feed:
        watch = TurnWatch(gateway, feed, ask.request)
        try:
            event = TurnRequested(
                at_ms=gateway.clock(),
                messages=ask.messages,
                follows=follows,
                patch=ask.patch(),
            )
            with told_once(ask):
                receipt = await deliver(
                    gateway, feed, owner, event, key=ask.key, digest=ask.digest
                )
                if receipt.repeated:
                    watch.close()
                    watch = TurnWatch(gateway, feed, ask.request)
                    await watch.begin_with_log()
                yield watch
        finally:
            watch.close()


async def delete_context_of(gateway: Gateway, owner: str, context_id: str) -> None:
    """Delete a context because its owner wants it, and wait until it is gone.

    Raises:
        Problem: draining, answer-late: it is delivered, and nobody has done it yet.
    """
    event = ContextDeleted(at_ms=gateway.clock())
    try:
        async with (
            gateway.waiting(None),
            gateway.directory.follow(context_id, owner) as feed,
        ):
            await deliver(gateway, feed, owner, event)
    except TimeoutError:
        raise overdue(gateway) from None


def check_model(gateway: Gateway, model: str) -> None:
    """Refuse a model that is not served.

    Raises:
        Problem: not-found, which names those that are.
    """
    served = served_models(gateway)
    if served and model not in served:
        detail = f"There is no model {model[:80]!r}; there are: {', '.join(served)}."
        raise Problem("not-found", detail, {"code": "model_not_found", "param": "model"})


def served_models(gateway: Gateway) -> list[str]:
    """Names of the models that requests may name; none: whatever the model server knows."""
    return [name.strip() for name in gateway.config.openai_models.split(",") if name.strip()]


def check_serving(gateway: Gateway) -> None:
    """Refuse to begin anything while the gateway drains.

    Raises:
        Problem: draining.
    """
    if gateway.stopping.is_set():
        raise overdue(gateway)


def overdue(gateway: Gateway, *, repeatable: bool = True) -> Problem:
    """The problem for a reply that takes longer than may be waited."""
    if gateway.stopping.is_set():
        detail = "This gateway is stopping; another one answers."
        headers = {} if repeatable else ONCE
        return Problem("draining", detail, {"retry_after_s": 1}, headers)
    detail = "The reply takes longer than a request may. In a context, the turn goes on."
    return Problem("answer-late", detail, {}, ONCE)
