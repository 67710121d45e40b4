from .config import GatewayConfig
from .serve import serve

__all__ = ["GatewayConfig", "serve"]
