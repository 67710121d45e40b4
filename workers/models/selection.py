"""Which model answers: the configured server, else the scripted one."""

from workers.models.config import ModelConfig
from workers.models.openai import OpenAIModel
from workers.models.protocol import Model
from workers.models.scripted import ScriptedModel


def open_model(config: ModelConfig) -> Model:
    """Return the model that the configuration names. Call it inside a running loop."""
    if config.model_base_url is None:
        return ScriptedModel(config)
    return OpenAIModel(config)
