"""Every address that a gateway of contextd has, those that other rooms bring included."""

from typing import TYPE_CHECKING, Final, cast

from gateway import Route
from gateway.routes import ROUTES
from runtime.extensions import extensions
from runtime.settings import Settings

if TYPE_CHECKING:
    from storage import Store

SERVED: Final[tuple[Route, ...]] = (
    *ROUTES,
    *(
        route
        # Nothing is asked of the store before a request comes.
        for each in extensions(Settings.model_validate({}), cast("Store", None))
        for route in each.routes
    ),
)
