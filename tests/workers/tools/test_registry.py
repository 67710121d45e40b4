import asyncio
import threading
from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest
from pydantic import JsonValue
from typing_extensions import override

from workers.tools import (
    Registry,
    Tool,
    ToolCallContext,
    ToolConfig,
    ToolError,
    installed_tools,
    registry as registry_module,
    tool,
)

CONTEXT = ToolCallContext(owner="o", context_id="c1", effect_id="3.0", call_id="x")


@dataclass
class Point:
    x: int
    y: float


@tool(effect="none")
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool(effect="idempotent")
async def whoami(context: ToolCallContext) -> str:
    return f"{context.owner} {context.idempotency_key}"


def registry(*tools: Tool, **config: JsonValue) -> Registry:
    return Registry(tools, ToolConfig.model_validate(config))


async def failure(tools: Registry, name: str, arguments: str = "{}") -> ToolError:
    with pytest.raises(ToolError) as caught:
        await tools.run(name, arguments, CONTEXT)
    return caught.value


async def test_tools_run_with_their_arguments_and_their_context() -> None:
    tools = registry(add, whoami)
    assert await tools.run("add", '{"a": 2, "b": 3}', CONTEXT) == "5"
    assert await tools.run("whoami", "{}", CONTEXT) == "o c1:3.0"


def test_tools_are_offered_in_wire_form_sorted_and_from_memory() -> None:
    tools = registry(whoami, add)
    assert tools.offered(("add", "nothing", "add")) == (
        {
            "type": "function",
            "function": {
                "name": "add",
                "description": "Add two numbers.",
                "parameters": {
                    "type": "object",
                    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                    "required": ["a", "b"],
                    "additionalProperties": False,
                },
            },
        },
    )
    assert tools.names == ("add", "whoami")
    assert len(tools.offered(None)) == 2
    assert tools.offered(None) is tools.offered(None)
    assert tools.offered(()) == ()
    first = tools.offered(("add",))
    for number in range(1_000):  # owners choose the selections: what is kept is bounded
        tools.offered((str(number),))
    assert tools.offered(("add",)) is not first


def test_the_tools_of_a_source_are_replaced_and_offered_anew() -> None:
    tools = registry(whoami)
    assert tools.replace("other", (add,)) == ()
    assert (tools.names, len(tools.offered(None))) == (("add", "whoami"), 2)
    again = tool(effect="none", name="whoami")(lambda: "nobody")
    assert tools.replace("other", (again,)) == ("whoami",)
    assert (tools.names, len(tools.offered(None))) == (("whoami",), 1)
    assert tools.describe("whoami") is whoami


def test_two_tools_of_one_name_are_refused_and_one_tool_twice_is_one() -> None:
    assert registry(add, add).names == ("add",)
    with pytest.raises(ValueError, match="two tools are called add"):
        registry(add, tool(effect="none", name="add")(lambda: 1))


async def test_unknown_tools_and_wrong_arguments_are_told() -> None:
    tools = registry(add, tool_arguments_bytes_max=100)
    assert (await failure(tools, "subtract")).code == "unknown_tool"
    assert (await failure(tools, "add", '{"a": 1}')).detail == "b: Field required"
    right, over = '{"a": 1, "b": 2}', "The arguments are over 100 bytes."
    assert (await failure(tools, "add", right.ljust(101))).detail == over
    assert (await failure(tools, "add", "€" * 40)).detail == over
    assert tools.problem(name="add", arguments_json=right.ljust(100)) is None
    assert tools.problem(name="add", arguments_json='{"a": 1, "b": 2}') is None
    assert (
        tools.problem(name="add", arguments_json="{}") == "a: Field required; b: Field required"
    )
    assert tools.problem(name="f", arguments_json="{}") == "There is no tool called 'f'."
    with pytest.raises(ToolError):
        tools.describe("subtract")
    assert tools.describe("add") is add


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Grüße", "Grüße"),
        ("\ud800", "?"),
        (None, "null"),
        ({"a": [1, 2.5]}, '{"a":[1,2.5]}'),
        (Point(1, 2.0), '{"x":1,"y":2.0}'),
        (b"raw", '"raw"'),
        (10**30, str(10**30)),
    ],
)
async def test_results_become_text(value: object, text: str) -> None:
    @tool(effect="none")
    async def give() -> object:
        return value

    assert await registry(give).run("give", "{}", CONTEXT) == text


async def test_a_result_that_is_no_json_is_told() -> None:
    @tool(effect="none")
    async def give() -> object:
        return object()

    assert (await failure(registry(give), "give")).detail == (
        "give returned object, which is not JSON."
    )


@pytest.mark.parametrize("character", ["x", "ü", "🙂"])
async def test_long_results_are_cut_and_say_so(character: str) -> None:
    @tool(effect="none")
    async def shout() -> str:
        return character * 5_000

    text = await registry(shout, tool_result_bytes_max=1_000).run("shout", "{}", CONTEXT)
    assert len(text.encode()) <= 1_000
    assert text.endswith(f"\n[cut: {5_000 * len(character.encode())} bytes]")
    assert text.startswith(character * 200)


