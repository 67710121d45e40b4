"""How much one owner, and one client's address, may ask: rates, and streams at once.

Actions, opened streams and admin requests of an owner are taken out of a bucket in the store
before they are begun: all gateways together let no more through than there is. What must not
wait for the store is counted here and settled with it each `SETTLE_S`: polls, and everything
that counts by address, which is looked at before anybody knows whose request it is. There G
gateways may let G bursts through at once; over a longer time they keep to the rate together.

While the store does not answer, each gateway keeps to the rates by itself.
"""

import asyncio
import contextlib
import math
from collections import Counter, OrderedDict
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from aiohttp import web

from gateway.clients import client_address, network_of
from gateway.config import GatewayConfig
from gateway.guard import PRINCIPAL
from gateway.problems import Problem
from storage import Buckets, Rate, Store, StoreRefusedWrite, StoreUnavailable, Taking

Traffic: TypeAlias = Literal["actions", "polls", "streams", "admin"]
"""What has a rate of its own. Polls are all reads; of streams it is their opening."""

SETTLE_S: Final = 1.0
SETTLED_AT_ONCE_MAX: Final = 200
"""Buckets that one call settles, so that it does not hold up the store."""
TALLIES_MAX: Final = 50_000
"""Owners and addresses that a gateway counts for; the oldest counts make room."""
UNCHANGED_TOKENS: Final = 0.1
"""What a poll costs that is answered 304, where another costs 1."""


@dataclass(slots=True)
class Tally:
    """What a gateway knows of a bucket."""

    taking: Taking
    """Which, and how fast it fills."""
    full_at_s: float
    """Loop time at which it is full."""
    owed: float = 0.0
    """Tokens taken here that the store does not know of."""


@dataclass(frozen=True, slots=True)
class Level:
    """A bucket as a request has left it."""

    policy: str
    tally: Tally

    @property
    def rate(self) -> Rate:
        """How fast it fills."""
        return self.tally.taking.rate


LEVELS: Final = web.RequestKey("levels", list[Level])


class Limits:
    """The rates of one gateway's clients, and the streams that they have open."""

    def __init__(self, config: GatewayConfig, store: Store) -> None:
        self._streams_max = config.streams_per_owner_max
        self._buckets = Buckets(store.link, store.scripts)
        self._of_owners = _rates_of_owners(config)
        self._of_addresses = _rates_of_addresses(config)
        self._tallies: OrderedDict[str, Tally] = OrderedDict()
        """Tallies by the name of their bucket."""
        self._streams: Counter[str] = Counter()
        """How many streams are open, by owner."""
        self.have_rates = bool(self._of_owners or self._of_addresses)
        """Whether anything but streams at once is limited."""

    def take_for_address(self, request: web.Request, traffic: Traffic) -> Sequence[Level]:
        """Count a request against the rate of the address that it comes from.

        Raises:
            Problem: rate-limited.
        """
        rate, address = self._of_addresses.get(traffic), client_address(request)
        if rate is None or not address:
            return ()
        return [self._count(f"address-{traffic}", network_of(address), rate)]

    async def take_for_owner(self, request: web.Request, traffic: Traffic) -> Sequence[Level]:
        """Take a request out of its owner's bucket.

        Raises:
            Problem: rate-limited.
            StoreUnavailable: The bucket cannot be asked; nor could the request be served.
        """
        rate = self._of_owners.get(traffic)
        if rate is None:
            return ()
        policy, owner = f"owner-{traffic}", request[PRINCIPAL].owner
        if traffic == "polls":
            return [self._count(policy, owner, rate)]
        taking = Taking(f"{policy}:{owner}", rate)
        try:
            taken, full_s = await self._buckets.take(taking)
        except StoreRefusedWrite:
            return ()  # what changes nothing in a full store is served all the same
        if not taken:
            raise _limited(policy, rate, full_s)
        return [Level(policy, Tally(taking, _now_s() + full_s))]

    async def levels_of(self, owner: str) -> Mapping[Traffic, tuple[Rate, int]]:
        """The rates that an owner has, and how many requests are left of each.

        Raises:
            StoreUnavailable, StoreRefusedWrite: The store does not tell.
        """
        if not self._of_owners:
            return {}
        takings = [
            Taking(f"owner-{traffic}:{owner}", rate, 0)
            for traffic, rate in self._of_owners.items()
        ]
        fulls_s = await self._buckets.settle(takings)
        return {
            traffic: (rate, rate.left(full_s))
            for (traffic, rate), full_s in zip(self._of_owners.items(), fulls_s, strict=True)
        }

    def streams_of(self, owner: str) -> int:
        """How many streams an owner has open here."""
        return self._streams[owner]

    def give_back(self, levels: Sequence[Level]) -> None:
        """Refund most of the cost of a poll that was answered 304."""
        back = 1 - UNCHANGED_TOKENS
        for level in levels:
            level.tally.full_at_s -= back * level.rate.token_s
            level.tally.owed -= back

    def _count(self, policy: str, whose: str, rate: Rate) -> Level:
        """Take a token as far as this gateway knows; the store is told of it later."""
        bucket, now_s = f"{policy}:{whose}", _now_s()
        tally = self._tallies.get(bucket)
        if tally is None:
            tally = self._tallies[bucket] = Tally(Taking(bucket, rate), now_s)
            if len(self._tallies) > TALLIES_MAX:
                self._tallies.popitem(last=False)
        full_s = max(0.0, tally.full_at_s - now_s)
        if rate.left(full_s) < 1:
            raise _limited(policy, rate, full_s)
        tally.full_at_s = now_s + full_s + rate.token_s
        tally.owed += 1
        return Level(policy, tally)

    async def settle(self) -> None:
        """Tell the store now and then what was counted, and learn what others have; forever."""
        while self.have_rates:
            await asyncio.sleep(SETTLE_S)
            now_s = _now_s()
            for bucket, tally in list(self._tallies.items()):
                if not tally.owed and tally.full_at_s <= now_s:
                    del self._tallies[bucket]
            owing = [tally for tally in self._tallies.values() if tally.owed]
            for start in range(0, len(owing), SETTLED_AT_ONCE_MAX):
                # What may have been told is not told again.
                with contextlib.suppress(StoreUnavailable, StoreRefusedWrite):
                    await self._settle(owing[start : start + SETTLED_AT_ONCE_MAX])

    async def _settle(self, owing: Sequence[Tally]) -> None:
        takings: list[Taking] = []
        for tally in owing:
            takings.append(Taking(tally.taking.bucket, tally.taking.rate, tally.owed))
            tally.owed = 0.0
        fulls_s = await self._buckets.settle(takings)
        now_s = _now_s()
        for tally, full_s in zip(owing, fulls_s, strict=True):
            # What came while the store was asked it does not know yet.
            tally.full_at_s = now_s + full_s + tally.owed * tally.taking.rate.token_s

    @contextlib.contextmanager
    def stream(self, owner: str) -> Generator[None, None, None]:
        """Count a stream of an owner for the length of a block.

        Raises:
            Problem: too-many-streams.
        """
        if self._streams_max and self._streams[owner] >= self._streams_max:
            raise Problem(
                "too-many-streams",
                f"You have {self._streams_max} streams open on this gateway; close one first.",
                {"retry_after_s": 1},
            )
        self._streams[owner] += 1
        try:
            yield
        finally:
            self._streams[owner] -= 1
            if not self._streams[owner]:
                del self._streams[owner]


