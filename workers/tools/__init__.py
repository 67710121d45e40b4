"""Tools: functions that a model may ask for, under a policy; and retrievers."""

from workers.tools.builtin import builtin_tools
from workers.tools.config import ToolConfig
from workers.tools.declaration import Tool, ToolCallContext, ToolError, ToolErrorCode, tool
from workers.tools.registry import ENTRY_POINT_GROUP, Registry, installed_tools
from workers.tools.retrieval import Retriever, notes_retriever

__all__ = [
    "ENTRY_POINT_GROUP",
    "Registry",
    "Retriever",
    "Tool",
    "ToolCallContext",
    "ToolConfig",
    "ToolError",
    "ToolErrorCode",
    "builtin_tools",
    "installed_tools",
    "notes_retriever",
    "tool",
]
