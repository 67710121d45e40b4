"""Which contextd this is."""

from importlib.metadata import PackageNotFoundError, version


def own_version() -> str:
    """Version of the installed distribution."""
    try:
        return version("contextd")
    except PackageNotFoundError:
        return "(not installed)"
