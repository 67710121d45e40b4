"""Shows one context as it lives: history, replies as they arrive, tools, failures.

What was shown is remembered by message id and length, so that every view of the context
(history, an answer to an action, a stream that was cut) can be shown again and only what
is new appears.
"""

import re
from collections.abc import Mapping
from typing import Protocol

from pydantic import JsonValue, TypeAdapter

from contextd_client.sse import Frame
from runtime.chat_client import ChatClient, ContextView, MessageView, Wire

RESTING = frozenset(
    {"idle", "awaiting_tool_approval", "awaiting_answer", "failed", "paused", "deleted"}
)
_MAY_REST = frozenset(
    {
        "reply-ended",
        "reply-failed",
        "reply-restarted",
        "cancel-requested",
        "pause-requested",
        "reset-requested",
        "tool-restarted",
        "context-deleted",
        "reset",
    }
)
"""Frames after which nothing more may come by itself, so the state is asked."""
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_TOOL_CHARACTERS_MAX = 300


class Screen(Protocol):
    """Where it is shown: a terminal, or standard output for a program."""

    def reply(self, text: str) -> None:
        """Some more of the reply."""
        ...

    def reply_ends(self) -> None:
        """The reply is complete."""
        ...

    def said(self, who: str, text: str) -> None:
        """A whole message."""
        ...

    def note(self, text: str) -> None:
        """Something about the conversation that nobody said."""
        ...


class _Delta(Wire):
    message_id: str
    n: int
    text: str


class _Reset(Wire):
    context: ContextView


class _Ended(Wire):
    message_id: str
    text: str


class _Failed(Wire):
    code: str
    detail: str
    retryable: bool = False


class _Received(Wire):
    message_id: str
    content: str
    client_message_id: str | None = None


_DELTA: TypeAdapter[_Delta] = TypeAdapter(_Delta)


class Conversation:
    """One context on a screen."""

    def __init__(self, client: ChatClient, view: ContextView, screen: Screen) -> None:
        self._client = client
        self.screen = screen
        self._shown: dict[str, int] = {}
        """Characters shown of replies by message id."""
        self._known: set[str] = set()
        """Messages that were shown to their end, and our own."""
        self.view = view

    @property
    def id(self) -> str:
        """Of the context."""
        return self.view.id

    def know(self, view: ContextView) -> None:
        """Take this history as shown."""
        self.view = view
        self._known.update(message.id for message in view.messages)

    async def act(self, action: str, body: Mapping[str, JsonValue]) -> None:
        """Have an action applied, and show what it led to already."""
        ours = body.get("client_message_id")
        if isinstance(ours, str):
            self._known.add(ours)
        self.show(await self._client.act(self.id, action, body))

    async def follow(self) -> ContextView:
        """Show what happens until the context rests; the state it rests in.

        Cancelled, the reply goes on at the server; `follow` again goes on showing it.
        """
        if self.view.status in RESTING:
            return self.view
        frames = self._client.frames(self.id, self.view.cursor)
        try:
            async for frame in frames:
                self._show_frame(frame)
                if frame.event in _MAY_REST:
                    self.show(await self._client.state(self.id))
                    if self.view.status in RESTING:
                        break
        finally:
            await frames.aclose()
        return self.view

    def show(self, view: ContextView) -> None:
        """Show whatever of this state was not shown yet."""
        self.view = view
        for message in view.messages:
            self._show_message(message)
        if view.draft is not None:
            self._show_reply(view.draft.message_id, view.draft.text, start=0)

    def _show_message(self, message: MessageView) -> None:
        if message.id in self._known or message.client_message_id in self._known:
            return
        if message.role == "assistant":
            self._finish_reply(message.id, message.content)
            if message.status != "complete":
                self.screen.note(f"({message.status})")
            return
        self._known.add(message.id)
        if message.role == "tool":
            self.screen.note(f"tool: {_shortened(message.content)}")
        else:
            self.screen.said(message.role, clean(message.content))

    def _show_frame(self, frame: Frame) -> None:
        if frame.event == "reply-delta":
            delta = _DELTA.validate_json(frame.data)
            self._show_reply(delta.message_id, delta.text, start=delta.n - len(delta.text))
        elif frame.event == "reply-ended":
            ended = _Ended.model_validate_json(frame.data)
            self._finish_reply(ended.message_id, ended.text)
        elif frame.event == "reply-restarted":
            if self._shown:
                self.screen.reply_ends()
            self._shown.clear()
            self.screen.note("The process that wrote this reply is gone; it starts again.")
        elif frame.event == "reply-failed":
            failed = _Failed.model_validate_json(frame.data)
            again = " Trying again." if failed.retryable else ""
            self.screen.note(f"{failed.code}: {clean(failed.detail)}{again}")
        elif frame.event == "message-received":
            got = _Received.model_validate_json(frame.data)
            if not {got.message_id, got.client_message_id} & self._known:
                self._known.add(got.message_id)
                self.screen.said("user", clean(got.content))
        elif frame.event == "reset":
            self.screen.note("The stream could not go on where it was; here is the state.")
            self.show(_Reset.model_validate_json(frame.data).context)

    def _show_reply(self, message_id: str, text: str, *, start: int) -> None:
        """Show the part of `text`, which begins at character `start`, that is new."""
        if message_id in self._known:
            return
        shown = self._shown.get(message_id, 0)
        new = text[max(0, shown - start) :]
        self._shown[message_id] = max(shown, start + len(text))
        if new:
            self.screen.reply(clean(new))

    def _finish_reply(self, message_id: str, text: str) -> None:
        if message_id in self._known:
            return
        self._show_reply(message_id, text, start=0)
        self._known.add(message_id)
        if self._shown.pop(message_id, 0):
            self.screen.reply_ends()


def clean(text: str) -> str:
    """The text without control characters: a reply must not steer the terminal."""
    return _CONTROL.sub("", text)


def _shortened(text: str) -> str:
    text = " ".join(clean(text).split())
    return text if len(text) <= _TOOL_CHARACTERS_MAX else text[:_TOOL_CHARACTERS_MAX] + " ..."
