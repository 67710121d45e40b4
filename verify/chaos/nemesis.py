"""Injects faults, by a seed: one act each `act_every_ms`, all recorded.

- Only processes that the run has started are signalled (`verify.chaos.processes`).
- What is frozen is thawed again, whatever happens; faults of the proxy end by themselves.
- Acts that cause processes to start are limited by a budget that grows with time.
"""

import asyncio
import contextlib
import math
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from verify.chaos import clock
from verify.chaos.polling import until
from verify.chaos.service import Service
from verify.chaos.store import command

LATE_START_S_MAX = 1.0
"""How long an own store stays away after it was killed."""


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that was done to the service."""

    kind: str
    at_s: float
    for_s: float = 0.0
    """How long it was meant to last."""
    process_id: int | None = None


@dataclass(slots=True)
class Nemesis:
    """Harms one service. `run` until it is cancelled or told to stop."""

    service: Service
    group: asyncio.TaskGroup
    random: random.Random
    acts: list[Act] = field(default_factory=list[Act])
    _starts: float = 2.0
    _paused: set[int] = field(default_factory=set[int])
    _relaunching: bool = False
    _store_away: bool = False
    """Whether our own store is being started again; a process that ends because of that is no
    finding."""
    _pending: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    def counts(self) -> Mapping[str, int]:
        """Acts by kind."""
        return Counter(act.kind for act in self.acts)

    async def run(self, until_s: float) -> None:
        """Act until that moment (`time.monotonic`); what was begun then ends by itself."""
        settings = self.service.settings
        pause_s = settings.act_every_ms / 1_000
        kinds = [k for k, weight in settings.acts.items() if weight > 0 and k in self._table()]
        if not kinds:
            return
        weights = [settings.acts[kind] for kind in kinds]
        while (now_s := time.monotonic()) < until_s:
            if self.service.up.exit_code is not None and not self._relaunching:
                # Its store was killed while it started: it has ended, to be started again.
                self._note("supervisor-ended")
                self._relaunching = True
                self._begin(self._relaunch(), "relaunch")
            self._starts = min(settings.starts_max, self._starts + pause_s * settings.starts_s)
            for kind in self.random.choices(kinds, weights, k=len(kinds)):
                cost = self._cost(kind)
                # Overdrawn where it costs more than there is: it is paid for by a pause.
                affordable = cost == 0 or self._starts >= 1
                if affordable and await self._table()[kind]():
                    self._starts -= cost
                    break
            await asyncio.sleep(max(0.0, now_s + pause_s - time.monotonic()))

    async def settle(self) -> None:
        """Undo lasting faults; returns once all processes that must run were started."""
        if self.service.proxy is not None:
            self.service.proxy.flow()
        for process_id in tuple(self._paused):
            self._thaw(process_id)
        await command(self.service.store_socket, "CLIENT UNPAUSE")
        while self._pending:
            await asyncio.wait(self._pending)

    def _cost(self, kind: str) -> float:
        if kind == "kill-supervisor":
            settings = self.service.settings
            return settings.gateways + settings.workers + 2.0
        starts = kind.startswith(("kill-", "drain-")) and kind != "kill-store"
        return 1.0 if starts else 0.0

    def _table(self) -> Mapping[str, Callable[[], Awaitable[bool]]]:
        table: dict[str, Callable[[], Awaitable[bool]]] = {
            "kill-worker": lambda: self._signal("kill-worker", "worker", signal.SIGKILL),
            "kill-gateway": lambda: self._signal("kill-gateway", "gateway", signal.SIGKILL),
            "drain-worker": lambda: self._signal("drain-worker", "worker", signal.SIGTERM),
            "drain-gateway": lambda: self._signal("drain-gateway", "gateway", signal.SIGTERM),
            "pause-worker": lambda: self._pause("worker"),
            "pause-gateway": lambda: self._pause("gateway"),
            "pause-supervisor": lambda: self._pause("supervisor"),
            "pause-store": lambda: self._pause("store"),
            "clock-jump": self._clock_jump,
            "kill-supervisor": self._kill_supervisor,
            "kill-store": self._kill_store,
            "client-pause": self._client_pause,
            "script-flush": lambda: self._say("script-flush", "SCRIPT FLUSH"),
            "client-kill": self._client_kill,
        }
        if self.service.proxy is not None:
            table |= {
                "proxy-delay": self._proxy_delay,
                "proxy-black-hole": self._proxy_black_hole,
                "proxy-reset": self._proxy_reset,
                "proxy-half-close": self._proxy_half_close,
                "proxy-duplicate": self._proxy_duplicate,
                "proxy-late": self._proxy_late,
            }
        return table

    def _note(self, kind: str, for_s: float = 0.0, process_id: int | None = None) -> bool:
        self.acts.append(Act(kind, time.monotonic(), for_s, process_id))
        return True

    def _begin(self, work: Awaitable[None], name: str) -> None:
        async def awaited() -> None:
            await work

        task = self.group.create_task(awaited(), name=name)
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    def _drawn_s(self, longest_s: float) -> float:
        """A length between the shortest pause and `longest_s`; short ones are likelier."""
        shortest_s = min(self.service.settings.pause_s_min, longest_s)
        return math.exp(self.random.uniform(math.log(shortest_s), math.log(longest_s)))

    # Processes

    def _victims(self, role: str) -> list[int]:
        if self._relaunching:
            return []
        if role == "store":
            return self._stores()
        up = self.service.up
        found = [up.process_id] if role == "supervisor" else up.of_role(role)
        return sorted(p for p in found if p not in self._paused)

    def _stores(self) -> list[int]:
        own = self.service.own_store
        if own is None:
            return [p for p in self.service.up.of_role("store") if p not in self._paused]
        return [own.process_id] if own.process_id and own.process_id not in self._paused else []

    def _send(self, process_id: int, number: signal.Signals) -> bool:
        own = self.service.own_store
        if own is not None and process_id == own.process_id:
            return own.signal(number)
        return self.service.up.signal(process_id, number)

    async def _signal(self, kind: str, role: str, number: signal.Signals) -> bool:
        victims = self._victims(role)
        if not victims:
            return False
        process_id = self.random.choice(victims)
        at_s = time.monotonic()
        if not self._send(process_id, number):
            return False
        self.acts.append(Act(kind, at_s, 0.0, process_id))
        return True

    async def _pause(self, role: str) -> bool:
        victims = self._victims(role)
        settings = self.service.settings
        if not victims or len(self._paused) >= settings.paused_max:
            return False
        process_id = self.random.choice(victims)
        for_s = self._drawn_s(
            settings.store_pause_s_max if role == "store" else settings.pause_s_max
        )
        if not self._send(process_id, signal.SIGSTOP):
            return False
        self._paused.add(process_id)
        self._begin(self._thaw_after(process_id, for_s), f"thaw {process_id}")
        return self._note(f"pause-{role}", for_s, process_id)

    async def _clock_jump(self) -> bool:
        by_s = self._drawn_s(self.service.settings.clock_jump_s_max)
        by_s *= self.random.choice((-1, 0, 1))  # 0: it is set right again
        clock.jump(self.service.clocks, self.random.randrange(clock.SLOTS), by_s)
        return self._note("clock-jump", by_s)

    async def _thaw_after(self, process_id: int, for_s: float) -> None:
        try:
            await until(lambda: process_id not in self._paused, within_s=for_s)
        finally:
            self._thaw(process_id)

    def _thaw(self, process_id: int) -> None:
        # Whatever it does now: on a busy machine it may not have come to its stop yet.
        self._paused.discard(process_id)
        self._send(process_id, signal.SIGCONT)

    async def _kill_supervisor(self) -> bool:
        if self._relaunching:
            return False
        up = self.service.up
        up.family()
        at_s = time.monotonic()
        if not up.signal(up.process_id, signal.SIGKILL):
            return False
        self.acts.append(Act("kill-supervisor", at_s, 0.0, up.process_id))
        self._relaunching = True
        self._begin(self._relaunch(), "relaunch")
        return True

    async def _relaunch(self) -> None:
        try:
            await self.service.relaunch()
        finally:
            self._relaunching = False

    # The store

    async def _kill_store(self) -> bool:
        victims = self._stores()
        busy = self._relaunching or self._store_away
        if busy or not victims or not self._send(victims[0], signal.SIGKILL):
            return False
        own = self.service.own_store
        away_s = 0.0 if own is None else self.random.random() * LATE_START_S_MAX
        if own is not None:
            self._begin(self._start_store(away_s), "start store")
        return self._note("kill-store", away_s, victims[0])

    async def _start_store(self, after_s: float) -> None:
        own = self.service.own_store
        self._store_away = True
        try:
            await asyncio.sleep(after_s)
            if own is not None:
                await own.start()
        finally:
            self._store_away = False

    async def _say(self, kind: str, line: str, for_s: float = 0.0) -> bool:
        with contextlib.suppress(ValueError):
            answer = await command(self.service.store_socket, line)
            if answer.startswith((b"+", b":")):
                return self._note(kind, for_s)
        return False

    async def _client_pause(self) -> bool:
        for_s = self._drawn_s(self.service.settings.store_pause_s_max)
        mode = self.random.choice(["ALL", "WRITE"])
        return await self._say("client-pause", f"CLIENT PAUSE {for_s * 1000:.0f} {mode}", for_s)

    async def _client_kill(self) -> bool:
        kind = self.random.choice(["normal", "pubsub"])
        return await self._say("client-kill", f"CLIENT KILL TYPE {kind} SKIPME yes")

    # The proxy

    async def _for_a_while(self, for_s: float) -> None:
        await asyncio.sleep(for_s)
        if self.service.proxy is not None:
            self.service.proxy.flow()

    async def _lasting(self, kind: str, **change: float) -> bool:
        proxy = self.service.proxy
        if proxy is None:
            return False
        for_s = self._drawn_s(self.service.settings.fault_s_max)
        for name, value in change.items():
            setattr(proxy, name, value)
        self._begin(self._for_a_while(for_s), kind)
        return self._note(kind, for_s)

    async def _proxy_delay(self) -> bool:
        return await self._lasting("proxy-delay", delay_s=self._drawn_s(1.0))

    async def _proxy_black_hole(self) -> bool:
        return await self._lasting("proxy-black-hole", black_hole=True)

    async def _proxy_duplicate(self) -> bool:
        return await self._lasting("proxy-duplicate", duplicate_rate=0.3)

    async def _proxy_reset(self) -> bool:
        if self.service.proxy is None:
            return False
        self.service.proxy.reset()
        return self._note("proxy-reset")

    async def _proxy_half_close(self) -> bool:
        if self.service.proxy is None:
            return False
        self.service.proxy.half_close()
        return self._note("proxy-half-close")

    async def _proxy_late(self) -> bool:
        if self.service.proxy is None:
            return False
        for_s = self._drawn_s(self.service.settings.fault_s_max)
        self._begin(self.service.proxy.late(for_s), "proxy-late")
        return self._note("proxy-late", for_s)
