"""The dashboard: statistics, what happens, and the pages, for people who look after it."""

from lazy_loader import attach_stub

# Names are imported when they are first used: settings need a room's config without the room.
__getattr__, __dir__, __all__ = attach_stub(  # pyright: ignore[reportUnknownVariableType] - untyped
    __name__, __file__
)
