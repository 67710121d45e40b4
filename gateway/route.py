"""What one address of the gateway is."""

from dataclasses import dataclass
from typing import Final

from aiohttp.typedefs import Handler

from gateway.limits import Traffic
from gateway.operation import Operation
from gateway.parameters import Parameter
from storage import Scope

BASES: Final = ("/api/contexts", "/v1/contexts")
"""Where contexts are served: the canonical address and its alias."""


@dataclass(frozen=True, slots=True)
class Route:
    """One address."""

    name: str
    """Name of the operation; for those of this room, `gateway/operations.py` has the rest."""
    method: str
    path: str
    handler: Handler
    query: tuple[Parameter, ...] = ()
    under_contexts: bool = True
    """The path continues each of BASES."""
    is_deprecated: bool = False
    has_head: bool = False
    """HEAD answers the same without the body."""
    is_public: bool = False
    """Whether anybody may ask, without a credential."""
    needs: Scope | None = None
    """The scope that it takes, if that is not the one of its method."""
    takes_any_scope: bool = False
    """Whether any credential is enough, whatever it allows."""
    moves_contexts: bool = False
    """Whether it takes whole contexts out, or in."""
    is_stream: bool = False
    """Whether its answer may take long, so that the credential is looked at meanwhile."""
    is_query: bool = False
    """Whether it is answered with a whole reply of a model."""
    operation: Operation | None = None
    """What OpenAPI says about it, of an address that another room brings."""

    @property
    def scope(self) -> Scope | None:
        """What a credential has to allow; None: nothing, or none is asked for."""
        if self.is_public or self.takes_any_scope:
            return None
        return self.needs or ("contexts:read" if self.method == "GET" else "contexts:write")

    @property
    def traffic(self) -> Traffic:
        """What it counts as where rates are limited."""
        if self.needs in {"dashboard", "admin"}:
            return "admin"
        if self.method != "GET":
            return "actions"
        return "streams" if self.is_stream else "polls"

    @property
    def is_recorded(self) -> bool:
        """Whether the audit log has it; actions of contexts are recorded on their way."""
        deletes = self.method == "DELETE" and not self.under_contexts
        manages = self.needs == "admin" and self.method != "GET"
        return deletes or manages or self.moves_contexts

    @property
    def paths(self) -> tuple[str, ...]:
        """Where it is served; the first is the canonical one."""
        return tuple(base + self.path for base in (BASES if self.under_contexts else ("",)))
