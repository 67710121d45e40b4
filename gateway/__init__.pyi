from .clients import client_address
from .config import GatewayConfig
from .extension import Extension
from .operation import Answer, Operation
from .parameters import TICKET, Parameter
from .problems import Problem
from .route import Route
from .serve import now_ms, serve
from .tls import BadCertificate, tls_context

__all__ = [
    "TICKET",
    "Answer",
    "BadCertificate",
    "Extension",
    "GatewayConfig",
    "Operation",
    "Parameter",
    "Problem",
    "Route",
    "client_address",
    "now_ms",
    "serve",
    "tls_context",
]
