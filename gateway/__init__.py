"""The gateway: actions in, state and streams out, over HTTP."""

from gateway.config import GatewayConfig
from gateway.serve import serve

__all__ = ["GatewayConfig", "serve"]
