"""Settings of tools; the workers' configuration inherits them.

Every bound of a tool's run is a field here, with its unit in its name.
"""

from pydantic import BaseModel, ConfigDict, Field


class ToolConfig(BaseModel):
    """How much a tool may take and give."""

    model_config = ConfigDict(frozen=True)

    tool_arguments_bytes_max: int = Field(
        default=65_536, ge=2, description="Largest arguments of a tool call, as JSON text."
    )
    tool_result_bytes_max: int = Field(
        default=65_536, ge=256, description="Largest result of a tool; what is more is cut off."
    )
    tool_threads_max: int = Field(
        default=16,
        ge=1,
        description="Tools that are not async run in threads, at most so many at once in one "
        "worker; one that outlives its time keeps its place until it returns.",
    )
