"""Settings of model calls; the workers' configuration inherits them.

Every bound of a model call is a field here, with its unit in its name.
"""

from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class ModelConfig(BaseModel):
    """Which model server answers, and how long and how much of it is waited for."""

    model_config = ConfigDict(frozen=True)

    model_base_url: str | None = Field(
        default=None,
        description="Address of an OpenAI-compatible server up to and including its version "
        "(such as http://127.0.0.1:11434/v1). Without it the scripted model answers.",
    )
    model_api_key: SecretStr | None = Field(
        default=None, description="Sent to the model server as a bearer token."
    )
    model: str | None = Field(
        default=None,
        description="Name of the model asked where a context names none. Without it none is "
        "sent, which only servers of a single model accept.",
    )
    model_include_usage: bool = Field(
        default=True,
        description="Ask for token counts (stream_options.include_usage). Turn it off for a "
        "server that answers 400 to it; replies then carry no usage.",
    )
    model_connect_s: float = Field(
        default=10.0,
        gt=0,
        description="Longest wait for a connection.",
    )
    model_first_byte_s: float = Field(
        default=120.0,
        gt=0,
        description="Longest wait from the call to the first byte of the reply's body.",
    )
    model_between_chunks_s: float = Field(
        default=60.0, gt=0, description="Longest silence inside a reply."
    )
    model_drain_s: float = Field(
        default=0.25,
        ge=0,
        description="How long the end of a finished reply's body is waited for, so that its "
        "connection can be used again.",
    )
    model_keepalive_s: float = Field(
        default=4.0,
        ge=0,
        description="How long an unused connection is kept. Longer than the server keeps it "
        "means calls that fail at once; the usual Python servers keep 5 s.",
    )
    model_connections_max: int = Field(
        default=5_000,
        ge=1,
        description="Calls of the model that one worker makes at once, each on a connection; "
        "those that wait are made in turn, owner by owner.",
    )
    model_event_bytes_max: int = Field(
        default=8_388_608, ge=1_024, description="Largest single event of a streamed reply."
    )
    model_reply_bytes_max: int = Field(
        default=8_388_608,
        ge=1_024,
        description="Largest reply: its text, or its tool calls' arguments.",
    )
    model_tool_calls_max: int = Field(
        default=128, ge=1, description="Most tool calls accepted in one reply."
    )
    model_error_bytes_max: int = Field(
        default=65_536, ge=0, description="How much of an error's body is read."
    )
    model_retry_after_ms_max: int = Field(
        default=3_600_000, ge=0, description="Longest wait that a server's Retry-After may ask."
    )
    model_request_cache_bytes_max: int = Field(
        default=67_108_864,
        ge=0,
        description="Memory for conversations kept in wire form, so that a call encodes only "
        "what is new.",
    )
    scripted_chunk_ms: int = Field(
        default=20, ge=0, description="Pause between two words of the scripted model."
    )

    @field_validator("model_base_url")
    @classmethod
    def _is_plain_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an http or https address, such as http://127.0.0.1/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            # The address stands in logs and in `contextd doctor`; a secret must not.
            raise ValueError("must not hold a password, query or fragment")
        return url.rstrip("/")

    @field_validator("model_api_key")
    @classmethod
    def _fits_into_a_header(cls, key: SecretStr | None) -> SecretStr | None:
        if key is None:
            return None
        line = key.get_secret_value().strip()  # files end with a line end
        if not line.isprintable():
            raise ValueError("must be one line of printable characters")
        return SecretStr(line)
