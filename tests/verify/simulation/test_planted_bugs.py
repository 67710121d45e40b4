"""Bugs planted in the product: a simulation that does not find them proves nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fsm import Message
from gateway import resume
from storage.scripts import script_bodies
from verify.simulation import crash_points, explore, replay_crash
from workers import activation
from workers.models import request
from workers.models.wire import WireMessage, wire_message
from workers.tools.declaration import ToolCallContext
from workers.tools.registry import Registry

HISTORIES_MAX = 200
CHUNK = 10


@pytest.fixture(autouse=True)
def _scripts_are_read_anew() -> Iterator[None]:
    script_bodies.cache_clear()
    yield
    script_bodies.cache_clear()


def plant(monkeypatch: pytest.MonkeyPatch, script: str, right: str, wrong: str) -> None:
    """Change a script wherever it is read."""
    read_text = Path.read_text

    def changed(path: Path, *args: str, **kwargs: str) -> str:
        text = read_text(path, *args, **kwargs)
        if path.name != script:
            return text
        assert right in text
        return text.replace(right, wrong)

    monkeypatch.setattr(Path, "read_text", changed)


def checks_that_fail(server_path: Path) -> Iterator[str]:
    """What is wrong in some histories, one check after another."""
    for first in range(5_000, 5_000 + HISTORIES_MAX, CHUNK):
        report = explore(server_path, range(first, first + CHUNK))
        yield from (found.violation.check for found in report.violations)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("script", "right", "wrong", "check"),
    [
        (
            "passivate.lua",
            'if redis.call("XLEN", KEYS[2]) > 0 then return "mail" end',
            "",
            "wake-up-lost",
        ),
        ("deliver.lua", "if before then", "if false then", "duplicated"),
    ],
)
def test_a_bug_in_a_script_is_found(
    script: str,
    right: str,
    wrong: str,
    check: str,
    server_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch, script, right, wrong)
    assert check in checks_that_fail(server_path)


def test_a_tool_that_runs_twice_is_found(
    server_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Registry.run

    async def twice(
        self: Registry,
        name: str,
        arguments_json: str,
        context: ToolCallContext,
        *,
        timeout_s: float | None = None,
        role: str | None = None,
    ) -> str:
        await run(self, name, arguments_json, context, timeout_s=timeout_s, role=role)
        return await run(self, name, arguments_json, context, timeout_s=timeout_s, role=role)

    monkeypatch.setattr(Registry, "run", twice)
    ran, _ = replay_crash(server_path, "tool once", ())
    assert "once-ran-twice" in {violation.check for violation in ran.violations}


def test_a_stream_that_resumes_one_event_too_late_is_found(
    server_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse = resume.parse_cursor

    def late(text: str) -> tuple[str, int, int] | None:
        at = parse(text)
        return at and (at[0], at[1] + 1, at[2])

    names = [point.name for point in crash_points(server_path, "cancel")]
    monkeypatch.setattr(resume, "parse_cursor", late)
    ran, died = replay_crash(server_path, "cancel", (names.index("after deliver"),))
    assert [point.component for point in died] == ["gateway"]
    assert {"gap", "reset-without-loss"} & {violation.check for violation in ran.violations}


def test_a_model_that_is_not_shown_what_a_tool_has_said_is_found(
    server_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(message: Message) -> WireMessage | None:
        return wire_message(message if message.role != "tool" else replaced(message))

    def replaced(message: Message) -> Message:
        return message.model_copy(update={"content": "It said nothing."})

    monkeypatch.setattr(request, "wire_message", forgetful)
    assert "model-shown-otherwise" in checks_that_fail(server_path)


def test_a_call_of_the_model_that_is_given_up_and_goes_on_is_found(
    server_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "StopEffect", Never)
    assert "model-calls-overlap" in checks_that_fail(server_path)


class Never:
    """What no effect is."""
