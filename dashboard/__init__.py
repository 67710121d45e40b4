"""The dashboard: live numbers for operators."""

from lazy_loader import attach_stub

# Names are imported when they are first used: settings need a room's config without the room.
__getattr__, __dir__, __all__ = attach_stub(  # pyright: ignore[reportUnknownVariableType] - untyped
    __name__, __file__
)
