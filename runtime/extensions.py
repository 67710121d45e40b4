"""What gateways serve besides the room gateway/: where the other rooms are wired in."""

from collections.abc import Iterator, Sequence

from gateway import Extension
from runtime.activity import activity_extension
from runtime.dashboard import dashboard
from runtime.pages import pages
from runtime.request_traces import trace_requests
from runtime.settings import Settings
from runtime.tracing import OpenTelemetry
from storage import Store


def extensions(settings: Settings, store: Store) -> Sequence[Extension]:
    """The extensions of one gateway process."""
    return tuple(_brought(settings, store))


def _brought(settings: Settings, store: Store) -> Iterator[Extension]:
    if isinstance(store.tracer, OpenTelemetry):
        yield Extension(middlewares=(trace_requests(store.tracer),))
    others = (dashboard(settings, store), pages())
    if settings.activity:
        yield activity_extension(settings, store, others)
    yield from others
