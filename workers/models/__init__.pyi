from .config import ModelConfig
from .openai import OpenAIModel
from .protocol import (
    Model,
    ModelError,
    ModelErrorCode,
    ModelRequest,
    ModelToolCall,
    ReplyFinished,
    ReplyItem,
    TextDelta,
    WireObject,
)
from .request import RequestBuilder
from .scripted import ScriptedModel
from .selection import open_model

__all__ = [
    "Model",
    "ModelConfig",
    "ModelError",
    "ModelErrorCode",
    "ModelRequest",
    "ModelToolCall",
    "OpenAIModel",
    "ReplyFinished",
    "ReplyItem",
    "RequestBuilder",
    "ScriptedModel",
    "TextDelta",
    "WireObject",
    "open_model",
]
