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
from .request import RequestBuilder, build_request
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
    "build_request",
    "open_model",
]
