from .config import GatewayConfig
from .extension import Extension
from .operation import Answer, Operation
from .parameters import Parameter
from .problems import Problem
from .route import Route
from .serve import serve
from .tls import BadCertificate, tls_context

__all__ = [
    "Answer",
    "BadCertificate",
    "Extension",
    "GatewayConfig",
    "Operation",
    "Parameter",
    "Problem",
    "Route",
    "serve",
    "tls_context",
]
