from .channel import Channel, Message
from .config import GatewayConfig
from .extension import Extension
from .operation import Answer, Operation
from .parameters import Parameter
from .problems import Problem
from .route import Route
from .serve import serve
from .states import FROM_MIRROR
from .tls import BadCertificate, tls_context

__all__ = [
    "FROM_MIRROR",
    "Answer",
    "BadCertificate",
    "Channel",
    "Extension",
    "GatewayConfig",
    "Message",
    "Operation",
    "Parameter",
    "Problem",
    "Route",
    "serve",
    "tls_context",
]