async def show_levels(request: web.Request, response: web.StreamResponse) -> None:
    """Tell what is left of the rates (draft-ietf-httpapi-ratelimit-headers-10)."""
    levels, now_s = request.get(LEVELS), _now_s()
    if levels and "RateLimit" not in response.headers:  # a refusal has told why already
        left = [(one.policy, one.rate, max(0.0, one.tally.full_at_s - now_s)) for one in levels]
        response.headers.update(_told(left))


def _told(left: Sequence[tuple[str, Rate, float]]) -> Mapping[str, str]:
    """Headers that name policies, and say how long until the bucket of each is full."""
    return {
        "RateLimit-Policy": ", ".join(
            f'"{policy}";q={rate.burst};w={math.ceil(rate.window_s)}'
            for policy, rate, _ in left
        ),
        "RateLimit": ", ".join(
            f'"{policy}";r={rate.left(full_s)};t={math.ceil(full_s)}'
            for policy, rate, full_s in left
        ),
    }


def _limited(policy: str, rate: Rate, full_s: float) -> Problem:
    wait_s = max(1, math.ceil(rate.wait_s(full_s)))
    whose, _, what = policy.partition("-")
    return Problem(
        "rate-limited",
        f"There are {rate.per_minute} {what} a minute for each {whose}, and {rate.burst} at "
        f"once. Come again in {wait_s} s.",
        {"retry_after_s": wait_s},
        _told([(policy, rate, full_s)]),
    )


def _rates_of_owners(config: GatewayConfig) -> Mapping[Traffic, Rate]:
    per_minute: Mapping[Traffic, int] = {
        "actions": config.actions_per_owner_minute_max,
        "polls": config.polls_per_owner_minute_max,
        "streams": config.streams_per_owner_minute_max,
        "admin": config.admin_per_owner_minute_max,
    }
    return _rates(per_minute, config.rate_burst_s)


def _rates_of_addresses(config: GatewayConfig) -> Mapping[Traffic, Rate]:
    per_minute: Mapping[Traffic, int] = {
        "actions": config.actions_per_address_minute_max,
        "polls": config.polls_per_address_minute_max,
        "streams": config.streams_per_address_minute_max,
        "admin": config.admin_per_address_minute_max,
    }
    return _rates(per_minute, config.rate_burst_s)


def _rates(per_minute: Mapping[Traffic, int], burst_s: int) -> Mapping[Traffic, Rate]:
    """The rates that are limited: 0 a minute stands for any number."""
    return {
        traffic: Rate(count, math.ceil(count * burst_s / 60))
        for traffic, count in per_minute.items()
        if count
    }


def _now_s() -> float:
    return asyncio.get_running_loop().time()
