"""Language models: the protocol they follow, and the two that do."""

from workers.models.config import ModelConfig
from workers.models.openai import OpenAIModel
from workers.models.protocol import (
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
from workers.models.request import RequestBuilder, build_request
from workers.models.scripted import ScriptedModel
from workers.models.selection import open_model

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
