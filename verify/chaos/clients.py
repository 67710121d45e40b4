"""Clients that talk to a handful of contexts: they send, read, cancel and approve.

Invariant: a call is approved under one key only, and what may have run is denied: a tool
that ran twice was never approved twice.
"""

import asyncio
import random
import time
from dataclasses import dataclass, field

from verify.chaos import witness
from verify.chaos.api import Api
from verify.chaos.settings import ChaosSettings
from verify.records import Json, Operation

KINDS = {"send": 40, "read": 50, "cancel": 4}
IF_UNCHANGED_RATE = 0.15
"""Share of the messages that are meant for the version that was just read, and no other."""
SENDS = {"plain": 40, "chunks": 45, "tool": 15}
RESTS = frozenset({"idle", "failed", "paused"})
SETTLE_POLL_S = 0.05


@dataclass(slots=True)
class Approvals:
    """The tool calls that the clients of a round have approved."""

    consented: set[str] = field(default_factory=set[str])
    """Texts whose stamping was approved, whether or not the answer came."""


class Client:
    """One of the clients of a round."""

    def __init__(
        self,
        number: int,
        api: Api,
        contexts: list[str],
        approvals: Approvals,
        *,
        draw: random.Random,
        settings: ChaosSettings,
    ) -> None:
        self._number = number
        self._api = api
        self._contexts = contexts
        self._approvals = approvals
        self._draw = draw
        self._settings = settings
        self._serial = 0
        self._sent: dict[str, int] = dict.fromkeys(contexts, 0)
        own = contexts[number :: settings.clients]
        self.own = own
        """Contexts whose tool calls this client decides about."""

    async def run(self, until_s: float) -> None:
        """Act until that moment; an operation begun before is brought to its end."""
        settings = self._settings
        while time.monotonic() < until_s:
            context_id = self._draw.choice(self._contexts)
            kind = self._draw.choices(list(KINDS), list(KINDS.values()))[0]
            limit = settings.messages_max / settings.clients
            if kind == "send" and self._sent[context_id] < limit:
                self._sent[context_id] += 1
                await self._send(context_id)
            elif kind == "cancel":
                await self._api.act(context_id, "cancel", {}, key=self._key())
            else:
                state = await self._api.read(context_id)
                if state is not None and context_id in self.own:
                    await self._decide(state)
            await asyncio.sleep(self._draw.random() * settings.think_ms_max / 1_000)

    async def bring_to_rest(self, context_id: str, *, within_s: float) -> Json:
        """Decide whatever waits for a person until the context is idle; None if it is not."""
        if not await self._api.flush(context_id, f"flush.{context_id}", within_s=within_s):
            return None
        try:
            async with asyncio.timeout(within_s):
                while True:
                    state = await self._api.read(context_id)
                    if state is not None:
                        if state["status"] == "idle" and not state["queue"]:
                            return state
                        await self._decide(state)
                    await asyncio.sleep(SETTLE_POLL_S)
        except TimeoutError:
            return None

    async def _send(self, context_id: str) -> Operation:
        text = f"{self._api.client}-{self._serial}"
        match self._draw.choices(list(SENDS), list(SENDS.values()))[0]:
            case "chunks":
                count, each_ms = self._draw.randint(5, 30), self._draw.randint(1, 15)
                text = f"{text}\n/chunks {count} {each_ms}"
            case "tool":
                text = witness.asking_for(text)
            case _:
                pass
        if_unchanged = self._draw.random() < IF_UNCHANGED_RATE
        if if_unchanged:
            await self._api.read(context_id)
        operation, _ = await self._api.act(
            context_id,
            "send_message",
            {"content": text},
            key=self._key(),
            content=text,
            if_unchanged=if_unchanged,
        )
        return operation

    async def _decide(self, state: Json) -> None:
        """Approve what waits; deny what may have run already; go on after a failure."""
        context_id: str = state["id"]
        if state["status"] == "failed":
            await self._api.act(context_id, "reset", {}, key=self._key())
            return
        if state["status"] != "awaiting_tool_approval":
            return
        for call in state["pending_tool_calls"]:
            match call["approval_status"]:
                case "pending":
                    await self._approve(context_id, call)
                case "outcome_unknown":
                    deny = [{"id": call["id"], "reason": "It may have run."}]
                    await self._api.act(
                        context_id, "approve_tools", {"deny": deny}, key=self._key()
                    )
                case _:
                    pass

    async def _approve(self, context_id: str, call: Json) -> None:
        self._approvals.consented.add(witness.text_of(call["arguments"]))
        body = {"tool_call_ids": [call["id"]]}
        key = f"approve.{call['id']}"
        await self._api.act(context_id, "approve_tools", body, key=key)

    def _key(self) -> str:
        self._serial += 1
        return f"{self._api.client}.{self._serial}"
