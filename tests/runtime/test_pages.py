"""The pages in the gateways."""

from runtime.pages import pages


def test_pages_are_open_to_everybody_and_read_only() -> None:
    served = {(route.method, route.paths, route.scope) for route in pages().routes}
    assert served == {
        ("GET", ("/",), None),
        ("GET", ("/dashboard",), None),
        ("GET", ("/assets/{name}",), None),
    }
