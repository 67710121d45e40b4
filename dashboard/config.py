"""Settings of the dashboard room."""

from pydantic import BaseModel, ConfigDict, Field


class DashboardConfig(BaseModel):
    """What dashboards get. Every bound of the room is here."""

    model_config = ConfigDict(frozen=True)

    stats_every_s: float = Field(
        default=5.0, gt=0, description="How often dashboards get statistics, in seconds."
    )
    stats_fresh_s: float = Field(
        default=1.0,
        ge=0,
        description="How long one look at the statistics serves all who ask, in seconds.",
    )
    dashboards_per_address_max: int = Field(
        default=10,
        ge=1,
        description="Dashboards of one address at once (503 above, unless one is evicted).",
    )
    dashboards_evict_idle: bool = Field(
        default=False,
        description="Close the dashboard of that address that has been silent for longest, "
        "instead of refusing one more.",
    )
    dashboards_max: int = Field(
        default=2_000, ge=1, description="Dashboards of one gateway at once (503 above)."
    )
    dashboard_recent_max: int = Field(
        default=2_000,
        ge=1,
        description="Announcements that a gateway holds in memory for its dashboards; those "
        "that are further behind read the store.",
    )
    dashboard_frames_s_max: int = Field(
        default=20_000,
        ge=1,
        description="Announcements that one gateway sends to all its dashboards in a second; "
        "more are counted and not sent, but for critical ones.",
    )
    dashboard_heartbeat_s: float = Field(
        default=20.0, gt=0, description="How often a dashboard is pinged, in seconds."
    )
    dashboard_stalled_s_max: float = Field(
        default=30.0,
        gt=0,
        description="A dashboard that takes nothing for so long is ended (1013), in seconds.",
    )
    dashboard_message_bytes_max: int = Field(
        default=4_096,
        ge=256,
        description="A longer message of a dashboard ends its connection (1009).",
    )
    dashboard_messages_s_max: int = Field(
        default=20,
        ge=1,
        description="Messages that a dashboard may send in a second; more end its connection "
        "(1008).",
    )
