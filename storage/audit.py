"""The audit log: acts that somebody may have to answer for, in a chain that shows changes.

- A record is written before its act is done; what cannot be recorded is not done.
- Records are numbered and each holds the digest of the one before: one that was changed, or
  taken out of the middle, shows. Whoever may write to the store can make all of them anew,
  so each digest is also told to whoever asked for the record (and goes into the log).
- Over the bound, the oldest are dropped. No record holds message contents.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, ValidationError
from redis.exceptions import ResponseError

import storage.keys as keys
from storage.errors import StoreRefusedWrite, StoreUnavailable
from storage.link import Link

TRIES_MAX: Final = 64
"""How often one record is tried under the next number, because others took that first."""
PAGE: Final = 500
_NOTHING: Final = ""
"""`before` of the first record."""
_TAKEN: Final = "equal or smaller than the target stream"
"""What the server says of a number that is taken."""

Outcome: TypeAlias = Literal["asked", "done", "failed"]


class Decision(BaseModel):
    """A person's decision about a tool call."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    call_id: str
    verdict: Literal["approved", "denied", "answered"]
    tool: str | None = None
    digest: str | None = None
    """Digest of the tool's name and the approved arguments; None where it is not known."""


class Act(BaseModel):
    """Something that was asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: str
    """`key:<id>`, `token`, `anybody` where nobody is asked, or `command:<user>`."""
    owner: str = ""
    """The owner whose contexts that credential opens."""
    address: str = ""
    """Address of the client."""
    name: str
    """What was asked for."""
    target: str = ""
    """What it is about: the id of a context, a key, a dead letter."""
    decisions: tuple[Decision, ...] = ()


class AuditRecord(BaseModel):
    """One line of the record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    at_ms: int
    act: Act
    outcome: Outcome
    """`asked`: before it is done."""
    of: int | None = None
    """Of a record that tells an outcome: number of the record of what was asked."""
    before: str
    """Digest of the record before; "" in the first."""


@dataclass(frozen=True, slots=True)
class Audited:
    """A record as it is kept."""

    place: int
    """Number that it is kept under; what a changed record says of itself may be another."""
    record: AuditRecord
    digest: str
    """Its digest; the next record holds it."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What stands in the place of a record, and is none: somebody has changed it."""

    place: int
    """Number that it is kept under."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The result of a check of the records."""

    first: int
    last: int
    digest: str
    """Digest of the last record."""
    broken: int | None
    """The first record that does not follow the one before it."""


@dataclass(frozen=True, slots=True)
class Audit:
    """The records of one store."""

    link: Link
    records_max: int

    async def append(
        self, act: Act, outcome: Outcome, *, at_ms: int, of: int | None = None
    ) -> Audited:
        """Record something.

        Raises:
            StoreUnavailable: It may be recorded.
            StoreRefusedWrite: It is not.
        """
        for _ in range(TRIES_MAX):
            record = await self._next(act, outcome, at_ms=at_ms, of=of)
            raw = record.model_dump_json()
            try:
                await self.link.call(
                    *("XADD", keys.AUDIT, "MAXLEN", "~", self.records_max),
                    *(f"{record.number}-0", "r", raw),
                )
            except ResponseError as error:
                if _TAKEN not in str(error):
                    raise StoreRefusedWrite(f"no record can be added: {error}") from None
            else:
                return Audited(record.number, record, _digest(raw.encode()))
        raise StoreUnavailable("too many are recorded at once")

    async def _next(
        self, act: Act, outcome: Outcome, *, at_ms: int, of: int | None
    ) -> AuditRecord:
        try:
            reply = await self.link.call("XREVRANGE", keys.AUDIT, "+", "-", "COUNT", 1)
        except ResponseError as error:
            raise StoreRefusedWrite(f"no record can be read: {error}") from None
        last = next(iter(_entries(reply)), None)
        return AuditRecord(
            number=last[0] + 1 if last else 1,
            at_ms=at_ms,
            act=act,
            outcome=outcome,
            of=of,
            before=_digest(last[1]) if last else _NOTHING,
        )

    async def page(self, *, after: int, limit: int) -> Sequence[Audited | Unreadable]:
        """Records behind a number, the oldest first.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        reply = await self.link.call("XRANGE", keys.AUDIT, after + 1, "+", "COUNT", limit)
        return [_read(place, raw) for place, raw in _entries(reply)]

    async def check(self) -> Chain:
        """Whether each record follows the one before it.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        first: int | None = None
        number, digest = 0, _NOTHING
        broken: int | None = None
        # By the entries' own ids: what a changed record says of its number may be less.
        after = b"0"
        while reply := await self.link.call(
            "XRANGE", keys.AUDIT, b"(" + after, "+", "COUNT", PAGE
        ):
            after = cast("list[tuple[bytes, list[bytes]]]", reply)[-1][0]
            for place, raw in _entries(reply):
                follows = _follows(raw, place, number, digest)
                if first is None:
                    first = place
                if not follows and broken is None:
                    broken = place
                number, digest = place, _digest(raw)
        return Chain(first or 0, number, digest, broken)


def _entries(reply: object) -> Sequence[tuple[int, bytes]]:
    """Number and JSON of records as the server has them."""
    entries = cast("list[tuple[bytes, list[bytes]]]", reply)
    return [
        # A record has one field. What has more is none, and shows as one that is no JSON.
        (int(entry_id.partition(b"-")[0]), fields[1] if len(fields) == 2 else b"")
        for entry_id, fields in entries
    ]


def _read(place: int, raw: bytes) -> Audited | Unreadable:
    try:
        return Audited(place, AuditRecord.model_validate_json(raw), _digest(raw))
    except ValidationError:
        return Unreadable(place)


def _follows(raw: bytes, place: int, number: int, digest: str) -> bool:
    """Whether a record is what stands behind another one; behind none where `number` is 0."""
    try:
        record = AuditRecord.model_validate_json(raw)
    except ValidationError:
        return False
    is_oldest = number == 0 and place > 1
    return record.number == place and (
        is_oldest or (place, record.before) == (number + 1, digest)
    )


def _digest(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=32).hexdigest()
