"""Every example of docs/api.md does what it says, one after the other."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest

from tests.gateway.test_sockets import Socket, open_socket
from tests.support.service import Client, Json, serving

PAGE = Path(__file__).parent.parent.parent / "docs" / "api.md"


def examples(page: str) -> list[list[str]]:
    """The lines of each example."""
    blocks: list[str] = re.findall(r"(?ms)^```http\n(.*?)^```", page)
    return [block.splitlines() for block in blocks]


@dataclass
class Example:
    """Runs examples; what is in angle brackets is remembered from one to the next."""

    client: Client
    known: dict[str, Json] = field(default_factory=dict[str, Json])

    async def run(self, lines: list[str]) -> None:
        """Do what the lines with `>` say, and hold what comes back to those with `<`."""
        first, *rest = lines
        mark, method, path = first.split(" ", 2)
        assert mark == ">", first
        if method == "WS":
            await self._talk(self._filled(path), rest)
            return
        sent = [line[2:] for line in rest if line.startswith("> ")]
        wanted = [line[2:] for line in rest if line.startswith("< ")]
        assert len(sent) + len(wanted) == len(rest), lines
        headers = dict(self._filled(one).split(": ", 1) for one in sent if one[0] != "{")
        bodies = [self._filled(one).encode() for one in sent if one[0] == "{"]
        if path.endswith("/events"):
            await self._watch(self._filled(path), headers, wanted)
            return
        answer = await self.client.send(
            method, self._filled(path), raw=b"".join(bodies) or None, headers=headers
        )
        assert answer.status == int(wanted[0]), (lines, answer)
        for one in wanted[1:]:
            if one.startswith("{"):
                self._hold(answer.json, self._pattern(one), one)
            else:
                name, _, value = one.partition(": ")
                assert answer.headers[name] == value, one

    async def _watch(self, path: str, headers: dict[str, str], wanted: list[str]) -> None:
        after = headers.pop("Last-Event-ID", None)
        assert not headers
        async with self.client.stream_at(path, after=after) as stream:
            assert stream.response.status == int(wanted[0])
            for one in wanted[1:]:
                mark, kind, data = one.split(" ", 2)
                assert mark == "event:", one
                frames = await stream.take(kind)
                self._hold(frames[-1].data, self._pattern(data), one)

    async def _talk(self, path: str, lines: list[str]) -> None:
        context_id, _, query = path.removeprefix("/api/contexts/").partition("/ws")
        async with open_socket(self.client, context_id, query) as socket:
            for line in lines:
                mark, text = line.split(" ", 1)
                if mark == ">":
                    await socket.socket.send_str(self._filled(text))
                    continue
                pattern = self._pattern(text)
                self._hold(await self._heard(socket, pattern["event"]), pattern, line)

    async def _heard(self, socket: Socket, event: str) -> Json:
        """The next message of a kind."""
        return (await socket.until(lambda one: one["event"] == event))[-1]

    def _filled(self, text: str) -> str:
        """A text with what is known in place of the angle brackets."""
        return re.sub(r"<(\w+)>", lambda name: str(self.known[name[1]]), text)

    def _pattern(self, text: str) -> Json:
        """What an answer has to hold; a bare `<name>` stands for any value."""
        return orjson.loads(re.sub(r'(?<!")<(\w+)>(?!")', r'"<\1>"', text))

    def _hold(self, value: Json, pattern: Json, example: str) -> None:
        """Fail unless a value is as a pattern says; learn what it names."""
        untyped = pattern
        match pattern:
            case dict():
                for key, inner in untyped.items():
                    self._hold(value[self._named(key)], inner, example)
            case list():
                wanted: list[Json] = untyped
                assert len(value) == len(wanted), (example, value)
                for one, inner in zip(value, wanted, strict=True):
                    self._hold(one, inner, example)
            case str() if name := re.fullmatch(r"<(\w+)>", pattern):
                assert self.known.setdefault(name[1], value) == value, (example, name[1], value)
            case _:
                assert value == pattern, (example, value)

    def _named(self, key: str) -> str:
        return self._filled(key) if key.startswith("<") else key


async def test_every_example_does_what_it_says(store_url: str) -> None:
    async with serving(store_url) as service:
        example = Example(service.client)
        for lines in examples(PAGE.read_text()):
            await example.run(lines)


def test_every_block_of_the_page_is_an_example() -> None:
    page = PAGE.read_text()
    fences = re.findall(r"(?m)^```(\w*)$", page[page.index("## Examples") :])
    assert fences[::2] == ["http"] * (len(fences) // 2)
    assert len(fences) > 40


@pytest.mark.parametrize(
    "wrong",
    [
        ["> GET /healthz", "< 404"],
        ["> GET /healthz", '< {"status": "ok"}'],
        ["> GET /healthz", "< 200", '< {"status": "bad"}'],
        ["> GET /healthz", "< 200", "< Content-Type: text/plain"],
        ["> GET /healthz", "< 200", '< {"more": 1}'],
        ["> GET /api/contexts", "< 200", '< {"contexts": [{}]}'],
    ],
)
async def test_an_example_that_is_wrong_fails(store_url: str, wrong: list[str]) -> None:
    async with serving(store_url, workers=0) as service:
        with pytest.raises((AssertionError, KeyError, ValueError)):
            await Example(service.client).run(wrong)
