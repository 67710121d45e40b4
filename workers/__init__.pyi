from .activation import Activation, Performer
from .config import WorkerConfig
from .effects import Effects
from .host import Host
from .serve import serve

__all__ = ["Activation", "Effects", "Host", "Performer", "WorkerConfig", "serve"]
