from .channel import Channel, Message
from .clients import client_address
from .config import GatewayConfig
from .extension import Extension
from .operation import Answer, Operation
from .parameters import TICKET, Parameter
from .problems import Problem, draining, not_upgraded
from .route import Route
from .serve import serve
from .states import FROM_MIRROR
from .tls import BadCertificate, tls_context

__all__ = [
    "FROM_MIRROR",
    "TICKET",
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
    "client_address",
    "draining",
    "not_upgraded",
    "serve",
    "tls_context",
]
