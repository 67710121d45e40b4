from .config import GatewayConfig
from .serve import serve
from .tls import BadCertificate, tls_context

__all__ = ["BadCertificate", "GatewayConfig", "serve", "tls_context"]
