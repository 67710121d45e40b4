"""`contextd chat` against a made-up server over real sockets."""

import asyncio
import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from contextd_client import Contextd, Problem
from runtime.conversation import Conversation, clean
from tests.runtime.fake_contextd import FakeContextd
from tests.runtime.support import until

COMMAND = (sys.executable, "-m", "runtime.cli", "chat")


@dataclass(slots=True)
class Paper:
    """A screen that is read by the test."""

    text: str = ""
    notes: list[str] = field(default_factory=list[str])
    messages: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def reply(self, text: str) -> None:
        self.text += text

    def reply_ends(self) -> None:
        self.text += "|"

    def said(self, who: str, text: str) -> None:
        self.messages.append((who, text))

    def note(self, text: str) -> None:
        self.notes.append(text)


def deltas(*texts: str, message_id: str = "m2") -> list[tuple[str, dict[str, Any]]]:
    """Frames of a reply that comes in these pieces."""
    n, frames = 0, list[tuple[str, dict[str, Any]]]()
    for text in texts:
        n += len(text)
        frames.append(("reply-delta", {"message_id": message_id, "n": n, "text": text}))
    return frames


def ended(text: str, **more: object) -> tuple[str, dict[str, Any]]:
    return "reply-ended", {"message_id": "m2", "text": text, **more}


async def talking(
    server: FakeContextd, story: Callable[[Conversation, Paper], Awaitable[None]]
) -> None:
    async with server.served() as url, Contextd(url) as client:
        context, paper = await client.create(), Paper()
        assert context.seen is not None
        await story(Conversation(context, context.seen, paper), paper)


async def test_a_reply_that_is_cut_twice_is_shown_whole_and_once() -> None:
    server = FakeContextd(
        on_message=[[*deltas("Hel", "lo, ", "wörld"), ended("Hello, wörld")]], cuts={1, 2}
    )

    async def story(talk: Conversation, paper: Paper) -> None:
        await talk.say("hi")
        await talk.follow()
        assert paper.text == "Hello, wörld|"
        assert server.resumed_from == ["e.0.0", "e.1.0", "e.2.0"]

    await talking(server, story)


async def test_a_message_whose_answer_is_lost_is_sent_again_with_the_same_key() -> None:
    server = FakeContextd(on_message=[[ended("ok")]], fail_next=[503, 429])

    async def story(talk: Conversation, paper: Paper) -> None:
        await talk.say("hi")
        await talk.follow()
        assert paper.text == "ok|"
        assert len({key for _, key, _ in server.actions}) == 1
        assert len(server.actions) == 3

    await talking(server, story)


async def test_a_restarted_reply_is_said_and_shown_from_its_beginning() -> None:
    server = FakeContextd(
        on_message=[
            [
                *deltas("Hel"),
                ("reply-restarted", {"message_id": "m2"}),
                *deltas("Hi", " you"),
                ended("Hi you"),
            ]
        ]
    )

    async def story(talk: Conversation, paper: Paper) -> None:
        await talk.say("hi")
        await talk.follow()
        assert paper.text == "Hel|Hi you|"
        assert len(paper.notes) == 1

    await talking(server, story)


async def test_a_history_and_a_draft_are_shown_and_the_stream_goes_on_inside_the_draft() -> (
    None
):
    server = FakeContextd(log=[("a", {}), ("b", {}), *deltas("Hello", " there")])
    server.view |= {
        "status": "streaming_llm_response",
        "cursor": "e.2.5",
        "messages": [{"id": "m1", "role": "user", "content": "hi"}],
        "draft": {"message_id": "m2", "n": 5, "text": "Hello", "attempt": 1},
    }

    async def story(talk: Conversation, paper: Paper) -> None:
        talk.show(talk.view)
        assert (paper.messages, paper.text) == ([("user", "hi")], "Hello")
        await server.happen(*ended("Hello there"))
        await talk.follow()
        assert paper.text == "Hello there|"

    await talking(server, story)


async def test_a_reset_shows_the_state_and_nothing_twice() -> None:
    server = FakeContextd()
    view = {
        **server.view,
        "status": "streaming_llm_response",
        "draft": {"message_id": "m2", "n": 7, "text": "Hello, "},
    }
    server.on_message = [
        [
            *deltas("Hel"),
            ("reset", {"reason": "epoch", "context": view}),
            ("reply-delta", {"message_id": "m2", "n": 12, "text": "world"}),
            ended("Hello, world"),
        ]
    ]

    async def story(talk: Conversation, paper: Paper) -> None:
        await talk.say("hi")
        await talk.follow()
        assert paper.text == "Hello, world|"

    await talking(server, story)


async def test_what_others_say_is_shown_and_what_we_said_is_not() -> None:
    server = FakeContextd(
        on_message=[[("message-received", {"content": "theirs"}), ended("ok")]]
    )

    async def story(talk: Conversation, paper: Paper) -> None:
        await talk.say("mine")
        await talk.follow()
        assert paper.messages == [("user", "theirs")]

    await talking(server, story)


