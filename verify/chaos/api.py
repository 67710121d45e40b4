"""One client's side of the wire: tries, repeats under the same key, and what it learnt.

Knows nothing of the product's code. An answer settles an operation; a time-out, a cut
connection and a 5xx do not, and are repeated with the same key on a fresh connection, which
may lead to another gateway.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import aiohttp
import orjson

from verify.records import Cursor, Json, Operation, Outcome, Read, number_of

RETRY_PAUSE_S_MAX = 0.2
FRESH_RATE = 0.05
"""Share of requests that take a connection of their own."""
CONDITIONAL_RATE = 0.5
"""Share of polls that name what the client has, and are told 304 where that is so still."""
LONG_POLL_RATE = 0.2
"""Share of those that wait for a change."""
LONG_POLL_S = 1
"""How long they wait, in whole seconds."""
AT_THE_DOOR = frozenset({429})
"""Statuses of refusals that say nothing about an earlier try of the same operation."""
GONE = frozenset({404, 410})
STALE = "Contextd-Stale"
"""Header of answers that may be behind, and say so."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Json:
        """Its JSON."""
        return orjson.loads(self.raw)

    @property
    def code(self) -> str:
        """The problem type's last part; the status where there is none."""
        try:
            problem: str = self.body["type"].rpartition("/")[2]
        except (ValueError, KeyError, TypeError, AttributeError):
            return str(self.status)
        return problem


@dataclass(slots=True)
class Records:
    """What all clients of a round wrote down."""

    operations: list[Operation] = field(default_factory=list[Operation])
    reads: list[Read] = field(default_factory=list[Read])
    tries: Counter[str] = field(default_factory=Counter[str])
    """Answers by status, and what went wrong where there was none."""
    oddities: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    """Check, context and sentence of answers that should never be given."""
    answered_at_s: list[float] = field(default_factory=list[float])
    """When any operation or read was answered with success."""


