"""Draft frames of all the replies that stream in one worker, sent together.

A frame of one reply is followed by the next after `draft_ms`, or later when so many replies
stream that the frames would exceed `draft_frames_s_max`.
"""

import asyncio

from workers.activation import Activation
from workers.config import WorkerConfig


class Frames:
    """Which activations have text to send."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._waiting: dict[str, Activation] = {}
        self._any_waits = asyncio.Event()

    def send_soon(self, activation: Activation) -> None:
        """Have what has arrived of an activation's reply sent with the next frames."""
        self._waiting[activation.context_id] = activation
        self._any_waits.set()

    async def run(self) -> None:
        """Send what waits, again and again, until cancelled."""
        while True:
            await self._any_waits.wait()
            self._any_waits.clear()
            frames = await self._send()
            pause_s = max(
                self._config.draft_ms / 1_000, frames / self._config.draft_frames_s_max
            )
            await asyncio.sleep(pause_s)

    async def _send(self) -> int:
        """Send what waits, all of it in one write; keeps none of the activations."""
        waiting, self._waiting = self._waiting, {}
        sent = [
            (activation, answer)
            for activation in waiting.values()
            if (answer := activation.drafts.send(version=activation.state.version)) is not None
        ]
        for activation, answer in sent:
            await activation.drafts.confirm(answer)
        return len(sent)
