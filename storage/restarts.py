"""Restarts and drains: asked for through a gateway, done by the supervisors, reported here.

One of them runs at a time; asking for the same meanwhile names the one that runs. A request
that no supervisor hears is withdrawn. What is kept of one lives `restart_report_s`.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Final, Literal, cast

from pydantic import BaseModel, ConfigDict

import storage.keys as keys
from storage.announcements import RestartAsked, RestartComplete, RestartProgress
from storage.errors import StorageError
from storage.store import Store
from storage.subscriber import Listener

SUPERVISOR_LOOKS, SUPERVISOR_LOOK_S = 10, 0.3
"""How often, and how far apart, it is looked for somebody to carry a restart out."""

CARRIER_S: Final = 10
"""For how long a supervisor that carries one out is taken to be there after its last sign."""
GONE: Final = "its supervisor is gone"

RestartScope = Literal["all", "gateways", "workers"]


class NoSupervisor(StorageError):
    """No supervisor listens; nothing was begun."""


class OtherRuns(StorageError):
    """Another restart or drain has not ended; nothing was begun."""

    def __init__(self, restart_id: str) -> None:
        super().__init__(restart_id)
        self.restart_id = restart_id


class RestartRequest(BaseModel):
    """What was asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    restart_id: str
    scope: RestartScope
    force: bool
    """Kill instead of drain."""
    requested_at_ms: int
    kind: Literal["restart", "drain"] = "restart"
    """`drain`: nothing takes the place of what ends, until the next restart."""
    process: str | None = None
    """Of a drain: only the worker of this id, or the process `<host>:<process id>`."""

    def asks_the_same(self, other: "RestartRequest") -> bool:
        """Whether carrying out one does what the other asks for; any two restarts do."""
        if "drain" not in {self.kind, other.kind}:
            return True
        return (self.kind, self.scope, self.process) == (other.kind, other.scope, other.process)


class ProcessRestart(BaseModel):
    """What became of one process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["gateway", "worker"]
    slot: int
    process_id: int | None
    """Id of the old process; None if there was none at that moment."""
    replaced_by: int | None
    """None: the new one did not come up, and the old one goes on; or it was a drain."""
    outcome: Literal["drained", "killed", "not replaced"]
    moved: int | None
    """Streams that a gateway has sent away, contexts that a worker has handed over; None if
    it did not say."""
    duration_ms: int
    """From the start of the new one to the end of the old one."""


class SupervisorReport(BaseModel):
    """What one supervisor has done so far."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    supervisor: str
    status: Literal["running", "complete", "failed"]
    processes: tuple[ProcessRestart, ...] = ()
    reason: str | None = None
    """Why it has failed, where the supervisor could not say so itself."""