async def test_a_reply_cannot_steer_the_terminal() -> None:
    evil = "\x1b]0;owned\x07\x1b[2Jtext\r\x9b1m\ttab\n"
    server = FakeContextd(on_message=[[*deltas(evil), ended(evil)]])

    async def story(talk: Conversation, paper: Paper) -> None:
        await talk.say("hi")
        await talk.follow()
        assert paper.text == "]0;owned[2Jtext1m\ttab\n|"

    await talking(server, story)


@pytest.mark.parametrize(
    ("evil", "shown"),
    [
        ("\x1b]52;c;cm0gLXJm\x07", "]52;c;cm0gLXJm"),
        ("\x1b]8;;http://evil\x1b\\here", "]8;;http://evil\\here"),
        ("\x9d0;owned\x9c", "0;owned"),
        ("\x1bP$qm\x1b\\", "P$qm\\"),
        ("ok\b\brm", "okrm"),
        ("a\u202egnp.exe", "agnp.exe"),
        ("a\u2066b\u2069c\u2028d", "abcd"),
        ("a\U000e0041\U000e007fb", "ab"),
        ("\u05d0\u200f\u05d1 👩\u200d💻", "\u05d0\u200f\u05d1 👩\u200d💻"),
    ],
)
async def test_nothing_that_is_said_steers_the_terminal(evil: str, shown: str) -> None:
    server = FakeContextd(on_message=[[*deltas(evil), ended(evil)]])

    async def story(talk: Conversation, paper: Paper) -> None:
        await talk.say("hi")
        await talk.follow()
        assert paper.text == f"{shown}|"

    await talking(server, story)
    assert clean(evil) == shown


async def test_a_refusal_is_told_in_the_words_of_the_server() -> None:
    server = FakeContextd(on_message=[[]], fail_next=[409])

    async def story(talk: Conversation, _paper: Paper) -> None:
        with pytest.raises(Problem, match=r"^Not now\. \(409\)$"):
            await talk.say("hi")

    await talking(server, story)


# The program itself.


async def said_once(
    server: FakeContextd, *arguments: str, stdin: str = "hi\n", folder: Path | None = None
) -> tuple[int, str, str]:
    async with server.served() as url:
        return await chatted(url, *arguments, stdin=stdin, folder=folder)


async def chatted(
    url: str, *arguments: str, stdin: str = "hi\n", folder: Path | None = None
) -> tuple[int, str, str]:
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    if folder is not None:
        environment["CONTEXTD_DATA"] = str(folder)
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "--url",
        url,
        *arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    async with asyncio.timeout(20):
        out, errors = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


async def test_a_server_that_is_not_there_is_told_with_what_to_do(unused_tcp_port: int) -> None:
    code, _, errors = await chatted(f"http://127.0.0.1:{unused_tcp_port}", "--once")
    assert code == 1
    assert "cannot be reached" in errors
    assert "contextd up" in errors
    assert "--url" in errors


@pytest.mark.parametrize(
    ("key", "said"), [("", "The server wants a key:"), ("k3y\n", "The server refuses the key")]
)
async def test_a_key_that_is_refused_is_told_from_none(
    tmp_path: Path, key: str, said: str
) -> None:
    if key:
        (tmp_path / "owner.key").write_text(key)
    async with FakeContextd(on_message=[[]], fail_next=[401]).served() as url:
        code, _, errors = await chatted(url, "--once", folder=tmp_path)
    assert (code, said in errors, "k3y" in errors) == (1, True, False)


async def test_once_prints_the_reply_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "owner.key").write_text("k3y\n")
    server = FakeContextd(on_message=[[*deltas("Hi", " there"), ended("Hi there")]])
    assert await said_once(server, "--once", folder=tmp_path) == (0, "Hi there\n", "")
    ((action, _, body),) = server.actions
    assert (action, body["content"]) == ("send_message", "hi")
    assert server.keys[0] == "Bearer k3y"


async def test_once_ends_with_three_where_a_tool_waits_for_approval() -> None:
    call = {"id": "t1", "name": "clock", "arguments": "{}", "approval_status": "pending"}
    server = FakeContextd(
        on_message=[
            [
                ended("", then="awaiting_tool_approval"),
                ("view", {"pending_tool_calls": [call]}),
            ]
        ]
    )
    code, out, errors = await said_once(server, "--once")
    assert (code, out) == (3, "")
    assert "clock {}" in errors
    assert "contextd chat --context c1 --url http://127.0.0.1:" in errors


async def test_the_command_to_go_on_with_has_all_that_this_one_had(tmp_path: Path) -> None:
    key_file = tmp_path / "my key"
    key_file.write_text("k3y\n")
    _, out, _ = await said_once(FakeContextd(), "--key-file", str(key_file), stdin="/quit\n")
    assert out.splitlines()[-1].endswith(f" --key-file '{key_file}'")


