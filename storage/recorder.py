"""For programs that bring their own model loop and only want the conversation kept.

    async with open_recorder("unix:///var/lib/contextd/store.sock", owner="local") as recorder:
        context_id = await recorder.initialize(title="From the proxy")
        await recorder.record_user_message(context_id, "Hello")
        await recorder.record_assistant_final(context_id, "Hi.", model="my-model")

Each call returns once what it records is in the context's mailbox, at the store's durability:
the same mailbox that the gateway fills, so readers, streams and workers see one history. A
call whose outcome is unknown is repeated under the same key, and recorded once.
"""

import asyncio
import contextlib
import hashlib
import math
import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from pydantic import JsonValue
from uuid_utils import uuid7

from fsm import Config, ContextCreated, MessagesRecorded, RecordedMessage, Usage
from storage.config import StorageConfig
from storage.contract import Mail, Result
from storage.errors import (
    ContextMissing,
    MailboxFull,
    StorageError,
    StoreRefusedWrite,
    StoreUnavailable,
)
from storage.store import Store, connect
from storage.times import unix_ms

TRIES_MAX: Final = 20
PAUSE_S: Final = 0.1
PAUSE_S_MAX: Final = 2.0
"""Between two tries; doubles from PAUSE_S."""
FLUSH_S_MAX: Final = 10.0
METADATA_DEPTH_MAX: Final = 50
"""How deeply metadata may be nested. Nobody reads JSON of 200 levels, its frames included."""
INTEGER_MAX: Final = 2**63 - 1
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class RecordRefused(StorageError):
    """The context did not take what was recorded: somebody else has a turn running in it."""

    def __init__(self, context_id: str, results: Mapping[int, Result]) -> None:
        first = next(iter(results.values()))
        super().__init__(f"{len(results)} of context {context_id}: {first.detail}")
        self.context_id = context_id
        self.results = results
        """Results by the number of the action."""