class Restart(BaseModel):
    """A restart, as far as it has come."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: RestartRequest
    supervisors: tuple[SupervisorReport, ...]

    @property
    def status(self) -> Literal["requested", "running", "complete", "failed"]:
        """The status of all supervisors together."""
        states = {report.status for report in self.supervisors}
        if not states:
            return "requested"
        if "running" in states:
            return "running"
        return "failed" if "failed" in states else "complete"


class Restarts:
    """Asks for restarts, hears of them, and keeps their reports."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._config = store.config

    async def ask(
        self,
        scope: RestartScope,
        *,
        force: bool,
        now_ms: int,
        kind: Literal["restart", "drain"] = "restart",
        process: str | None = None,
    ) -> str:
        """Ask for a restart, or a drain.

        Returns:
            Its id; that of the one that runs already, if that one does the same.

        Raises:
            OtherRuns: It does not do the same.
            NoSupervisor: Nobody would carry it out.
            StoreUnavailable: It may have been asked for.
            StoreRefusedWrite: Nothing has happened.
        """
        call = self._store.link.call
        restart_id = f"r-{secrets.token_hex(8)}"
        request = RestartRequest(
            restart_id=restart_id,
            scope=scope,
            force=force,
            requested_at_ms=now_ms,
            kind=kind,
            process=process,
        )
        # First what is asked for: whoever finds that one runs finds what it is.
        await call("HSET", keys.restart(restart_id), "request", request.model_dump_json())
        await call("EXPIRE", keys.restart(restart_id), self._config.restart_report_s)
        if (running := await self._begin(restart_id)) is not None:
            await call("DEL", keys.restart(restart_id))
            other = await self.read(running)
            if other is None or not request.asks_the_same(other.request):
                raise OtherRuns(running)
            # Whoever asked for it may have died before it was told.
            await call("PUBLISH", keys.SUPERVISORS, running)
            return running
        for _ in range(SUPERVISOR_LOOKS):
            if await call("PUBLISH", keys.SUPERVISORS, restart_id) != 0:
                self._store.announcer.tell(
                    RestartAsked(restart_id=restart_id, scope=scope, force=force)
                )
                return restart_id
            await asyncio.sleep(SUPERVISOR_LOOK_S)  # one that has just come up listens soon
        await call("DEL", keys.restart(restart_id))
        await self._hold(restart_id, 0)
        raise NoSupervisor

    async def _begin(self, restart_id: str) -> str | None:
        """Make this the restart that runs; returns the id of another one that runs already."""
        call, within_s = self._store.link.call, self._config.restart_silent_s_max
        while await call("SET", keys.RESTARTING, restart_id, "NX", "EX", within_s) is None:
            running = await self.running()
            if running is None:
                continue  # that one has ended just now
            found = await self.fail_lost(running)
            if found is None or found.status in {"requested", "running"}:
                return running
            await self._hold(running, 0)
        return None

    async def running(self) -> str | None:
        """Id of the one that runs; None: none does.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        running = cast("bytes | None", await self._store.link.call("GET", keys.RESTARTING))
        return None if running is None else running.decode()

    async def requests(self) -> AsyncIterator[RestartRequest]:
        """The restart that runs, then every further one, as they are asked for.

        Raises:
            StoreUnavailable: They cannot be heard at the moment.
        """
        told = asyncio.Event()
        listener = Listener(lambda _message: told.set(), told.set)
        await self._store.subscriber.subscribe(keys.SUPERVISORS, listener)
        seen: set[str] = set()
        try:
            while True:
                told.clear()
                running = await self.running()
                if running is not None and running not in seen:
                    restart = await self.read(running)
                    if restart is not None:
                        seen = {restart.request.restart_id}
                        yield restart.request
                        continue
                await told.wait()
        finally:
            self._store.subscriber.unsubscribe(keys.SUPERVISORS, listener)

    async def report(self, restart_id: str, report: SupervisorReport) -> None:
        """Keep what a supervisor has done; the last one that is done ends the restart.

        Raises:
            StoreUnavailable, StoreRefusedWrite: It may be missing from the report.
        """
        call = self._store.link.call
        if report.status == "running":
            await self.carry(restart_id, report.supervisor)
        field = f"supervisor:{report.supervisor}"
        await call("HSET", keys.restart(restart_id), field, report.model_dump_json())
        self._tell_progress(restart_id, report)
        restart = await self.read(restart_id)
        if restart is not None and restart.status in {"complete", "failed"}:
            await self._hold(restart_id, 0)
            status: Literal["complete", "failed"] = (
                "complete" if restart.status == "complete" else "failed"
            )
            self._store.announcer.tell(RestartComplete(restart_id=restart_id, status=status))
        else:
            await self._hold(restart_id, self._config.restart_silent_s_max)

    async def carry(self, restart_id: str, supervisor: str) -> None:
        """Say that a supervisor is there, and carries a restart out; for CARRIER_S.

        Raises:
            StoreUnavailable, StoreRefusedWrite: Others may take it to be gone.
        """
        sign = keys.carrier(restart_id, supervisor)
        await self._store.link.call("SET", sign, "", "EX", CARRIER_S)

    async def is_in_hand(self, restart_id: str) -> bool:
        """Whether a supervisor has begun it, or another one listens that may.

        Only for a supervisor that listens (`requests`). Else who was asked has died before it
        began: its processes died with it, and were not drained.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        restart = await self.read(restart_id)
        has_begun = restart is not None and restart.supervisors != ()
        return has_begun or await self._others_listen(restart_id)

    async def fail_lost(self, restart_id: str, *, listens: bool = False) -> Restart | None:
        """Report the failure of supervisors that have begun and are gone.

        Args:
            restart_id: Of the restart.
            listens: Whether a supervisor asks that listens (`requests`). Where no other one
                does, all but itself are gone, however short ago they gave a sign.

        Returns:
            The restart as it is then; None if there is none, or not any more.

        Raises:
            StoreUnavailable, StoreRefusedWrite: Some of it may be missing from the report.
        """
        restart = await self.read(restart_id)
        running = (
            [one for one in restart.supervisors if one.status == "running"] if restart else []
        )
        is_alone = listens and running and not await self._others_listen(restart_id)
        for report in running:
            sign = keys.carrier(restart_id, report.supervisor)
            if is_alone or await self._store.link.call("EXISTS", sign) == 0:
                failed = report.model_copy(update={"status": "failed", "reason": GONE})
                await self.report(restart_id, failed)
        return await self.read(restart_id) if running else restart

    async def _others_listen(self, restart_id: str) -> bool:
        listening = await self._store.link.call("PUBLISH", keys.SUPERVISORS, restart_id)
        return cast("int", listening) > 1

    async def _hold(self, restart_id: str, within_s: int) -> None:
        """Remain the restart that runs for so long, unless another one has begun since."""
        where = [keys.RESTARTING]
        await self._store.scripts.run(self._store.link, "hold", where, restart_id, within_s)

    def _tell_progress(self, restart_id: str, report: SupervisorReport) -> None:
        if report.status != "running":
            return  # the last process was told of already
        progress = RestartProgress(
            restart_id=restart_id, supervisor=report.supervisor, done=len(report.processes)
        )
        if report.processes:
            last = report.processes[-1].model_dump(exclude={"slot", "moved"})
            progress = progress.model_copy(update=last)
        self._store.announcer.tell(progress)

    async def read(self, restart_id: str) -> Restart | None:
        """A restart by its id; None if there is none, or not any more.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        reply = await self._store.link.call("HGETALL", keys.restart(restart_id))
        parts = cast("Sequence[bytes]", reply)
        fields = dict(zip(parts[::2], parts[1::2], strict=True))
        request = fields.pop(b"request", None)
        if request is None:
            return None
        return Restart(
            request=RestartRequest.model_validate_json(request),
            supervisors=tuple(
                SupervisorReport.model_validate_json(fields[name]) for name in sorted(fields)
            ),
        )
