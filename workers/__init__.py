"""Workers: the only code that changes a context."""

from workers.activation import Activation, Performer
from workers.config import WorkerConfig
from workers.effects import Effects
from workers.host import Host
from workers.serve import serve

__all__ = ["Activation", "Effects", "Host", "Performer", "WorkerConfig", "serve"]
