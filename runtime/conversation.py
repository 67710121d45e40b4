"""Shows one context as it lives: history, replies as they arrive, tools, failures.

What was shown is remembered, so that every view of the context (history, an answer to an
action, a stream that was cut) can be shown again and only what is new appears.
"""

import re
from collections.abc import Awaitable
from contextlib import aclosing
from typing import Protocol

import uuid_utils

from contextd_client import (
    ActionResponse,
    Bye,
    Context,
    ContextView,
    Event,
    Hello,
    MessageView,
    ReplyDelta,
    ReplyEnded,
    ReplyFailed,
    ReplyRestarted,
    Reset,
    Transcript,
)

_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"
    "\u2028\u2029\u202a-\u202e\u2066-\u2069"  # text that ends lines, or runs the other way
    "\U000e0000-\U000e007f]"  # text that nobody sees
)
_TOOL_CHARACTERS_MAX = 300


class Screen(Protocol):
    """Where a conversation is shown: a terminal, or standard output for a program."""

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
        """A remark about the conversation."""
        ...


class Conversation:
    """One context on a screen."""

    def __init__(self, context: Context, view: ContextView, screen: Screen) -> None:
        self.context = context
        self.screen = screen
        self.view = view
        self._transcript = Transcript()
        self._in_reply = False
        self._known: set[str] = set()
        """Messages that were shown, and our own."""

    def know(self, view: ContextView) -> None:
        """Take this history as shown."""
        self.view = view
        self._transcript.take_context(view)
        self._known.update(message.id for message in view.messages)

    async def say(self, content: str) -> None:
        """Send a message, and show what it led to already."""
        client_message_id = str(uuid_utils.uuid7())
        self._known.add(client_message_id)
        sending = self.context.send_message(content, client_message_id=client_message_id)
        await self.act(sending)

    async def act(self, action: Awaitable[ActionResponse]) -> None:
        """Have an action applied, and show what it led to already."""
        self.show((await action).context)

    async def follow(self) -> ContextView:
        """Show what happens until the context rests; the state it rests in.

        Cancelled, the reply goes on at the server; `follow` again goes on showing it.
        """
        if self.view.at_rest:
            return self.view
        async with aclosing(self.context.stream(after=self.view.cursor)) as events:
            async for event in events:
                self._show_event(event)
                if not isinstance(event, Hello | ReplyDelta | Bye):
                    self.show(await self.context.state())
                    if self.view.at_rest:
                        break
        return self.view

    def show(self, view: ContextView) -> None:
        """Show whatever of this state was not shown yet."""
        self.view = view
        for message in view.messages:
            self._show_message(message)
        if view.draft is not None:
            self._show_reply(self._transcript.take_draft(view.draft))

    def _show_message(self, message: MessageView) -> None:
        if message.id in self._known or message.client_message_id in self._known:
            return
        self._known.add(message.id)
        if message.role == "assistant":
            self._show_reply(self._transcript.take_message(message))
            self._end_reply()
            if message.status != "complete":
                self.screen.note(f"({message.status})")
        elif message.role == "tool":
            self.screen.note(f"tool: {_shortened(message.content)}")
        else:
            self.screen.said(message.role, clean(message.content))

    def _show_event(self, event: Event) -> None:
        match event:
            case ReplyDelta():
                self._show_reply(self._transcript.take(event))
            case ReplyEnded():
                self._show_reply(self._transcript.take(event))
                self._end_reply()
                self._known.add(event.message_id)
            case ReplyRestarted():
                self._transcript.take(event)
                self._end_reply()
                self.screen.note("The process that wrote this reply is gone; it starts again.")
            case ReplyFailed():
                again = " Trying again." if event.retryable else ""
                self.screen.note(f"{event.code}: {clean(event.detail)}{again}")
            case Reset():
                note = "The stream could not go on where it was; here is the state."
                self.screen.note(note)
                self.show(event.context)
            case _:
                pass

    def _show_reply(self, text: str) -> None:
        if text:
            self._in_reply = True
            self.screen.reply(clean(text))

    def _end_reply(self) -> None:
        if self._in_reply:
            self.screen.reply_ends()
        self._in_reply = False


def clean(text: str) -> str:
    """The text without characters that control a terminal or disguise other text."""
    return _CONTROL.sub("", text)


def _shortened(text: str) -> str:
    text = " ".join(clean(text).split())
    return text if len(text) <= _TOOL_CHARACTERS_MAX else text[:_TOOL_CHARACTERS_MAX] + " ..."
