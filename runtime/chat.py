"""`contextd chat`: a conversation in the terminal.

The context lives on the server; this program only shows it. So it may end at any time,
with Ctrl-C or without, and `--context ID` goes on where it was, in mid-reply too.
Exit codes: 0 done, 1 failed, 3 (`--once` only) a tool call waits for approval, or a question
for its answer.
"""

import asyncio
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError
from rich.console import Console
from rich.text import Text

from contextd_client import (
    ActionResponse,
    Context,
    Contextd,
    ContextdError,
    ContextView,
    Denial,
    PendingToolCallView,
    Problem,
    QuestionView,
    Unauthorized,
    Unreachable,
)
from runtime.arguments import HERE
from runtime.conversation import Conversation, Screen, clean
from runtime.key_file import NoKey, key_for

T = TypeVar("T")

_ARGUMENTS = TypeAdapter(dict[str, JsonValue])
_APPROVAL_WAITS = 3
_HELP = """\
/stop      stop the running turn        /retry   try a failed turn again
/reset     give a failed turn up        /rename TITLE
/pause     start nothing more           /resume  go on
/quit      leave; the context stays     /help
Anything else is said to the model. Ctrl-C leaves a reply running on the server."""


class _Question(BaseModel):
    """Arguments of the built-in tool that asks the person."""

    question: str
    options: tuple[str, ...] = ()


class ChatFailed(Exception):
    """The chat cannot go on; the message is for the person."""


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What the command line asked for."""

    url: str
    context_id: str | None = None
    resume: bool = False
    once: bool = False
    key_file: Path | None = None


class Terminal:
    """Shows a conversation to a person."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._in_reply = False

    def reply(self, text: str) -> None:
        """Some more of the reply, as it comes."""
        self._in_reply = True
        self._console.print(Text(text), end="")

    def reply_ends(self) -> None:
        """A line of its own for whatever comes next."""
        if self._in_reply:
            self._console.print()
        self._in_reply = False

    def said(self, who: str, text: str) -> None:
        """A message that was not typed here."""
        self.reply_ends()
        self._console.print(Text.assemble((f"{who}> ", "bold cyan"), text))

    def note(self, text: str) -> None:
        """A remark, dim."""
        self.reply_ends()
        self._console.print(Text(text, style="dim"))

    def ask(self, prompt: str) -> str:
        """A line typed by the person; EOFError where there is none any more."""
        self.reply_ends()
        return input(prompt)