class Api:
    """Talks to the gateways behind one address."""

    def __init__(
        self,
        url: str,
        client: str,
        records: Records,
        *,
        draw: random.Random,
        request_s_max: float,
        operation_s_max: float,
        retry_pause_s_max: float = RETRY_PAUSE_S_MAX,
    ) -> None:
        self._retry_pause_s_max = retry_pause_s_max
        self._deleted: set[str] = set()
        self._known: dict[str, tuple[Read, Json]] = {}
        """By context: what was read last, and the state as it came."""
        self.client = client
        self.records = records
        self._url = url
        self._draw = draw
        self._operation_s_max = operation_s_max
        self._timeout = aiohttp.ClientTimeout(total=request_s_max)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Give the connection back."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def act(
        self,
        context_id: str,
        kind: str,
        body: Json,
        *,
        key: str,
        content: str | None = None,
        if_unchanged: bool = False,
    ) -> tuple[Operation, Json]:
        """Do one action, until it is settled or its time is over, and record it.

        Args:
            context_id: Where.
            kind: The action's name.
            body: What it holds.
            key: Idempotency-Key of all tries.
            content: Text that it says.
            if_unchanged: Whether it is to be done only at the version that was read last; one
                that was not read is acted on whatever its version.

        Returns:
            The record, and the state that came with the answer, or None.
        """
        path = f"/api/contexts/{context_id}/actions/{kind}"
        headers = {"Idempotency-Key": key}
        if_version = None
        if if_unchanged and context_id in self._known:
            _, known = self._known[context_id]
            headers["If-Match"], if_version = f'"{known["cursor"]}"', known["version"]
        begun = Operation(
            client=self.client,
            context_id=context_id,
            kind=kind,
            called_s=time.monotonic(),
            key=key,
            content=content,
            if_version=if_version,
            tool_call_ids=tuple(body.get("tool_call_ids", ())),
            denied_ids=tuple(denied["id"] for denied in body.get("deny", ())),
        )
        if kind == "delete":
            self._deleted.add(context_id)
        answer, tries, last = await self._until_settled(path, body, headers)
        operation = replace(begun, tries=tries, code=last)
        context: Json = None
        if answer is not None and answer.status in GONE and kind == "delete" and tries > 1:
            # An earlier try has deleted it, and with it the memory of its key.
            answer = None
        if answer is not None:
            operation, context = _settled(operation, answer, time.monotonic())
            self._look_at(context_id, answer)
        if if_version is not None and operation.outcome is Outcome.ACCEPTED:
            # It waits, and is refused if the version is another by then.
            operation = replace(operation, outcome=Outcome.UNKNOWN)
        self.records.operations.append(operation)
        return operation, context

    async def flush(self, context_id: str, key: str, *, within_s: float) -> bool:
        """Wait until everything that was accepted has been applied; returns whether it has.

        An action is applied after those that came before it, so one more that is applied says
        that nothing waits in the mailbox any more: an idle context alone does not say so.
        """
        due_s = time.monotonic() + within_s
        while time.monotonic() < due_s:
            told, _ = await self.act(context_id, "rename", {"title": "flushed"}, key=key)
            if told.outcome in {Outcome.APPLIED, Outcome.REFUSED}:
                return True
            await asyncio.sleep(self._retry_pause_s_max)
        return False

    async def create(self, key: str, body: Json) -> str | None:
        """Make a context; returns its id, or None if nobody answered in time."""
        answer, _, _ = await self._until_settled(
            "/api/contexts", body, {"Idempotency-Key": key}
        )
        if answer is None or answer.status not in {200, 201, 202}:
            return None
        context_id: str = answer.body["context"]["id"]
        return context_id

    async def read(self, context_id: str) -> Json:
        """Poll once; returns the state, or None where there was no answer.

        A 304 is a read of the state that the client has.
        """
        headers: dict[str, str] = {}
        if context_id in self._known and self._draw.random() < CONDITIONAL_RATE:
            _, known = self._known[context_id]
            headers["If-None-Match"] = f'"{known["cursor"]}"'
            if self._draw.random() < LONG_POLL_RATE:
                headers["Prefer"] = f"wait={LONG_POLL_S}"
        called_s = time.monotonic()
        path = f"/api/contexts/{context_id}/state"
        answer, error = await self._try("GET", path, None, headers)
        returned_s = time.monotonic()
        if answer is None or error:
            return None
        self._look_at(context_id, answer)
        if answer.status in GONE:
            self.records.reads.append(
                Read(
                    client=self.client,
                    context_id=context_id,
                    called_s=called_s,
                    returned_s=returned_s,
                    found=False,
                )
            )
        stale = answer.headers.get(STALE) == "true"
        if answer.status == 200:
            context = answer.body["context"]
            read = Read.of(
                context,
                client=self.client,
                called_s=called_s,
                returned_s=returned_s,
                stale=stale,
            )
        elif answer.status == 304:
            before, context = self._known[context_id]
            read = replace(before, called_s=called_s, returned_s=returned_s, stale=stale)
        else:
            return None
        self._known[context_id] = read, context
        self.records.reads.append(read)
        self.records.answered_at_s.append(returned_s)
        return context

    async def is_gone(self, context_id: str) -> bool:
        """Poll once; whether the context was not found."""
        before = len(self.records.reads)
        await self.read(context_id)
        return any(not read.found for read in self.records.reads[before:])

    async def request(
        self, method: str, path: str, body: Json = None
    ) -> tuple[Answer | None, str]:
        """Send one plain request once; returns the answer, or None and what went wrong."""
        return await self._try(method, path, body, {})

    async def _until_settled(
        self, path: str, body: Json, headers: Mapping[str, str]
    ) -> tuple[Answer | None, int, str | None]:
        """Repeat one POST until its answer says what became of it.

        Returns:
            That answer, or None when the time was over; how many tries it took; what went
            wrong last.
        """
        due_s = time.monotonic() + self._operation_s_max
        tries, uncertain, last = 0, False, None
        while time.monotonic() < due_s:
            tries += 1
            answer, error = await self._try("POST", path, body, headers)
            if answer is not None and answer.status < 500:
                if uncertain and answer.status in AT_THE_DOOR:
                    last = answer.code
                else:
                    if 200 <= answer.status < 300:
                        self.records.answered_at_s.append(time.monotonic())
                    return answer, tries, None
            else:
                uncertain = True
                last = error or str(answer.status if answer else "")
            await asyncio.sleep(self._draw.random() * self._retry_pause_s_max)
        return None, tries, last

    async def _try(
        self, method: str, path: str, body: Json, headers: Mapping[str, str]
    ) -> tuple[Answer | None, str]:
        if self._draw.random() < FRESH_RATE:
            await self.close()
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        sent = {"Content-Type": "application/json", **headers}
        data = None if body is None else orjson.dumps(body)
        url = f"{self._url}{path}"
        try:
            async with self._session.request(method, url, data=data, headers=sent) as response:
                raw = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            await self.close()
            name = type(error).__name__
            self.records.tries[name] += 1
            return None, name
        self.records.tries[str(response.status)] += 1
        return Answer(response.status, response.headers, raw), ""

    def _look_at(self, context_id: str, answer: Answer) -> None:
        if answer.status in GONE and context_id not in self._deleted:
            text = f"a context that was created is answered {answer.status}"
            self.records.oddities.append(("context-lost", context_id, text))


def _settled(operation: Operation, answer: Answer, returned_s: float) -> tuple[Operation, Json]:
    """What an answer below 500 says of an operation."""
    if answer.status >= 400:
        refused = replace(
            operation, returned_s=returned_s, outcome=Outcome.REFUSED, code=answer.code
        )
        return refused, None
    body = answer.body
    action, context = body["action"], body["context"]
    applied = action["result"] == "applied"
    etag = answer.headers.get("ETag")
    return (
        replace(
            operation,
            returned_s=returned_s,
            outcome=Outcome.APPLIED if applied else Outcome.ACCEPTED,
            code=None,
            action_id=number_of(action["id"]),
            version=action["version"],
            seen_version=None if answer.headers.get(STALE) else body["version"],
            epoch=Cursor.parse(etag).epoch if etag else None,
        ),
        context,
    )
