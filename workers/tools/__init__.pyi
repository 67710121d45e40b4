from .builtin import builtin_tools
from .config import ToolConfig
from .declaration import Tool, ToolCallContext, ToolError, ToolErrorCode, tool
from .registry import ENTRY_POINT_GROUP, Registry, installed_tools
from .retrieval import Retriever, notes_retriever

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
