"""How a run of chaos is made: every number that shapes it, with its unit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

Form = Literal["embedded", "proxied"]
"""`embedded`: `contextd up`, as a user starts it. `proxied`: `contextd supervise`, on a store
of our own behind a proxy of our own."""

ACT_KINDS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "kill-worker": 30.0,
        "kill-gateway": 4.0,
        "kill-store": 7.0,
        "kill-supervisor": 3.0,
        "pause-worker": 9.0,
        "pause-gateway": 4.0,
        "pause-supervisor": 2.0,
        "pause-store": 3.0,
        "client-pause": 3.0,
        "script-flush": 6.0,
        "client-kill": 8.0,
        "drain-worker": 4.0,
        "drain-gateway": 1.5,
        "clock-jump": 4.0,
        "proxy-delay": 6.0,
        "proxy-black-hole": 3.0,
        "proxy-reset": 8.0,
        "proxy-half-close": 6.0,
        "proxy-duplicate": 12.0,
        "proxy-late": 8.0,
    }
)
"""What the nemesis may do, and how often relative to the others."""


@dataclass(frozen=True, slots=True)
class ChaosSettings:
    """One run."""

    seed: int = 1
    form: Form = "embedded"
    gateways: int = 2
    workers: int = 3
    clients: int = 8
    streams: int = 16
    contexts: int = 8
    """Of one round; each round has fresh ones."""
    round_s: float = 20.0
    """How long faults and clients go on before everything comes to rest and is checked."""
    act_every_ms: int = 300
    starts_s: float = 0.8
    """Process starts that the nemesis may cause in a second: one costs about 0.7 s of CPU, and
    a service that does nothing but start shows nothing."""
    starts_max: float = 4.0
    """Starts that may be saved up. A killed supervisor costs one for each of its processes, and
    more than there may be; then nothing is killed until that is paid."""
    paused_max: int = 2
    """Processes frozen at once."""
    pause_s_min: float = 0.1
    pause_s_max: float = 12.0
    store_pause_s_max: float = 5.0
    clock_jump_s_max: float = 86_400.0
    """Forwards or backwards."""
    fault_s_max: float = 2.0
    """Of one fault of the proxy."""
    request_s_max: float = 4.0
    """A client gives up one try after that; the outcome of the try is unknown."""
    operation_s_max: float = 40.0
    """And the whole operation after that."""
    ready_s_max: float = 60.0
    rest_s_max: float = 45.0
    """How long everything may take to come to rest once the faults are over."""
    think_ms_max: int = 20
    """Longest pause of a client between two operations."""
    messages_max: int = 120
    """Messages sent to one context in a round; after that it is only read."""
    acts: Mapping[str, float] = field(default_factory=lambda: ACT_KINDS)
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Further CONTEXTD_ variables of the service."""


SERVICE_ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType(
    {
        # What dies often must start often: the usual waits are meant for a crash loop.
        "CONTEXTD_RESTART_BACKOFF_S_BASE": "0.05",
        "CONTEXTD_RESTART_BACKOFF_S_MAX": "0.5",
        "CONTEXTD_RESTART_RESET_S": "3",
        # A viewer sees within three of these that its gateway is frozen.
        "CONTEXTD_SSE_HEARTBEAT_S": "1",
        "CONTEXTD_SSE_RETRY_MS": "50",
        "CONTEXTD_SCRIPTED_CHUNK_MS": "2",
        "CONTEXTD_DRAIN_S": "3",
        "CONTEXTD_GATEWAY_DRAIN_S": "2",
        "CONTEXTD_LOG_LEVEL": "warning",
    }
)