async def test_once_that_is_interrupted_says_where_the_reply_goes_on() -> None:
    async with FakeContextd(on_message=[deltas("Once upon")]).served() as url:
        process = await asyncio.create_subprocess_exec(
            *(*COMMAND, "--url", url, "--once"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        async with asyncio.timeout(20):
            process.stdin.write(b"a story\n")
            process.stdin.close()
            assert await process.stdout.readexactly(9) == b"Once upon"
            process.send_signal(signal.SIGINT)
            _, errors = await process.communicate()
    assert process.returncode == 1
    assert f"Go on with: contextd chat --context c1 --url {url}" in errors.decode()


async def test_once_without_anything_to_say_fails() -> None:
    code, _, errors = await said_once(FakeContextd(), "--once", stdin=" \n")
    assert code == 1
    assert "nothing to say" in errors


async def test_tools_are_shown_asked_about_and_decided_one_by_one() -> None:
    calls = [
        {"id": f"t{n}", "name": "clock", "arguments": f'{{"zone":"Z{n}"}}'} for n in range(3)
    ]
    server = FakeContextd(
        on_message=[
            [
                ended("", then="awaiting_tool_approval"),
                ("view", {"pending_tool_calls": calls}),
            ],
            [("view", {"pending_tool_calls": []}), ended("done")],
        ]
    )
    typed = 'time?\ny\nn\ntoo late\nedit\nnot json\nedit\n{"zone":"UTC"}\n/quit\n'
    code, out, _ = await said_once(server, stdin=typed)
    assert code == 0
    action, _, body = server.actions[-1]
    assert action == "approve_tools"
    assert body == {
        "tool_call_ids": ["t0", "t2"],
        "deny": [{"id": "t1", "reason": "too late"}],
        "edits": {"t2": {"zone": "UTC"}},
    }
    assert 'clock {"zone":"Z1"}' in out
    assert "That is not JSON" in out


async def test_what_a_tool_is_asked_for_is_shown_on_one_line_and_cannot_hide() -> None:
    arguments = '{"path":\n\n"/etc\u202e/\x1b[2Jx"\n,\r\n"tool: done": 1}'
    calls = [{"id": "t0", "name": "remove", "arguments": arguments}]
    server = FakeContextd(
        on_message=[
            [ended("", then="awaiting_tool_approval"), ("view", {"pending_tool_calls": calls})],
            [("view", {"pending_tool_calls": []}), ended("done")],
        ]
    )
    _, out, _ = await said_once(server, stdin="go\nn\nno\n/quit\n")
    assert 'remove {"path":  "/etc/[2Jx" , "tool: done": 1}' in out


async def test_a_question_of_the_model_is_asked_and_answered() -> None:
    arguments = '{"question":"Which one?","options":["left","right"]}'
    question = {"id": "q1", "name": "ask_person", "arguments": arguments}
    asks = [ended("", then="awaiting_answer"), ("view", {"pending_questions": [question]})]
    server = FakeContextd(
        on_message=[asks, [("view", {"pending_questions": []}), ended("done")], asks]
    )
    code, out, _ = await said_once(server, stdin="go\n\nleft\n/quit\n")
    assert code == 0
    assert "Which one? (left, right)" in out
    action, _, body = server.actions[-1]
    assert (action, body) == ("answer", {"question_id": "q1", "content": "left"})
    code, _, errors = await said_once(server, "--once")
    assert code == 3
    assert "waits for an answer: Which one? (left, right)" in errors


async def test_slash_commands_become_actions_and_the_end_says_how_to_go_on() -> None:
    server = FakeContextd()
    typed = "/pause\n/resume\n/rename A b\n/stop\n/reset\n/help\n/chunks 3 1\n"
    code, out, _ = await said_once(server, "--resume", stdin=typed)
    assert code == 0
    *commands, (said, _, message) = server.actions
    assert [(action, body) for action, _, body in commands] == [
        ("pause", {}),
        ("resume", {}),
        ("rename", {"title": "A b"}),
        ("cancel", {}),
        ("reset", {}),
    ]
    # A slash that is not ours is the model's.
    assert (said, message["content"]) == ("send_message", "/chunks 3 1")
    assert "/help" in out
    assert "--context c1" in out.splitlines()[-1]


async def test_interrupting_a_reply_asks_and_leaves_it_running() -> None:
    server = FakeContextd(on_message=[deltas("Once upon")])
    async with server.served() as url:
        ours, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "--url", url, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        os.set_blocking(ours, False)
        seen = bytearray()

        def shows(text: bytes) -> bool:
            with contextlib.suppress(BlockingIOError, OSError):
                seen.extend(os.read(ours, 4096))
            return text in seen

        try:
            await until(lambda: shows(b"you> "))
            os.write(ours, b"a story\n")
            await until(lambda: shows(b"Once upon"))
            process.send_signal(signal.SIGINT)
            await until(lambda: shows(b"Leave the reply running"))
            os.write(ours, b"n\n")
            await server.happen("reply-delta", {"message_id": "m2", "n": 16, "text": " a time"})
            await until(lambda: shows(b" a time"))
            process.send_signal(signal.SIGINT)
            await until(lambda: seen.count(b"Leave the reply running") == 2 or shows(b"\0"))
            os.write(ours, b"\n")
            await until(lambda: shows(b"--context c1"))
            async with asyncio.timeout(10):
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
            os.close(ours)
    assert [action for action, _, _ in server.actions] == ["send_message"]
