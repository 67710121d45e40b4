"""Performs effects: model calls, tools, retrieval and waiting.

An effect's failure is an event, never an exception; only its cancellation passes. The
answer is posted to the activation, which drops it if nobody waits for it any more.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog
from uuid_utils import uuid7

from fsm import (
    AnyEffect,
    AwaitRetry,
    CallModel,
    Config,
    ContextState,
    MakeTitle,
    PrepareRequest,
    Reference,
    ReplyEnded,
    ReplyFailed,
    ReplyStarted,
    RequestedCall,
    RequestPrepared,
    RetryDue,
    RunTool,
    StopEffect,
    Summary,
    TitleMade,
    ToolFailed,
    ToolReturned,
    call_digest,
    title_of,
)
from storage import NO_TRACES, Span, StorageError, Tracer, describe
from workers.activation import Activation, Clock
from workers.models.protocol import (
    Model,
    ModelError,
    ModelRequest,
    ModelToolCall,
    ReplyFinished,
    ReplyItem,
    TextDelta,
    WireObject,
)
from workers.models.request import RequestBuilder, summary_request, title_request
from workers.models.wire import name_of, wire_client_tool
from workers.places import Places
from workers.tools.declaration import ToolCallContext, ToolError
from workers.tools.index import SearchFailed
from workers.tools.registry import Registry
from workers.tools.retrieval import Retriever

log = structlog.get_logger(__name__)

PROTOCOL: Final = "openai"
"""Name of the model servers' protocol in spans."""

CANCELLED_S_MAX: Final = 1.0
"""How long a tool may take to end once its time is over."""


