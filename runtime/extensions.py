"""What the gateways of contextd serve besides the room gateway/: the rooms meet here."""

from collections.abc import Sequence

from gateway import Extension
from runtime.dashboard import dashboard
from runtime.pages import pages
from runtime.settings import Settings
from storage import Store


def extensions(settings: Settings, store: Store) -> Sequence[Extension]:
    """What one gateway process serves of other rooms."""
    return (dashboard(settings, store), pages())
