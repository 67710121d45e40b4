"""Settings of the gateway room."""

import ipaddress
import re
from pathlib import Path
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

ASYMMETRIC: Final = frozenset(
    {
        *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
        *("ES256", "ES384", "ES512", "EdDSA"),
    }
)
"""Signatures that whoever checks them cannot make."""
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_IMPLIED_PORTS: Final = (("http://", ":80"), ("https://", ":443"))
"""What browsers leave out of an origin."""
_HOST: Final = re.compile("[a-z0-9._-]+")


class GatewayConfig(BaseModel):
    """Limits of one gateway process. Every bound of the room is here."""

    model_config = ConfigDict(frozen=True)

    host: str = Field(default="127.0.0.1", description="Address that gateways listen on.")
    port: int = Field(
        default=8000,
        ge=0,
        le=65_535,
        description="Port that gateways listen on; several share it. 0 takes a free one.",
    )
    auth: Literal["keys", "off"] = Field(
        default="keys",
        description="Who may come in: `keys` asks everybody for an API key, `off` nobody, "
        "which is for loopback addresses alone.",
    )
    access_check_s: float = Field(
        default=5.0,
        ge=0,
        description="How long a gateway goes by what it has read of a key, in seconds: a key "
        "that is revoked opens nothing after that.",
    )
    stream_check_s: float = Field(
        default=60.0,
        gt=0,
        description="How often an open stream's credential is looked at again, in seconds.",
    )
    ticket_s: float = Field(
        default=30.0,
        gt=0,
        description="How long a ticket can be used, in seconds.",
    )
    jwt_issuer: str = Field(
        default="",
        description="Issuer (`iss`) whose JSON Web Tokens come in, beside API keys; the owner "
        "is `jwt:` and the subject, `scope` says what is allowed.",
    )
    jwt_audience: str = Field(
        default="", description="What such a token must name as its audience (`aud`)."
    )
    jwt_keys: str = Field(
        default="",
        description="The issuer's keys (JWKS): an https address (http on loopback), or a file.",
    )
    jwt_algorithms: str = Field(
        default="RS256,ES256,EdDSA",
        description="Signatures that are accepted, separated by commas; none with a shared "
        "secret.",
    )
    cors_origins: str = Field(
        default="",
        description="Origins of the pages, besides the gateway's own, that may ask from a "
        "browser, separated by commas, as in `https://chat.example`; `*` takes all pages, and "
        "goes with keys alone.",
    )
    public_hosts: str = Field(
        default="",
        description="Names that clients know the gateways by, where a proxy stands in front, "
        "separated by commas; requests for others are refused (421). Empty: with keys every "
        "name will do, where `auth` is off `localhost` alone. Addresses always do.",
    )
    trusted_proxies: str = Field(
        default="",
        description="Addresses or networks of the proxies whose `X-Forwarded-For` is believed, "
        "separated by commas.",
    )
    tls_cert: Path | None = Field(
        default=None,
        description="Certificate chain (PEM) to speak https with; `tls_key` belongs to it.",
    )
    tls_key: Path | None = Field(
        default=None, description="Private key (PEM, not encrypted) of `tls_cert`."
    )
    connections_max: int = Field(
        default=25_000,
        ge=1,
        description="Connections that one gateway serves at once (503 above); fewer, where the "
        "system lets the process open fewer files.",
    )
    actions_per_owner_minute_max: int = Field(
        default=0,
        ge=0,
        description="What one owner may ask in a minute that is no read; 0: no limit (429 "
        "above).",
    )
    polls_per_owner_minute_max: int = Field(
        default=0,
        ge=0,
        description="Reads of one owner in a minute; one that is answered 304 counts a "
        "tenth; 0: no limit (429 above).",
    )
    streams_per_owner_minute_max: int = Field(
        default=0,
        ge=0,
        description="Streams that one owner opens in a minute; 0: no limit (429 above).",
    )
    admin_per_owner_minute_max: int = Field(
        default=0,
        ge=0,
        description="Admin requests of one owner in a minute; 0: no limit (429 above).",
    )
    actions_per_address_minute_max: int = Field(
        default=0,
        ge=0,
        description="The same of one client address, whoever the owner: the network may "
        "tell no more (a proxy, a NAT). Of IPv6 it is the /64.",
    )
    polls_per_address_minute_max: int = Field(
        default=0,
        ge=0,
        description="Reads of one client address in a minute; 0: no limit (429 above).",
    )
    streams_per_address_minute_max: int = Field(
        default=0,
        ge=0,
        description="Streams that one address opens in a minute; 0: no limit (429 above).",
    )
    admin_per_address_minute_max: int = Field(
        default=0,
        ge=0,
        description="Admin requests of one address in a minute; 0: no limit (429 above).",
    )
    rate_burst_s: int = Field(
        default=10,
        ge=1,
        description="What may come at once after a pause: so many seconds' worth of a rate.",
    )
    streams_per_owner_max: int = Field(
        default=0,
        ge=0,
        description="Streams that one owner has open at once on one gateway, and requests "
        "that wait there for a reply at the OpenAI doors; 0: no limit (429 above).",
    )
    connections_per_address_max: int = Field(
        default=0,
        ge=0,
        description="Connections that one client address has open at once on one gateway; "
        "0: no limit (503 above). A proxy or a NAT is one address.",
    )
    head_s_max: float = Field(
        default=10.0,
        gt=0,
        description="How long a request's head may take to arrive, in seconds (408 after).",
    )
    head_bytes_max: int = Field(
        default=32_768,
        ge=1_024,
        description="How much of a request's head is waited for (431 above).",
    )
    body_s_max: float = Field(
        default=10.0,
        gt=0,
        description="How long a request's body may take to arrive, in seconds (408 after).",
    )
    idle_s_max: float = Field(
        default=75.0,
        gt=0,
        description="How long a connection is kept without a request, in seconds.",
    )
    answer_stalled_s_max: float = Field(
        default=10.0,
        gt=0,
        description="How long a client may take next to nothing of an answer before it is "
        "disconnected, in seconds; streams have `viewer_stalled_s_max`.",
    )
    body_bytes_max: int = Field(
        default=65_536, ge=1_024, description="Largest request body (413 above)."
    )
    legacy_crud: Literal["on", "warn", "off"] = Field(
        default="warn",
        description="The old endpoints that write contexts (PUT, POST messages, PATCH): `warn` "
        "logs the first use of each, `off` answers 410.",
    )
    import_bytes_max: int = Field(
        default=16_777_216, ge=1_024, description="Largest export that is imported (413 above)."
    )
    import_events_max: int = Field(
        default=100_000,
        ge=1,
        description="Events of an export that is imported (422 above). The store takes them in "
        "pieces. Whoever reads the new context first gets all its messages in one step: about "
        "2 us each, in which the store serves nobody else.",
    )
    openai_body_bytes_max: int = Field(
        default=4_194_304,
        ge=1_024,
        description="Largest body of a request to the OpenAI-compatible addresses, which may "
        "bring a whole conversation (413 above).",
    )
    openai_wait_s_max: float = Field(
        default=600.0,
        gt=0,
        description="How long a request to the OpenAI-compatible addresses waits for its "
        "reply, in seconds (504 after; the turn of a context goes on).",
    )
    openai_models: str = Field(
        default="",
        description="Models that `GET /v1/models` lists and requests there may name, separated "
        "by commas. Without it the configured model, or `scripted` where no model server is; "
        "without any, every name is taken.",
    )
    json_depth_max: int = Field(
        default=64, ge=4, le=128, description="Deepest nesting of a JSON body (400 above)."
    )
    applied_s_max: float = Field(
        default=2.0,
        gt=0,
        description="How long an action waits to be applied when the client does not say, in "
        "seconds (202 after).",
    )
    stale_after_s: float = Field(
        default=2.0,
        gt=0,
        description="How long a read waits for the store before it is answered with what this "
        "gateway has seen last, marked stale, in seconds.",
    )
    wait_s_max: int = Field(
        default=60, ge=1, description="Longest `Prefer: wait` that is honoured, in seconds."
    )
    linger_feed_s: float = Field(
        default=10.0,
        ge=0,
        description="How long a gateway goes on listening to a context that nobody watches, in "
        "seconds.",
    )
    feed_check_s: float = Field(
        default=5.0,
        gt=0,
        description="How often a gateway asks whether it has missed news of a context that "
        "somebody watches, in seconds.",
    )
    mirrors_max: int = Field(
        default=4_096, ge=1, description="Contexts that one gateway keeps in memory."
    )
    viewers_max: int = Field(
        default=20_000, ge=1, description="Streams that one gateway serves at once (503 above)."
    )
    stream_contexts_max: int = Field(
        default=32, ge=1, description="Contexts that one stream shows at most."
    )
    sse_heartbeat_s: float = Field(
        default=15.0, gt=0, description="How often a silent stream gets a comment, in seconds."
    )
    viewer_bytes_max: int = Field(
        default=262_144,
        ge=4_096,
        description="Unsent bytes after which a slow viewer is disconnected; it resumes.",
    )
    viewer_stalled_s_max: float = Field(
        default=10.0,
        gt=0,
        description="How long a viewer may take nothing at all before it is disconnected, in "
        "seconds.",
    )
    sse_retry_ms: int = Field(
        default=1_000,
        ge=0,
        description="What a stream tells its client to wait before it reconnects; up to twice "
        "that, at random.",
    )
    restart_confirm: bool = Field(
        default=False,
        description="Refuse a restart without `force` while turns are running.",
    )
    farewell_s: float = Field(
        default=0.5,
        ge=0,
        description="How long a stopping gateway goes on answering on connections that are "
        "open, each answer ending its connection, in seconds.",
    )
    list_max: int = Field(default=200, ge=1, description="Contexts on one page of a list.")
    chat_s_max: float = Field(
        default=120.0,
        gt=0,
        description="How long a question to `/api/chat` waits for its answer, in seconds (504 "
        "after).",
    )
    title_s_max: float = Field(
        default=10.0,
        gt=0,
        description="How long `/api/chat/title` waits for the model, in seconds; after that "
        "the title is how the conversation begins.",
    )
    gateway_drain_s: float = Field(
        default=5.0,
        ge=0,
        description="How long a stopping gateway waits for requests under way, in seconds.",
    )

    @model_validator(mode="after")
    def _check_auth(self) -> Self:
        if self.auth == "off" and not is_loopback(self.host):
            raise ValueError(
                f"auth: off is for loopback addresses, and {self.host} is none; leave it on, "
                "and make keys with `contextd keys create`"
            )
        return self

    @model_validator(mode="after")
    def _check_origins(self) -> Self:
        for origin in named(self.cors_origins):
            if origin == "*" and self.auth == "off":
                raise ValueError(
                    "cors_origins: with auth off every page could do everything here; name "
                    "the origins of yours"
                )
            implied = any(
                origin.startswith(scheme) and origin.endswith(port)
                for scheme, port in _IMPLIED_PORTS
            )
            if origin != "*" and (implied or _ORIGIN.fullmatch(origin) is None):
                raise ValueError(
                    f"cors_origins: {origin!r} is no origin as browsers send it; write it "
                    "like https://chat.example or http://localhost:3000"
                )
        return self

    @model_validator(mode="after")
    def _check_hosts(self) -> Self:
        for host in named(self.public_hosts):
            if _HOST.fullmatch(host) is None:
                raise ValueError(
                    f"public_hosts: {host!r} is no name of a host; write it like chat.example, "
                    "without a port"
                )
        for proxy in named(self.trusted_proxies):
            try:
                ipaddress.ip_network(proxy)
            except ValueError as error:
                raise ValueError(f"trusted_proxies: {error}") from None
        return self

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: set both, or neither")
        return self

    @model_validator(mode="after")
    def _check_tokens(self) -> Self:
        if not self.jwt_issuer:
            return self
        if not self.jwt_audience or not self.jwt_keys:
            raise ValueError("jwt_issuer: jwt_audience and jwt_keys belong to it")
        address = urlsplit(self.jwt_keys)
        if address.scheme == "http" and not is_loopback(address.hostname or ""):
            raise ValueError("jwt_keys: keys that come by http could be anybody's; use https")
        asked = {name.strip() for name in self.jwt_algorithms.split(",")}
        if unknown := sorted(asked - ASYMMETRIC):
            known = ", ".join(sorted(ASYMMETRIC))
            raise ValueError(f"jwt_algorithms: {unknown[0]!r} is none of {known}")
        return self


def named(listed: str) -> tuple[str, ...]:
    """The names in a list whose parts are separated by commas."""
    return tuple(name.strip() for name in listed.split(",") if name.strip())


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; a name is none, but for `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