@dataclass(frozen=True, slots=True)
class Effects:
    """Everything that an effect may need, shared by a worker's activations."""

    model: Model
    requests: RequestBuilder
    tools: Registry
    retrievers: Mapping[str, Retriever]
    places: Places
    """Places at the model."""
    clock: Clock
    draw: Callable[[], float]
    """A random number in [0, 1): the jitter of back-offs."""
    tracer: Tracer = NO_TRACES
    """Makes the spans of effects."""

    async def perform(
        self, effect: AnyEffect, state: ContextState, activation: Activation
    ) -> None:
        """Perform one effect and post its answer."""
        if isinstance(effect, (CallModel, RunTool)):
            # A clock that was ahead when the turn began gives it no more time than a turn has.
            latest_ms = self.clock() + state.config.limits.turn_s_max * 1_000
            if effect.due_ms > latest_ms:
                effect = effect.model_copy(update={"due_ms": latest_ms})
        match effect:
            case CallModel():
                await self._call_model(effect, state, activation)
            case RunTool():
                with self._answered_for(effect, state, activation):
                    activation.post(await self._run_tool(effect, state, activation.traceparent))
            case PrepareRequest():
                activation.post(await self._prepare(effect, state, activation.traceparent))
            case AwaitRetry():
                left_ms = min(effect.due_ms - self.clock(), effect.wait_ms)
                await asyncio.sleep(max(0, left_ms) / 1_000)
                activation.post(RetryDue(at_ms=self.clock(), effect_id=effect.effect_id))
            case MakeTitle():
                activation.post(await self._make_title(effect, state))
            case StopEffect():
                raise AssertionError("the activation itself stops effects")

    def forget(self, context_id: str) -> None:
        """Keep nothing of a context: its activation is over."""
        self.requests.forget(context_id)

    async def _call_model(
        self, effect: CallModel, state: ContextState, activation: Activation
    ) -> None:
        effect_id, message_id = effect.effect_id, str(uuid7())
        try:
            if effect.with_tools:
                # A worker that has just started may not know all of them yet.
                await self.tools.all_told(
                    state.config.tools, role=state.config.role, within_s=self._left_s(effect)
                )
            async with self._place(state.owner, within_s=self._left_s(effect)):
                await self._stream_reply(effect, state, activation, message_id)
        except ModelError as error:
            over = self.clock() >= effect.due_ms
            # Nobody is to wait an hour for a turn whose time is over by then.
            in_time = self.clock() + (error.retry_after_ms or 0) < effect.due_ms
            partial = activation.drafts.partial_of(effect_id)
            _log_failure("model call failed", error, context_id=state.id, effect_id=effect_id)
            activation.post(
                ReplyFailed(
                    at_ms=self.clock(),
                    effect_id=effect_id,
                    code="turn_timeout" if over else error.code,
                    detail=f"{error.detail} {self.model.label}",
                    retryable=error.retryable and in_time,
                    retry_after_ms=error.retry_after_ms,
                    partial=partial,
                    message_id=message_id if partial else None,
                    jitter=self.draw(),
                )
            )

    async def _stream_reply(
        self,
        effect: CallModel,
        state: ContextState,
        activation: Activation,
        message_id: str,
    ) -> None:
        effect_id = effect.effect_id
        offered = self.offered(state.config) if effect.with_tools else ()
        request = self.requests.build(state, effect, offered, now_ms=self.clock())
        if request.timeout_s <= 0:
            raise ModelError("timeout", "The turn's time is over.", False)
        async with self._asked(request, state, activation.traceparent) as (items, span):
            async for item in items:
                if isinstance(item, TextDelta):
                    if activation.drafts.add(effect_id, item.text):
                        started = ReplyStarted(
                            at_ms=self.clock(), effect_id=effect_id, message_id=message_id
                        )
                        activation.post(started)
                else:
                    _note_reply(span, item)
                    calls = tuple(self._requested(c, state.config) for c in item.tool_calls)
                    activation.post(self._reply_ended(effect_id, message_id, item, calls))

    def _left_s(self, effect: CallModel) -> float:
        """What is left of the turn."""
        return max(0, effect.due_ms - self.clock()) / 1_000

    @contextlib.asynccontextmanager
    async def _place(self, owner: str, *, within_s: float) -> AsyncGenerator[None, None]:
        """A place at the model for the length of a block, in turn with other owners'.

        Raises:
            ModelError: There was none in time.
        """
        try:
            await self.places.take(owner, within_s=within_s)
        except TimeoutError:
            detail = "The model was busy with other calls until this one's time was over."
            raise ModelError("timeout", detail, False) from None
        try:
            yield
        finally:
            self.places.leave()

    def offered(self, config: Config) -> Sequence[WireObject]:
        """The tools of the registry, and those that the client runs."""
        offered = self.tools.offered(config.tools, role=config.role)
        if not config.client_tools:
            return offered
        own = {tool.name: wire_client_tool(tool) for tool in config.client_tools}
        return (*(tool for tool in offered if name_of(tool) not in own), *own.values())

    def _reply_ended(
        self,
        effect_id: str,
        message_id: str,
        reply: ReplyFinished,
        calls: tuple[RequestedCall, ...],
    ) -> ReplyEnded:
        return ReplyEnded(
            at_ms=self.clock(),
            effect_id=effect_id,
            message_id=message_id,
            text=reply.text,
            tool_calls=calls,
            finish_reason=reply.finish_reason,
            model=reply.model,
            usage=reply.usage,
            metadata=reply.metadata,
        )

    def _requested(self, call: ModelToolCall, config: Config) -> RequestedCall:
        if any(call.name == tool.name for tool in config.client_tools):
            return RequestedCall(
                id=call.id, name=call.name, arguments=call.arguments, question=True
            )
        problem = self.tools.problem(
            name=call.name, arguments_json=call.arguments, role=config.role
        )
        if problem is not None:
            return RequestedCall(
                id=call.id, name=call.name, arguments=call.arguments, problem=problem
            )
        declared = self.tools.describe(call.name, role=config.role)
        return RequestedCall(
            id=call.id,
            name=call.name,
            arguments=call.arguments,
            effect=declared.effect,
            dangerous=declared.dangerous,
            untrusted=declared.untrusted,
            question=declared.question,
        )

    @contextlib.contextmanager
    def _answered_for(
        self, effect: RunTool, state: ContextState, activation: Activation
    ) -> Generator[None]:
        """Answer for a tool that goes on after its time, though it was cancelled.

        It is left to itself: what it says later answers nothing.
        """
        limit_s = max(0, effect.due_ms - self.clock()) / 1_000
        with contextlib.suppress(ToolError):
            declared = self.tools.describe(effect.name, role=state.config.role)
            limit_s = min(limit_s, declared.timeout_s)

        def answer() -> None:
            log.warning(
                "tool goes on though it was cancelled",
                context_id=state.id,
                effect_id=effect.effect_id,
                tool=effect.name,
            )
            detail = f"{effect.name} did not finish within {limit_s:g} s, and has not ended."
            activation.post(
                ToolFailed(
                    at_ms=self.clock(),
                    effect_id=effect.effect_id,
                    code="timeout",
                    detail=detail,
                )
            )

        timer = asyncio.get_running_loop().call_later(limit_s + CANCELLED_S_MAX, answer)
        try:
            yield
        finally:
            timer.cancel()

    async def _run_tool(
        self, effect: RunTool, state: ContextState, traceparent: str | None
    ) -> ToolReturned | ToolFailed:
        try:
            content = await self._run_traced(effect, state, traceparent)
        except ToolError as error:
            return ToolFailed(
                at_ms=self.clock(),
                effect_id=effect.effect_id,
                code=error.code,
                detail=error.detail,
            )
        return ToolReturned(at_ms=self.clock(), effect_id=effect.effect_id, content=content)

    async def _run_traced(
        self, effect: RunTool, state: ContextState, traceparent: str | None
    ) -> str:
        about = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": effect.name,
            "gen_ai.tool.call.id": effect.call_id,
            "gen_ai.conversation.id": state.id,
        }
        with self.tracer.continued(traceparent, f"tool {effect.name}", about) as span:
            try:
                return await self._run_approved(effect, state)
            except ToolError as error:
                span.failed(error.code)
                raise

    async def _run_approved(self, effect: RunTool, state: ContextState) -> str:
        if call_digest(effect.name, effect.arguments) != effect.digest:
            raise ToolError("digest_mismatch", "These are not the approved arguments.")
        context = ToolCallContext(
            owner=state.owner,
            context_id=state.id,
            effect_id=effect.effect_id,
            call_id=effect.call_id,
        )
        left_s = max(0.0, (effect.due_ms - self.clock()) / 1_000)
        return await self.tools.run(
            effect.name,
            effect.arguments,
            context,
            role=state.config.role,
            timeout_s=left_s,
        )

    async def _prepare(
        self, effect: PrepareRequest, state: ContextState, traceparent: str | None
    ) -> RequestPrepared:
        found: list[Reference] = []
        for name in effect.retrievers:
            retriever = self.retrievers.get(name)
            if retriever is None:
                log.warning("retriever is unknown", context_id=state.id, retriever=name)
                continue
            try:
                found += [
                    reference.model_copy(update={"retriever": name})
                    for reference in await retriever(state, effect.query)
                ]
            except (StorageError, SearchFailed) as error:
                # A request without references is better than no reply.
                log.warning("retriever failed", context_id=state.id, error=str(error))
        summary = None
        if effect.summarise_through is not None:
            summary = await self._summarise(
                effect, effect.summarise_through, state, traceparent
            )
        return RequestPrepared(
            at_ms=self.clock(),
            effect_id=effect.effect_id,
            references=tuple(found),
            summary=summary,
        )

    async def _summarise(
        self,
        effect: PrepareRequest,
        through_id: str,
        state: ContextState,
        traceparent: str | None,
    ) -> Summary | None:
        """A summary of the conversation up to a message; None where the model has failed."""
        request = summary_request(state, through_id, effect_id=effect.effect_id)
        try:
            text = await self._answer(request, state, traceparent)
        except ModelError as error:
            # A request that is too long may still be answered.
            _log_failure(
                "summary failed", error, context_id=state.id, effect_id=effect.effect_id
            )
            return None
        return Summary(through_id=through_id, text=text)

    async def _make_title(self, effect: MakeTitle, state: ContextState) -> TitleMade:
        """A title by the model; without one, how the conversation begins."""
        first = next((m.content for m in state.messages if m.role == "user"), "")
        title = title_of(first) or state.title
        try:
            request = title_request(state, effect_id=effect.effect_id)
            made = title_of(await self._answer(request, state, None))
            title = made.strip("\"' ") or title
        except ModelError as error:
            _log_failure("title failed", error, context_id=state.id, effect_id=effect.effect_id)
        return TitleMade(at_ms=self.clock(), effect_id=effect.effect_id, title=title)

    async def _answer(
        self, request: ModelRequest, state: ContextState, traceparent: str | None
    ) -> str:
        """The whole text of an answer that nobody watches arriving; it has some.

        Raises:
            ModelError: There is none.
        """
        async with (
            self._place(state.owner, within_s=request.timeout_s),
            self._asked(request, state, traceparent) as (items, span),
        ):
            async for item in items:
                if not isinstance(item, TextDelta):
                    _note_reply(span, item)
                    if not item.text.strip():  # a summary stands for all that was said
                        raise ModelError("bad_response", "The answer has no text.", False)
                    return item.text
        raise AssertionError("a stream ends with ReplyFinished")

    @contextlib.asynccontextmanager
    async def _asked(
        self, request: ModelRequest, state: ContextState, traceparent: str | None
    ) -> AsyncGenerator[tuple[AsyncGenerator[ReplyItem, None], Span], None]:
        """The items of a reply, and the span that tells of the call."""
        about: dict[str, str | int] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": PROTOCOL,
            "gen_ai.conversation.id": state.id,
            "contextd.attempt": request.attempt,
            "contextd.purpose": request.purpose,
        }
        if request.model is not None:
            about["gen_ai.request.model"] = request.model
        with self.tracer.continued(traceparent, "model call", about) as span:
            if span.traceparent is not None:
                request = replace(request, traceparent=span.traceparent)
            try:
                async with contextlib.aclosing(self.model.stream(request)) as items:
                    yield items, span
            except ModelError as error:
                span.failed(error.code)
                raise


def _log_failure(message: str, error: ModelError, *, context_id: str, effect_id: str) -> None:
    """Log that the model has not answered, and why."""
    log.warning(
        message,
        context_id=context_id,
        effect_id=effect_id,
        code=error.code,
        retryable=error.retryable,
        cause=describe(error.__cause__) if error.__cause__ else None,
    )


def _note_reply(span: Span, reply: ReplyFinished) -> None:
    """Add what a span may tell of a reply to it: no text."""
    about: dict[str, str | int | tuple[str, ...]] = {
        "gen_ai.response.finish_reasons": (reply.finish_reason,)
    }
    if reply.model is not None:
        about["gen_ai.response.model"] = reply.model
    if reply.usage is not None:
        about["gen_ai.usage.input_tokens"] = reply.usage.prompt_tokens
        about["gen_ai.usage.output_tokens"] = reply.usage.completion_tokens
    span.note(about)
