from .builtin import builtin_tools
from .config import SearchConfig, ToolConfig
from .declaration import Tool, ToolCallContext, ToolError, ToolErrorCode, tool
from .index import SearchFailed
from .recall import recall_retrievers
from .registry import ENTRY_POINT_GROUP, Registry, installed_tools
from .retrieval import Retriever, given, notes_retriever
from .search import Searches

__all__ = [
    "ENTRY_POINT_GROUP",
    "Registry",
    "Retriever",
    "SearchConfig",
    "SearchFailed",
    "Searches",
    "Tool",
    "ToolCallContext",
    "ToolConfig",
    "ToolError",
    "ToolErrorCode",
    "builtin_tools",
    "given",
    "installed_tools",
    "notes_retriever",
    "recall_retrievers",
    "tool",
]
