"""One context: a method for each action, its state, its stream.

An action is done once, however often it had to be sent: it carries an Idempotency-Key, and a
repeat has the same key and the same bytes.
"""

import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime
from typing import Unpack
from urllib.parse import quote

import uuid_utils
from pydantic import JsonValue
from typing_extensions import override

from contextd_client.bodies import (
    ActionOptions,
    Attachment,
    Content,
    CreateOptions,
    Denial,
    MergeStrategy,
    RecordedMessage,
    SendPolicy,
    encode,
    to_json,
)
from contextd_client.connection import Answer, Connection
from contextd_client.events import Bye, Event, Hello, ReplyDelta
from contextd_client.problems import NotFound
from contextd_client.stream import follow
from contextd_client.views import ActionResponse, ContextView


async def post(
    connection: Connection,
    path: str,
    body: bytes,
    options: CreateOptions,
    *,
    if_cursor: str | None = None,
) -> Answer:
    """Send a request that is to be done once, under an Idempotency-Key."""
    key = options.get("idempotency_key")
    if key is None:
        key = str(uuid_utils.uuid7())
    wait_s = options.get("wait_s", 0)
    headers = {"Idempotency-Key": key}
    if wait_s:
        headers["Prefer"] = f"wait={wait_s}"
    if if_cursor is not None:
        headers["If-Match"] = f'"{if_cursor}"'
    return await connection.ask("POST", path, body=body, headers=headers, wait_s=wait_s)