async def test_what_a_tool_raises_is_told() -> None:
    @tool(effect="none")
    def broken(how: str) -> str:
        match how:
            case "exit":
                raise SystemExit(3)
            case "stop":
                raise StopIteration
            case "told":
                raise ToolError("bad_arguments", "not this one")
            case "late":
                raise TimeoutError
            case _:
                raise ValueError("no\ud800" + "x" * 5_000)

    async def broken_async(how: str) -> str:
        await asyncio.sleep(0)
        text: str = broken.function(how)
        return text

    tools = registry(broken, tool(effect="none", name="broken_async")(broken_async))
    for name in tools.names:
        failed = await failure(tools, name, '{"how": "value"}')
        assert failed.code == "raised"
        assert failed.detail.startswith("ValueError: no?xxx")
        assert len(failed.detail) == 1_000
        for how in ("exit", "stop"):
            assert (await failure(tools, name, f'{{"how": "{how}"}}')).code == "raised"
        assert (await failure(tools, name, '{"how": "told"}')).detail == "not this one"
        late = await failure(tools, name, '{"how": "late"}')
        assert (late.code, late.detail) == ("raised", "TimeoutError")


class Panic(BaseException):
    """What extensions in Rust raise is no `Exception`."""


class Dumb(Exception):
    """It cannot say what it is."""

    @override
    def __str__(self) -> str:
        raise LookupError


@pytest.mark.parametrize(
    ("raised", "detail"),
    [
        (Panic("!"), "RuntimeError: Panic('!') was raised"),
        (asyncio.CancelledError(), "RuntimeError: CancelledError() was raised"),
        (KeyboardInterrupt(), "RuntimeError: KeyboardInterrupt() was raised"),
        (Dumb(), "Dumb"),
    ],
    ids=repr,
)
async def test_whatever_a_tool_raises_is_told(raised: BaseException, detail: str) -> None:
    @tool(effect="none")
    def broken() -> None:
        raise raised

    async def broken_async() -> None:
        raise raised

    tools = registry(broken, tool(effect="none", name="broken_async")(broken_async))
    for name in tools.names:
        failed = await failure(tools, name)
        assert (failed.code, failed.detail) == ("raised", detail)


async def test_an_async_tool_that_takes_too_long_is_cancelled() -> None:
    cancelled = asyncio.Event()

    @tool(effect="none", timeout_s=0.05)
    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    failed = await failure(registry(wait), "wait")
    assert (failed.code, failed.detail) == ("timeout", "wait did not finish within 0.05 s.")
    assert cancelled.is_set()


async def test_what_is_left_of_the_turn_is_a_bound_too() -> None:
    @tool(effect="none")
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(ToolError) as caught:
        await registry(wait).run("wait", "{}", CONTEXT, timeout_s=0.05)
    assert caught.value.code == "timeout"


async def test_cancelling_cancels_an_async_tool() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    @tool(effect="none")
    async def wait() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(registry(wait).run("wait", "{}", CONTEXT), name="tool")
        await begun.wait()
        task.cancel()
    assert task.cancelled()
    assert cancelled.is_set()


async def test_a_blocking_tool_leaves_the_loop_free_and_is_left_behind_in_time() -> None:
    release, finished = threading.Event(), threading.Event()

    @tool(effect="none", timeout_s=0.1)
    def block() -> None:
        release.wait(10)
        finished.set()

    @tool(effect="none", timeout_s=0.1)
    def quick() -> str:
        return threading.current_thread().name

    tools = registry(block, quick, tool_threads_max=1)
    assert (await failure(tools, "block")).code == "timeout"
    # The one thread is still taken, and whoever waits for it has a bound as well.
    assert (await failure(tools, "quick")).code == "timeout"
    release.set()
    assert finished.wait(5)
    async with asyncio.timeout(5):
        while True:
            try:
                assert await tools.run("quick", "{}", CONTEXT) == "tool quick"
                break
            except ToolError:
                continue


async def test_cancelling_leaves_a_blocking_tool_to_itself() -> None:
    begun, release, finished = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    @tool(effect="none")
    def block() -> None:
        loop.call_soon_threadsafe(begun.set)
        release.wait(10)
        finished.set()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(registry(block).run("block", "{}", CONTEXT), name="tool")
        await begun.wait()
        task.cancel()
    assert task.cancelled()
    assert not finished.is_set()
    release.set()
    assert finished.wait(5)


def test_installed_tools_are_found_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    value = "workers.tools.builtin:clock"

    def found(*, group: str) -> list[EntryPoint]:
        return [EntryPoint("clock", value, group)]

    monkeypatch.setattr(registry_module, "entry_points", found)
    assert [installed.name for installed in installed_tools()] == ["clock"]
    value = "workers.tools.calculator:evaluate"
    with pytest.raises(TypeError, match="decorate it with @tool"):
        installed_tools()