class Pipe:
    """Gives the reply to a program: nothing but its text on standard output."""

    def reply(self, text: str) -> None:
        """Pass it on at once."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def reply_ends(self) -> None:
        """End the line."""
        sys.stdout.write("\n")
        sys.stdout.flush()

    def said(self, who: str, text: str) -> None:
        """Not asked for."""

    def note(self, text: str) -> None:
        """Goes to standard error."""
        sys.stderr.write(text + "\n")


def run_chat(options: ChatOptions) -> int:
    """Chat until the person leaves; the exit code."""
    # Whoever has started us may have it ignored, as shells do for what runs in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    key: str | None = None
    try:
        key = key_for(options.url, options.key_file)
        with asyncio.Runner() as runner:
            client = runner.run(_client(options.url, key))
            try:
                return _Chat(runner, client, options).run()
            finally:
                runner.run(client.close())
    except Unauthorized:
        said = "wants a key" if key is None else "refuses the key that was sent"
        sys.stderr.write(
            f"contextd: The server {said}: give its file with --key-file, or set "
            "CONTEXTD_API_KEY.\n"
        )
    except Unreachable as error:
        advice = (
            "Is `contextd up` running, and there? --url, or CONTEXTD_URL, says where; "
            "`contextd doctor` tells more."
        )
        sys.stderr.write(f"contextd: {error} {advice}\n")
    except (ChatFailed, ContextdError, NoKey) as error:
        sys.stderr.write(f"contextd: {error}\n")
    except KeyboardInterrupt:
        sys.stderr.write("\n")
    return 1


async def _client(url: str, key: str | None) -> Contextd:
    return Contextd(url, key=key)


class _Chat:
    """One run of the program.

    Typing blocks and is done outside of the event loop, which runs only while the server
    is talked to; so Ctrl-C always means the one thing that is going on.
    """

    def __init__(self, runner: asyncio.Runner, client: Contextd, options: ChatOptions) -> None:
        self._runner = runner
        self._client = client
        self._options = options
        self._terminal = Terminal()

    def run(self) -> int:
        screen: Screen = Pipe() if self._options.once else self._terminal
        context, view = self._wait(self._open())
        talk = Conversation(context, view, screen)
        if self._options.once:
            talk.know(view)
            return self._once(talk)
        return self._interactive(talk, view)

    async def _open(self) -> tuple[Context, ContextView]:
        context_id = self._options.context_id
        if context_id is None and self._options.resume:
            newest = await anext(self._client.contexts(per_page=1), None)
            if newest is None:
                raise ChatFailed("There is no context to resume yet.")
            context_id = newest.id
        if context_id is None:
            context = await self._client.create()
        else:
            context = self._client.context(context_id)
        return context, await context.state()

    def _once(self, talk: Conversation) -> int:
        content = sys.stdin.read().strip()
        if not content:
            raise ChatFailed("There is nothing to say: standard input is empty.")
        try:
            self._wait(talk.say(content))
            view = self._wait(talk.follow())
        except KeyboardInterrupt:
            talk.screen.note(f"\nGo on with: {self._command(talk)}")
            raise
        if view.status in {"awaiting_tool_approval", "awaiting_answer"}:
            for call in view.pending_tool_calls:
                talk.screen.note(f"waits for approval: {_described(call)}")
            for question in view.pending_questions:
                talk.screen.note(f"waits for an answer: {_asked(question)}")
            talk.screen.note(f"Decide with: {self._command(talk)}")
            return _APPROVAL_WAITS
        if view.status == "failed":
            _explain(talk)
            return 1
        return 0

    def _interactive(self, talk: Conversation, view: ContextView) -> int:
        terminal = self._terminal
        title = f' "{clean(view.title)}"' if view.title else ""
        terminal.note(f"Context {talk.context.id}{title}. /help tells what can be typed.")
        talk.show(view)
        try:
            while self._settled(talk):
                line = terminal.ask("you> ").strip()
                if line in {"/quit", "/exit"}:
                    break
                if line:
                    self._obey(talk, line)
        except (EOFError, KeyboardInterrupt):
            terminal.note("")
        terminal.note(f"Go on with: {self._command(talk)}")
        return 0

    def _obey(self, talk: Conversation, line: str) -> None:
        context = talk.context
        actions: dict[str, Callable[[], Awaitable[ActionResponse]]] = {
            "/stop": context.cancel,
            "/retry": context.retry,
            "/reset": context.reset,
            "/pause": context.pause,
            "/resume": context.resume,
        }
        try:
            word, _, rest = line.partition(" ")
            if word == "/help":
                self._terminal.note(_HELP)
            elif word == "/rename" and rest:
                self._wait(talk.act(context.rename(rest)))
            elif (action := actions.get(word)) is not None:
                self._wait(talk.act(action()))
            else:
                # Other lines with a slash go to the model: the scripted one knows some.
                self._wait(talk.say(line))
        except Problem as error:
            # Refused by the server: the conversation goes on.
            self._terminal.note(str(error))

    def _settled(self, talk: Conversation) -> bool:
        """Follow the context, deciding on tools, until the person may type; False: leave."""
        while True:
            try:
                view = self._wait(talk.follow())
            except KeyboardInterrupt:
                if self._leaves(talk):
                    return False
                continue
            if view.status == "awaiting_tool_approval" and view.pending_tool_calls:
                self._decide(talk, view)
                continue
            if view.status == "awaiting_answer" and view.pending_questions:
                self._answer(talk, view.pending_questions[0])
                continue
            if view.status in {"failed", "paused"}:
                _explain(talk)
            return True

    def _leaves(self, talk: Conversation) -> bool:
        """Ask once what Ctrl-C was meant to do; another Ctrl-C leaves."""
        try:
            answer = self._terminal.ask("\nLeave the reply running and go? [Y/n/stop] ")
        except (EOFError, KeyboardInterrupt):
            return True
        if answer.strip().lower() in {"s", "stop"}:
            self._obey(talk, "/stop")
            return False
        return not answer.strip().lower().startswith("n")

    def _decide(self, talk: Conversation, view: ContextView) -> None:
        """Ask about each pending tool call, then send what was decided."""
        approved: list[str] = []
        denied: list[Denial] = []
        edits: dict[str, dict[str, JsonValue]] = {}
        for call in view.pending_tool_calls:
            self._terminal.note(f"The model asks for a tool: {_described(call)}")
            while True:
                answer = self._terminal.ask("Run it? [y/n/edit] ").strip().lower()
                if answer in {"y", "yes"}:
                    approved.append(call.id)
                elif answer in {"n", "no"}:
                    reason = self._terminal.ask("Why not? (for the model) ").strip()
                    denied.append({"id": call.id, "reason": reason})
                elif answer in {"e", "edit"}:
                    edited = self._edited()
                    if edited is None:
                        continue
                    approved.append(call.id)
                    edits[call.id] = edited
                else:
                    continue
                break
        self._act(talk, talk.context.approve_tools(approved, deny=denied, edits=edits))

    def _answer(self, talk: Conversation, question: QuestionView) -> None:
        self._terminal.note(f"The model asks: {_asked(question)}")
        while not (content := self._terminal.ask("Your answer: ").strip()):
            pass
        self._act(talk, talk.context.answer(question.id, content))

    def _act(self, talk: Conversation, action: Awaitable[ActionResponse]) -> None:
        try:
            self._wait(talk.act(action))
        except Problem as error:
            # Decided by somebody else meanwhile: look again.
            self._terminal.note(str(error))
            talk.show(self._wait(talk.context.state()))

    def _edited(self) -> dict[str, JsonValue] | None:
        text = self._terminal.ask("Arguments (JSON): ")
        try:
            return _ARGUMENTS.validate_json(text)
        except ValidationError:
            self._terminal.note("That is not JSON, or no JSON object.")
            return None

    def _command(self, talk: Conversation) -> str:
        url, key_file = self._options.url, self._options.key_file
        words = ["contextd", "chat", "--context", talk.context.id]
        if url != HERE:
            words += ["--url", url]
        if key_file is not None:
            words += ["--key-file", str(key_file)]
        return shlex.join(words)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)


def _asked(question: QuestionView) -> str:
    try:
        asked = _Question.model_validate_json(question.arguments)
    except ValidationError:
        return clean(f"{question.name} {question.arguments}")
    options = f" ({', '.join(asked.options)})" if asked.options else ""
    return clean(asked.question + options)


def _described(call: PendingToolCallView) -> str:
    # JSON has line ends between its words only: there they could make it look like several.
    return clean(f"{call.name} {call.arguments}").replace("\n", " ")


def _explain(talk: Conversation) -> None:
    view = talk.view
    if view.status == "paused":
        talk.screen.note("Paused; /resume goes on.")
    elif view.error is not None:
        detail = clean(view.error.detail)
        talk.screen.note(f"Failed ({view.error.code}): {detail} /retry or /reset.")
    else:
        talk.screen.note("Failed. /retry or /reset.")