class Context:
    """A handle for one context. Made by `Contextd.context` and `Contextd.create`.

    Each action takes the options of `ActionOptions` and answers with the state after it. It
    raises `Refused` where the context does not do that now, `NotFound` where it is gone, and
    whatever else `contextd_client/problems.py` lists. An action that no worker has taken up
    within 2 s is accepted, and not `applied` yet; `Contextd.action` tells what became of it.
    """

    def __init__(
        self, connection: Connection, context_id: str, *, seen: ContextView | None = None
    ) -> None:
        self.id = context_id
        self.seen = seen
        """The state that was answered last; None before the first answer."""
        self._connection = connection
        self._path = f"/api/contexts/{quote(context_id, safe='')}"

    @override
    def __repr__(self) -> str:
        seen = f"v{self.seen.version} {self.seen.status}" if self.seen else "not seen yet"
        return f"<Context {self.id} {seen}>"

    # Reading

    async def state(self) -> ContextView:
        """The state as it is now; sent over the wire only if it has changed.

        It shows every action that was answered before, whoever has sent it.
        """
        # A gateway that cannot ask the store is to say so, not to tell what it remembers.
        headers = {"Cache-Control": "no-cache"}
        if self.seen is not None:
            headers["If-None-Match"] = f'"{self.seen.cursor}"'
        answer = await self._connection.ask("GET", f"{self._path}/state", headers=headers)
        if self.seen is None or answer.status != 304:
            self.seen = answer.read(ActionResponse).context
        return self.seen

    def stream(self, *, after: str | None = None) -> AsyncGenerator[Event, None]:
        """Events as they happen, from a snapshot on until the context is deleted.

        It goes on by itself where a connection was cut, over any number of them, and shows
        each event once. Whoever leaves it before its end closes it (`contextlib.aclosing`).

        Args:
            after: A cursor to go on from, of a state or of an event; no snapshot then.

        Raises:
            NotFound: There is no such context.
            Unreachable: The server stays away.
        """
        return follow(self._connection, f"{self._path}/events", after)

    async def wait_until_at_rest(self) -> ContextView:
        """Wait until nothing happens any more before somebody acts; the state then.

        Bound it with `asyncio.timeout`: a turn may take minutes.

        Raises:
            NotFound: The context was deleted meanwhile.
        """
        view = await self.state()
        async with contextlib.aclosing(self.stream(after=view.cursor)) as events:
            while not view.at_rest:
                event = await anext(events, None)
                if not isinstance(event, Hello | ReplyDelta | Bye):
                    view = await self.state()
        return view

    # Talking

    async def send_message(
        self,
        content: Content,
        *,
        policy: SendPolicy | None = None,
        attachments: Sequence[Attachment] | None = None,
        not_before: datetime | None = None,
        client_message_id: str | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
        **options: Unpack[ActionOptions],
    ) -> ActionResponse:
        """Say something: it starts a turn, or does as its policy says while one runs.

        Args:
            content: Text, or typed parts.
            policy: What becomes of it during a turn; as configured, if it is not given.
            attachments: What comes with it.
            not_before: It counts as sent then; until then it waits in the queue.
            client_message_id: Your own name for it, found again in the message.
            metadata: Kept with the message.
            **options: See `ActionOptions`.
        """
        return await self._act(
            "send_message",
            options,
            content=content,
            policy=policy,
            attachments=attachments,
            not_before=not_before,
            client_message_id=client_message_id,
            metadata=metadata,
        )

    async def edit_message(
        self,
        message_id: str,
        content: Content,
        *,
        client_message_id: str | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
        **options: Unpack[ActionOptions],
    ) -> ActionResponse:
        """Say something else in a message's place; runs a turn, the old line is kept."""
        return await self._act(
            "edit_message",
            options,
            message_id=message_id,
            content=content,
            client_message_id=client_message_id,
            metadata=metadata,
        )

    async def regenerate(
        self, message_id: str | None = None, **options: Unpack[ActionOptions]
    ) -> ActionResponse:
        """Ask for another alternative of a reply; of the last one, if none is named."""
        return await self._act("regenerate", options, message_id=message_id)

    async def update_queue(
        self,
        *,
        remove: Sequence[str] | None = None,
        edit: Mapping[str, str] | None = None,
        move: Mapping[str, int] | None = None,
        **options: Unpack[ActionOptions],
    ) -> ActionResponse:
        """Change what waits: new text by id, ids to remove, new place by id (0 is next)."""
        return await self._act("update_queue", options, remove=remove, edit=edit, move=move)

    async def record_messages(
        self, messages: Sequence[RecordedMessage], **options: Unpack[ActionOptions]
    ) -> ActionResponse:
        """Add messages that came about elsewhere; no turn begins."""
        return await self._act("record_messages", options, messages=messages)

    async def request_turn(
        self,
        messages: Sequence[RecordedMessage],
        *,
        follows: str | None = None,
        config: Mapping[str, JsonValue] | None = None,
        **options: Unpack[ActionOptions],
    ) -> ActionResponse:
        """Add messages that came about elsewhere, and have the model answer them.

        Args:
            messages: What was said.
            follows: Id of the message that they follow; the last one, if it is not given.
            config: A merge patch of the configuration, in force from this turn on.
            **options: See `ActionOptions`.
        """
        return await self._act(
            "request_turn", options, messages=messages, follows=follows, config=config
        )

    # Deciding

    async def approve_tools(
        self,
        tool_call_ids: Sequence[str] = (),
        *,
        deny: Sequence[Denial] | None = None,
        edits: Mapping[str, Mapping[str, JsonValue]] | None = None,
        **options: Unpack[ActionOptions],
    ) -> ActionResponse:
        """Decide on tool calls; those not named stay pending.

        Args:
            tool_call_ids: Those to be run.
            deny: Those not to be run, with the reason that the model is told.
            edits: Other arguments, by the id of a call that is approved.
            **options: See `ActionOptions`.

        Raises:
            NoPendingApprovals: Nothing waits for an approval.
        """
        return await self._act(
            "approve_tools", options, tool_call_ids=tool_call_ids, deny=deny, edits=edits
        )

    async def answer(
        self, question_id: str, content: str, **options: Unpack[ActionOptions]
    ) -> ActionResponse:
        """Answer what the model asked: one of `pending_questions`."""
        return await self._act("answer", options, question_id=question_id, content=content)

    # Stopping and going on

    async def cancel(
        self, turn_id: str | None = None, **options: Unpack[ActionOptions]
    ) -> ActionResponse:
        """Stop the running turn; the partial reply stays, marked `cancelled`."""
        return await self._act("cancel", options, turn_id=turn_id)

    async def retry(self, **options: Unpack[ActionOptions]) -> ActionResponse:
        """Make the model call that failed again, now."""
        return await self._act("retry", options)

    async def reset(self, **options: Unpack[ActionOptions]) -> ActionResponse:
        """Give up the turn that failed."""
        return await self._act("reset", options)

    async def pause(self, **options: Unpack[ActionOptions]) -> ActionResponse:
        """Start nothing more until resumed."""
        return await self._act("pause", options)

    async def resume(self, **options: Unpack[ActionOptions]) -> ActionResponse:
        """Go on where it was paused."""
        return await self._act("resume", options)

    # The tree

    async def create_branch(
        self,
        name: str,
        *,
        from_message_id: str | None = None,
        system_prompt: str | None = None,
        **options: Unpack[ActionOptions],
    ) -> ActionResponse:
        """Give a line through the tree a name; the active branch stays active."""
        return await self._act(
            "create_branch",
            options,
            name=name,
            from_message_id=from_message_id,
            system_prompt=system_prompt,
        )

    async def switch_branch(
        self,
        name: str | None = None,
        *,
        message_id: str | None = None,
        **options: Unpack[ActionOptions],
    ) -> ActionResponse:
        """Go on on another branch, or along the line through another message."""
        return await self._act("switch_branch", options, name=name, message_id=message_id)

    async def merge_branch(
        self,
        source: str,
        *,
        strategy: MergeStrategy | None = None,
        message_ids: Sequence[str] | None = None,
        accept_conflicts: bool | None = None,
        **options: Unpack[ActionOptions],
    ) -> ActionResponse:
        """Bring to the active branch what another has of its own.

        Raises:
            MergeConflict: Both have something in the same place; nothing was merged.
        """
        return await self._act(
            "merge_branch",
            options,
            source=source,
            strategy=strategy,
            message_ids=message_ids,
            accept_conflicts=accept_conflicts,
        )

    # The context itself

    async def configure(
        self, patch: Mapping[str, JsonValue], **options: Unpack[ActionOptions]
    ) -> ActionResponse:
        """Patch the configuration (RFC 7396): None restores a default.

        Raises:
            NotJson: Something in it is no JSON.
        """
        return await self._send("configure", options, to_json(patch))

    async def rename(self, title: str, **options: Unpack[ActionOptions]) -> ActionResponse:
        """Give the context another title."""
        return await self._act("rename", options, title=title)

    async def generate_title(self, **options: Unpack[ActionOptions]) -> ActionResponse:
        """Have the model make a title; without one it is how the conversation begins."""
        return await self._act("generate_title", options)

    async def pin(self, **options: Unpack[ActionOptions]) -> ActionResponse:
        """Keep the context from retention and expiry."""
        return await self._act("pin", options)

    async def unpin(self, **options: Unpack[ActionOptions]) -> ActionResponse:
        """Let the context go when its time comes."""
        return await self._act("unpin", options)

    async def delete(self, **options: Unpack[ActionOptions]) -> None:
        """Delete the context and all that is kept of it.

        Raises:
            NotFound: It does not exist, and this call has not deleted it.
        """
        try:
            # A repeat may be answered without a state: there is none any more.
            await self._post("delete", options, encode({}))
        except NotFound as problem:
            # A deleted context remembers nothing, not even who deleted it: an answer that was
            # lost cannot be told from one that somebody else got.
            if problem.tries == 1:
                raise

    # Copies

    async def fork(
        self,
        *,
        at_version: int | None = None,
        title: str | None = None,
        **options: Unpack[CreateOptions],
    ) -> "Context":
        """Make a context of this one that goes on by itself.

        Args:
            at_version: As it was then; None: as it is.
            title: Of the new one; None: the same.
            **options: See `CreateOptions`.
        """
        body = encode({"at_version": at_version, "title": title})
        answer = await post(self._connection, f"{self._path}/actions/fork", body, options)
        made = answer.read(ActionResponse).context
        return Context(self._connection, made.id, seen=made)

    async def export(self) -> bytes:
        """The whole log as one JSON document, which `Contextd.import_context` takes.

        Raises:
            NotUnderstood: It is larger than `ClientLimits.context_bytes_max`.
        """
        return (await self._connection.ask("GET", f"{self._path}/export")).body

    async def _act(
        self, action: str, options: ActionOptions, **fields: object
    ) -> ActionResponse:
        return await self._send(action, options, encode(fields))

    async def _send(self, action: str, options: ActionOptions, body: bytes) -> ActionResponse:
        answer = (await self._post(action, options, body)).read(ActionResponse)
        self.seen = answer.context
        return answer

    async def _post(self, action: str, options: ActionOptions, body: bytes) -> Answer:
        return await post(
            self._connection,
            f"{self._path}/actions/{action}",
            body,
            options,
            if_cursor=options.get("if_cursor"),
        )
