"""Carries out the restarts and drains that are asked for through a gateway."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence

from pydantic import ValidationError

from runtime.slot import Replaced, Role
from runtime.supervisor import Supervisor
from storage import (
    CARRIER_S,
    ProcessRestart,
    RestartRequest,
    Restarts,
    RestartScope,
    StorageConfig,
    StorageError,
    SupervisorReport,
    connect,
    end_if_cancelled,
)

_log = logging.getLogger(__name__)
_CONNECT_AGAIN_S = 0.5
_ROLES: Mapping[RestartScope, Sequence[Role]] = {
    "all": ("gateway", "worker"),
    "gateways": ("gateway",),
    "workers": ("worker",),
}


async def obey_restarts(
    url: Callable[[], str], config: StorageConfig, supervisor: Supervisor, *, began_ms: int
) -> None:
    """Restart or drain what we supervise whenever that is asked for; until cancelled.

    Args:
        url: Of the store, at the moment.
        config: How to speak to it.
        supervisor: Whose processes are restarted.
        began_ms: When the first of them was started (Unix time): they are newer than what
            was asked for before, and runs when it is first looked.
    """
    name = f"s-{secrets.token_hex(4)}"
    done: set[str] = set()
    looked = False
    found: str | None = None
    while True:
        try:
            async with connect(url(), config) as store:
                store.announcer.by = name
                restarts = Restarts(store)
                if not looked:
                    looked, found = True, await restarts.running()
                async for request in restarts.requests():
                    if request.restart_id in done:
                        continue
                    done.add(request.restart_id)
                    if request.restart_id == found and request.requested_at_ms < began_ms:
                        # Asked of a supervisor before us: our processes are new. What comes
                        # later is asked of us, whatever the clocks say.
                        in_hand = await restarts.is_in_hand(request.restart_id)
                        report = SupervisorReport(
                            supervisor=name, status="complete" if in_hand else "failed"
                        )
                        await restarts.report(request.restart_id, report)
                    else:
                        await _obey(restarts, request, supervisor, name)
                    if request.restart_id == found:
                        # Whom we replace may have been killed in the middle of it.
                        await restarts.fail_lost(request.restart_id, listens=True)
        except* (StorageError, ValidationError) as failed:
            _log.debug("restarts cannot be heard", extra={"reason": str(failed.exceptions[0])})
        end_if_cancelled()
        await asyncio.sleep(_CONNECT_AGAIN_S)


async def _obey(
    restarts: Restarts, request: RestartRequest, supervisor: Supervisor, name: str
) -> None:
    report = SupervisorReport(supervisor=name, status="running")
    fields = {"kind": request.kind, "scope": request.scope}
    _log.info("restarting", extra={**fields, "force": request.force})

    async def tell(changed: SupervisorReport) -> None:
        nonlocal report
        report = changed
        try:
            await restarts.report(request.restart_id, report)
        except (StorageError, ValidationError) as error:
            # The restart itself needs neither the store nor what others report.
            _log.warning("restart not reported", extra={"reason": str(error)})

    async def told(replaced: Replaced) -> None:
        processes = (*report.processes, _entry(replaced))
        await tell(report.model_copy(update={"processes": processes}))

    await tell(report)
    roles = _ROLES[request.scope]
    status = "failed"
    try:
        async with asyncio.TaskGroup() as group:
            signs = group.create_task(
                _give_signs(restarts, request.restart_id, name), name="restart-signs"
            )
            if request.kind == "drain":
                done = await supervisor.drain(
                    roles, process=request.process, force=request.force, told=told
                )
            else:
                done = await supervisor.restart(roles, force=request.force, told=told)
            signs.cancel()
        status = "complete" if done else "failed"
    finally:
        # A stop breaks it off; told of no end, nobody could begin another one for a while.
        await tell(report.model_copy(update={"status": status}))
        _log.info("restarted", extra={**fields, "status": status})


async def _give_signs(restarts: Restarts, restart_id: str, name: str) -> None:
    """Say that we are there, until cancelled: who gives no sign has failed, others say."""
    while True:
        await asyncio.sleep(CARRIER_S / 4)
        with contextlib.suppress(StorageError):
            await restarts.carry(restart_id, name)


def _entry(replaced: Replaced) -> ProcessRestart:
    return ProcessRestart(
        role=replaced.slot.role,
        slot=replaced.slot.number,
        process_id=replaced.process_id,
        replaced_by=replaced.replaced_by,
        outcome=replaced.outcome,
        moved=replaced.moved,
        duration_ms=int(replaced.took_s * 1_000),
    )
