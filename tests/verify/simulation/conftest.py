"""What tests of the simulation share."""

from pathlib import Path

import pytest

from runtime.store_binary import NoStoreBinary, find_store_binary


@pytest.fixture(scope="session")
def server_path() -> Path:
    """A Redis or Valkey server of this machine."""
    try:
        return find_store_binary().path
    except NoStoreBinary as none:
        pytest.skip(str(none))
