"""Settings of the gateway room."""

from pydantic import BaseModel, ConfigDict, Field


class GatewayConfig(BaseModel):
    """Limits of one gateway process. Every bound of the room is here."""

    model_config = ConfigDict(frozen=True)

    body_bytes_max: int = Field(
        default=65_536, ge=1_024, description="Largest request body (413 above)."
    )
