"""Files that declare MCP servers."""

from pathlib import Path

import pytest

from workers.tools.mcp_servers import BadServers, read_servers


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the file: Invalid JSON"),
        ("{}", "mcpServers: Field required"),
        ('{"mcpServers": {"a__b": {"command": "c"}}}', "mcpServers.a__b"),
        ('{"mcpServers": {"a": {}}}', "mcpServers.a.stdio.command: Field required"),
        ('{"mcpServers": {"a": {"url": "file:///b"}}}', "mcpServers.a.http.url"),
        ('{"mcpServers": {"a": {"url": "http://b", "type": "sse"}}}', "mcpServers.a.http.type"),
        ('{"mcpServers": {"a": {"command": "c", "role": "d"}}}', "mcpServers.a.stdio.role"),
        (
            '{"mcpServers": {"a": {"command": "c", "env": {"d": "${NO_SUCH}"}}}}',
            "mcpServers.a.stdio.env.d: Value error, the variable NO_SUCH is not set",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_the_place(
    tmp_path: Path, text: str, told: str
) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(text)
    with pytest.raises(BadServers) as caught:
        read_servers(file)
    assert str(caught.value).startswith(f"The MCP servers' file {file}: {told}")


def test_a_file_that_is_missing_is_told_and_none_declares_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadServers, match="cannot be read: No such file"):
        read_servers(tmp_path / "mcp.json")
    assert read_servers(None) == {}
