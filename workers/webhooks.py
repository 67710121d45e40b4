"""Tells the operator's webhook what has happened: signed, in order for each context.

At least once: what was answered 2xx is taken out of the store afterwards, so a crash in
between tells it again, with the same `webhook-id` and body. Headers are those of Standard
Webhooks 1.0, bodies CloudEvents 1.0 (structured JSON). The address is the operator's own and
may be private (`outward.py`); redirects are not followed. Neither it nor the secret is logged.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Final

import aiohttp
import orjson
import structlog
from pydantic import SecretStr

from storage import Notice, Store, rfc3339
from workers.activation import Clock
from workers.config import WorkerConfig
from workers.outward import CheckedResolver, refusal_in

log = structlog.get_logger(__name__)

NOTICES_MAX: Final = 100
"""Notices that one job tells; what is left is claimed again."""
AGAIN_MS: Final = 5_000
"""After how long a context that still has notices is claimed again. A context has one job only,
so a claim while that works doubles nothing."""
ANSWER_BYTES_MAX: Final = 65_536
"""How much of an answer is read, so that its connection can be used again."""


class Teller:
    """Sends notices. Make it inside a running loop."""

    def __init__(
        self,
        store: Store,
        config: WorkerConfig,
        *,
        url: SecretStr,
        secret: SecretStr,
        clock: Clock,
        draw: Callable[[], float],
    ) -> None:
        self._store = store
        self._config = config
        self._url = url
        self._key = base64.b64decode(secret.get_secret_value().removeprefix("whsec_"))
        self._clock = clock
        self._draw = draw
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=config.chores_max, resolver=CheckedResolver()),
            headers={
                "Content-Type": "application/cloudevents+json",
                "User-Agent": "contextd",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=config.webhook_call_s_max),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def claim(self, limit: int) -> None:
        """Enqueue a job for each context that has notices; any worker may take it.

        Raises:
            StoreUnavailable, StoreRefusedWrite: They come again.
        """
        now_ms = self._clock()
        again_ms = now_ms + AGAIN_MS
        claimed = await self._store.webhooks.claim(
            now_ms=now_ms,
            again_ms=again_ms,
            latest_ms=again_ms + round(self._config.webhook_pause_s_max * 1_000),
            limit=limit,
        )
        for context_id in claimed:
            await self._store.queue.enqueue_chore("webhooks", context_id)

    async def tell(self, context_id: str) -> None:
        """Send a context's notices in order, until all are sent or one is not accepted.

        Raises:
            StoreUnavailable, StoreRefusedWrite: What was told last may be told again.
        """
        webhooks = self._store.webhooks
        for _ in range(NOTICES_MAX):
            first = await webhooks.first(context_id)
            if first is None:
                return
            notice, failed = first
            again_ms = self._clock() + AGAIN_MS
            cause = await self._send(context_id, notice)
            if cause is None:
                left = await webhooks.told(context_id, notice, again_ms=again_ms)
            elif failed + 1 < self._config.webhook_tries_max:
                pause_ms = self._pause_ms(failed)
                log.info(
                    "webhook not taken",
                    context_id=context_id,
                    version=notice.version,
                    tries=failed + 1,
                    reason=cause,
                    pause_ms=pause_ms,
                )
                at_ms = self._clock() + pause_ms
                await webhooks.failed(context_id, notice, tries=failed + 1, again_ms=at_ms)
                return
            else:
                log.error(
                    "webhook given up",
                    context_id=context_id,
                    version=notice.version,
                    tries=failed + 1,
                    reason=cause,
                )
                left = await webhooks.give_up(
                    context_id,
                    notice,
                    cause=f"The webhook has not taken it {failed + 1} times. Last: {cause}",
                    now_ms=self._clock(),
                    again_ms=again_ms,
                )
            if left <= 0:
                return

    def _pause_ms(self, failed: int) -> int:
        """Back-off with full jitter above its half."""
        pause_s = self._config.webhook_pause_s * 2.0 ** min(failed, 30)
        pause_s = min(pause_s, self._config.webhook_pause_s_max)
        return round(pause_s * (0.5 + self._draw() / 2) * 1_000)

    async def _send(self, context_id: str, notice: Notice) -> str | None:
        """Send a notice once; returns why it was not accepted, or None."""
        webhook_id = f"{context_id}.{notice.version}"
        at_s = self._clock() // 1_000
        body = cloud_event(context_id, notice)
        headers = {
            "webhook-id": webhook_id,
            "webhook-timestamp": str(at_s),
            "webhook-signature": signature(self._key, webhook_id, at_s, body),
        }
        try:
            async with self._session.post(
                self._url.get_secret_value(), data=body, headers=headers, allow_redirects=False
            ) as response:
                await response.content.read(ANSWER_BYTES_MAX)
        except TimeoutError:
            return f"no answer within {self._config.webhook_call_s_max:g} s"
        except (aiohttp.ClientError, OSError) as error:
            # Their texts may hold the address.
            return type(refusal_in(error) or error).__name__
        return None if 200 <= response.status < 300 else f"status {response.status}"


def open_teller(
    store: Store, config: WorkerConfig, *, clock: Clock, draw: Callable[[], float]
) -> Teller | None:
    """The sender of notices; None where no webhook is configured."""
    url, secret = store.config.webhook_url, store.config.webhook_secret
    if url is None or secret is None:
        return None
    return Teller(store, config, url=url, secret=secret, clock=clock, draw=draw)


def signature(key: bytes, webhook_id: str, at_s: int, body: bytes) -> str:
    """The value of `webhook-signature` (Standard Webhooks 1.0, symmetric)."""
    signed = b"%s.%d.%s" % (webhook_id.encode(), at_s, body)
    mac = hmac.digest(key, signed, hashlib.sha256)
    return f"v1,{base64.b64encode(mac).decode()}"


def cloud_event(context_id: str, notice: Notice) -> bytes:
    """A notice as CloudEvents 1.0, the same bytes each time."""
    kind = notice.occasions[0]
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"{context_id}.{notice.version}",
            "source": f"/api/contexts/{context_id}",
            "type": f"contextd.{kind}",
            "time": rfc3339(notice.at_ms),
            "datacontenttype": "application/json",
            "data": {
                "context_id": context_id,
                "owner": notice.owner,
                "version": notice.version,
                "status": notice.status,
                "occasions": notice.occasions,
                "event": notice.event,
            },
        }
    )
