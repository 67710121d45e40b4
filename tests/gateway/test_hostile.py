"""Whatever is sent to whichever address is refused as described, or served: never a 5xx.

What there is to send to is read from the description: every body, every string in it, every
parameter and header. `--long` sends over 100,000; this is the short form.
"""

import itertools
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from urllib.parse import quote

import orjson
import pytest
from yarl import URL

from gateway.problem_types import EVERYWHERE, TYPES
from tests.support import hostile
from tests.support.service import Client, Json, serving

STRIDE = 37
"""Of the short form: every so many-th case, a number that no list's length is a multiple of."""
MIXTURES_LONG = 60
"""Strings made up for each place, in the long form."""
SENT_MIN, SENT_MIN_LONG = 1_500, 100_000
REFUSED_S_MAX = 0.05
REPEATS_MAX = 5
"""A machine that does something else as well is asked again."""
CONTEXT_REQUESTS_MAX = 40
"""Requests to one context, some of which leave something in it."""
STREAMS = ("/events", "/ws")
"""They answer for as long as somebody listens."""
ANYWHERE = frozenset({TYPES[name].status for name in EVERYWHERE})
_CONTROL = re.compile("[\0-\x1f\x7f]")
"""What our own client refuses to send in a header."""
WAITED = b"/problems/no-supervisor"
"""What a restart that is in order is answered with here, after a wait: nothing restarts us."""


@dataclass(frozen=True, slots=True)
class Case:
    """One request."""

    method: str
    path: str
    statuses: frozenset[int]
    """That are described."""
    raw: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def cases(document: Json, *, mixtures: int) -> Iterator[Case]:
    """Every place with everything that is hostile."""
    made_up = hostile.mixtures(seed=5)
    for path, methods in document["paths"].items():
        if path.endswith(STREAMS):
            continue
        for method, operation in methods.items():
            statuses = frozenset(int(status) for status in operation["responses"])
            plain = Case(method.upper(), _some(path), statuses - frozenset(range(500, 600)))
            if (body := operation.get("requestBody")) is not None:
                schema = body["content"]["application/json"]["schema"]
                for raw in _bodies(schema, document, made_up, mixtures):
                    yield Case(plain.method, plain.path, plain.statuses, raw)
            for parameter in operation.get("parameters", ()):
                texts = itertools.chain(hostile.strings(), itertools.islice(made_up, mixtures))
                yield from _with_parameter(plain, path, parameter, texts)


def _bodies(
    schema: Json, document: Json, made_up: Iterator[str], mixtures: int
) -> Iterator[bytes]:
    yield from hostile.broken(orjson.dumps(hostile.least(schema, document)))
    for template in hostile.holes(schema, document):
        for value in hostile.values():
            yield hostile.filled(template, value)
        for text in itertools.chain(hostile.strings(), itertools.islice(made_up, mixtures)):
            yield hostile.filled(template, hostile.encoded(text))


def _with_parameter(
    plain: Case, path: str, parameter: Json, texts: Iterator[str]
) -> Iterator[Case]:
    name = parameter["name"]
    for text in texts:
        match parameter["in"]:
            case "path":
                if text.strip(".") and len(text) < 2_000:
                    place = path.replace(f"{{{name}}}", quote(text, safe=""))
                    yield Case(plain.method, _some(place), plain.statuses)
            case "query":
                query = f"{name}={quote(text[:1_000], safe='')}"
                yield Case(plain.method, f"{plain.path}?{query}", plain.statuses)
            case _:
                if not _CONTROL.search(text) and len(text) < 4_000:
                    yield Case(plain.method, plain.path, plain.statuses, headers={name: text})


def _some(path: str) -> str:
    """An address whose parameters, but for the context's id, are some that fit."""
    return path.replace("{mode}", "text").replace("{name}", "not-found")


@dataclass
class Sender:
    """Sends cases, and judges the answers."""

    client: Client
    sent: int = 0
    served: int = 0
    slowest_s: float = 0.0
    slowest: str = ""
    """The refusal that took longest, and how long."""
    _context_id: str = ""
    _context_requests: int = CONTEXT_REQUESTS_MAX

    async def send(self, case: Case) -> None:
        path = case.path
        if "{id}" in path:
            path = path.replace("{id}", await self._context())
        path = path.replace("{", "%7B").replace("}", "%7D")
        status, body, took_s = await self._answer(case, path)
        self.sent += 1
        told = (
            case.method,
            path[:200],
            (case.raw or b"")[:300],
            case.headers,
            status,
            body[:300],
        )
        assert status in case.statuses | ANYWHERE, told
        if status < 400 or WAITED in body:
            self.served += 1
            return
        for _ in range(REPEATS_MAX):
            if took_s <= REFUSED_S_MAX:
                break
            took_s = min(took_s, (await self._answer(case, path))[2])
        if took_s > self.slowest_s:
            self.slowest_s, self.slowest = took_s, f"{took_s * 1_000:.1f} ms: {told}"

    async def _answer(self, case: Case, path: str) -> tuple[int, bytes, float]:
        headers = dict(case.headers)
        if case.raw is not None:
            headers["Content-Type"] = "application/json"
        began_s = perf_counter()
        async with self.client.session.request(
            case.method,
            URL(self.client.url + path, encoded=True),
            data=case.raw,
            headers=headers,
            allow_redirects=False,
        ) as answer:
            body = await answer.read()
        return answer.status, body, perf_counter() - began_s

    async def _context(self) -> str:
        if self._context_requests >= CONTEXT_REQUESTS_MAX:
            self._context_id = await self.client.create()
            self._context_requests = 0
        self._context_requests += 1
        return self._context_id


@pytest.mark.timeout(3_600)
async def test_no_input_is_answered_but_as_described_and_the_worker_goes_on(
    store_url: str, request: pytest.FixtureRequest
) -> None:
    long = request.config.getoption("--long")
    options = {"chat_s_max": 5, "openai_wait_s_max": 5, "wait_s_max": 1}
    async with serving(store_url, gateway=options) as service:
        document = (await service.client.get("/openapi.json")).json
        every = cases(document, mixtures=MIXTURES_LONG if long else 0)
        sender = Sender(service.client)
        for case in every if long else itertools.islice(every, 0, None, STRIDE):
            await sender.send(case)
        sys.stdout.write(
            f"{sender.sent} sent, {sender.served} served; slowest refusal: {sender.slowest}\n"
        )
        assert sender.sent >= (SENT_MIN_LONG if long else SENT_MIN)
        assert not long or sender.slowest_s <= REFUSED_S_MAX, sender.slowest
        answer = await service.client.say(await service.client.create(), "still there?")
        assert (answer.status, answer.json["status"]) == (200, "idle")