@dataclass(slots=True)
class Recorder:
    """Records conversations of one owner. Made by `open_recorder`."""

    store: Store
    owner: str
    _recorded: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """Numbers of the actions whose result was not looked at, by context; no older ones than
    the store keeps results of."""

    async def initialize(
        self,
        *,
        title: str = "",
        labels: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> str:
        """Make a context.

        Args:
            title: Its title; without one, how the conversation begins.
            labels: For whoever lists contexts.
            key: Makes repeating the call safe, also after a restart of the caller.

        Returns:
            Its id.

        Raises:
            KeyReused: The key came with something else before.
            QuotaExceeded: The owner has as many contexts as one may have.
            StoreUnavailable, StoreRefusedWrite: As in `TRIES_MAX` tries.
            ValueError: There is half of a surrogate pair in it.
        """
        _check_readable({"title": title, "labels": labels})
        event = ContextCreated(
            at_ms=unix_ms(),
            context_id=str(uuid7()),
            owner=self.owner,
            title=title,
            labels=labels or {},
            config=Config(),
        )
        own_key = key or str(uuid7())
        digest = _digest("initialize", title, repr(sorted((labels or {}).items())))
        tries = _Tries()
        while True:
            try:
                context_id, _ = await self.store.admissions.create(
                    event, first=None, key=own_key, digest=digest
                )
            except (StoreUnavailable, StoreRefusedWrite) as error:
                await tries.wait(error)
            else:
                return context_id

    async def record_user_message(
        self,
        context_id: str,
        content: str,
        *,
        client_message_id: str | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
        key: str | None = None,
    ) -> None:
        """Record what the user has said.

        Raises:
            ContextMissing: No such context, or not this owner's.
            KeyReused: The key came with something else before.
            QuotaExceeded: The context has as much as one may have.
            StoreUnavailable, StoreRefusedWrite, MailboxFull: As in `TRIES_MAX` tries.
            ValueError: It is no JSON that everybody can read: a half of a surrogate pair, NaN,
                a number beyond 64 bits, metadata of over `METADATA_DEPTH_MAX` levels.
        """
        said = RecordedMessage(
            role="user",
            content=content,
            client_message_id=client_message_id,
            metadata=metadata or {},
        )
        await self._record(context_id, said, key)

    async def record_assistant_final(
        self,
        context_id: str,
        content: str,
        *,
        model: str | None = None,
        usage: Usage | None = None,
        finish_reason: str | None = "stop",
        metadata: Mapping[str, JsonValue] | None = None,
        key: str | None = None,
    ) -> None:
        """Record a reply, whole. Raises as `record_user_message`."""
        said = RecordedMessage(
            role="assistant",
            content=content,
            model=model,
            usage=usage,
            finish_reason=finish_reason,
            metadata=metadata or {},
        )
        await self._record(context_id, said, key)

    async def mark_error(
        self, context_id: str, detail: str, *, partial: str = "", key: str | None = None
    ) -> None:
        """Record that there was no reply, or only the beginning of one, and why.

        Raises as `record_user_message`.
        """
        said = RecordedMessage(
            role="assistant",
            content=partial,
            status="failed",
            finish_reason="error",
            metadata={"error": detail},
        )
        await self._record(context_id, said, key)

    async def cleanup(self, *, within_s: float = FLUSH_S_MAX) -> bool:
        """Wait until all that was recorded stands in the contexts.

        Returns:
            Whether it does, but in contexts that were deleted meanwhile; False where no worker
            has taken it in time: it is safe all the same, and is applied by the next that runs.

        Raises:
            RecordRefused: A context has refused some of it, of what the store still keeps
                results of (`results_max` actions).
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                for context_id in tuple(self._recorded):
                    await self._flush(context_id)
        return not self._recorded

    async def _flush(self, context_id: str) -> None:
        refused: dict[int, Result] = {}
        waiting = self._recorded[context_id]
        while waiting:
            seq = waiting[0]
            try:
                reading = await self.store.read(context_id, self.owner, seq=seq)
            except ContextMissing:
                break  # it was deleted, with all that was recorded
            except StoreUnavailable:
                await asyncio.sleep(PAUSE_S)
                continue
            is_kept = seq > reading.mail_seq - self.store.config.results_max
            if reading.result is None and is_kept:
                await asyncio.sleep(PAUSE_S)
                continue
            if waiting[0] == seq:  # else it has made room for newer ones meanwhile
                waiting.pop(0)
            if reading.result is not None and reading.result.outcome == "refused":
                refused[seq] = reading.result
        del self._recorded[context_id]
        if refused:
            raise RecordRefused(context_id, refused)

    async def _record(self, context_id: str, said: RecordedMessage, key: str | None) -> None:
        _check_readable(said.metadata)
        mail = Mail(event=MessagesRecorded(at_ms=unix_ms(), messages=(said,)))
        own_key = key or str(uuid7())
        digest = _digest("record", said.model_dump_json())
        tries = _Tries()
        while True:
            try:
                receipt = await self.store.admissions.deliver(
                    context_id, self.owner, mail, key=own_key, digest=digest
                )
                if not receipt.active and receipt.result is None:
                    await self.store.queue.enqueue(context_id, owner=self.owner)
            except (StoreUnavailable, StoreRefusedWrite, MailboxFull) as error:
                await tries.wait(error)
            else:
                seqs = self._recorded.setdefault(context_id, [])
                kept_after = receipt.seq - self.store.config.results_max
                seqs[:] = [*(seq for seq in seqs if seq > kept_after), receipt.seq]
                return


@dataclass(slots=True)
class _Tries:
    """Counts, and waits longer each time."""

    made: int = 0

    async def wait(self, error: StorageError) -> None:
        """Wait before the next try; raise the error after the last."""
        self.made += 1
        if self.made >= TRIES_MAX:
            raise error
        await asyncio.sleep(min(PAUSE_S * 2 ** (self.made - 1), PAUSE_S_MAX))


@contextlib.asynccontextmanager
async def open_recorder(
    url: str, *, owner: str, config: StorageConfig | None = None
) -> AsyncGenerator[Recorder, None]:
    """A recorder for the length of a block; at its end what was recorded is waited for.

    What the block raises comes out of it as it is.

    Args:
        url: Of the store, as `storage.connect` takes it.
        owner: Whose contexts these are; the gateway without keys calls its one owner `local`.
        config: Of the store, where it is not the default.

    Raises:
        StoreUnavailable: It cannot be reached.
        RecordRefused: As `Recorder.cleanup`.
    """
    failure: Exception | None = None
    try:
        async with connect(url, config or StorageConfig()) as store:
            recorder = Recorder(store, owner)
            try:
                yield recorder
                await recorder.cleanup()
            except Exception as error:
                failure = error
                raise
    except ExceptionGroup as wrapped:
        # The store's own task groups wrap all that leaves them.
        failure = failure or _first_of(wrapped)
    if failure is not None:
        raise failure


def _first_of(group: ExceptionGroup[Exception]) -> Exception:
    error = group.exceptions[0]
    if isinstance(error, ExceptionGroup):
        return _first_of(cast("ExceptionGroup[Exception]", error))
    return error


def _check_readable(value: object, levels: int = METADATA_DEPTH_MAX) -> None:
    """Refuse what no worker could read, or would come back as another.

    Raises:
        ValueError: It is such.
    """
    within: list[object] = []
    match value:
        case str():
            fits = not _SURROGATE.search(value)
        case int():
            fits = -INTEGER_MAX - 1 <= value <= INTEGER_MAX
        case float():
            fits = math.isfinite(value)
        case Mapping():
            entries = cast("Mapping[str, object]", value)
            within, fits = [*entries, *entries.values()], levels > 0
        case list():
            within, fits = cast("list[object]", value), levels > 0
        case _:
            fits = True
    if not fits:
        raise ValueError("it is no JSON that can be read again, or nested too deeply")
    for each in within:
        _check_readable(each, levels - 1)


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()
