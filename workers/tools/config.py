"""Settings of tools and retrievers; the workers' configuration inherits them.

Every bound of a tool's run and of a search is a field here, with its unit in its name.
"""

from pathlib import Path

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
    mcp_servers: Path | None = Field(
        default=None,
        description="JSON file that declares MCP servers, whose tools are offered to the model "
        "(docs/tools.md).",
    )
    mcp_connect_s: float = Field(
        default=30.0,
        gt=0,
        description="How long an MCP server may take to start, connect and tell its tools, in "
        "seconds.",
    )
    mcp_wait_s: float = Field(
        default=5.0,
        ge=0,
        description="How long after a worker's start its first replies wait for the tools of "
        "MCP servers that have neither told them nor failed; then they do without, in seconds.",
    )
    mcp_answer_s: float = Field(
        default=10.0,
        gt=0,
        description="How long a connected MCP server may take to tell its tools again; then it "
        "is connected anew, in seconds.",
    )
    mcp_check_s: float = Field(
        default=60.0,
        gt=0,
        description="How often an MCP server that is not working on a call is asked for its "
        "tools, in seconds.",
    )
    mcp_pause_s: float = Field(
        default=0.5,
        gt=0,
        description="Wait before an MCP server that was lost is connected again; doubles with "
        "each further try, in seconds.",
    )
    mcp_pause_s_max: float = Field(
        default=30.0, gt=0, description="Longest wait between two tries, in seconds."
    )
    mcp_calls_max: int = Field(
        default=32, ge=1, description="Calls to one MCP server at once, in one worker."
    )
    mcp_tools_max: int = Field(
        default=128, ge=1, description="Most tools that are taken from one MCP server."
    )


class SearchConfig(BaseModel):
    """How much of what an owner has said is looked through."""

    model_config = ConfigDict(frozen=True)

    search_contexts_max: int = Field(
        default=1_000, ge=1, description="Contexts of one owner that are searched, the newest."
    )
    search_owner_text_bytes_max: int = Field(
        default=16_777_216,
        ge=1_024,
        description="Text of one owner's contexts that is searched; of more, the contexts that "
        "were quiet the longest are left out.",
    )
    search_text_bytes_max: int = Field(
        default=67_108_864,
        ge=1_024,
        description="Text of all owners that one worker keeps indexed (memory: about twice "
        "that); the index of whoever has asked longest ago is dropped and made again "
        "when it is needed.",
    )
    search_matches_max: int = Field(
        default=5, ge=1, le=100, description="Passages that one search gives to the model."
    )
    search_match_chars_max: int = Field(
        default=2_000,
        ge=100,
        description="Characters of one passage; of a longer message it is the part that fits "
        "best.",
    )
    memory_contexts_max: int = Field(
        default=5, ge=1, le=100, description="Earlier contexts that memory tells the model of."
    )
