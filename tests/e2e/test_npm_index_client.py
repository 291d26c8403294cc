"""A client with an inline flow that follows the log by index, as one of the npm plugins does."""

from pathlib import Path

from tests.support.index_client import IndexClient
from tests.support.npm_stand import Stand


def test_i7_59_an_inline_flow_with_tools_approval_and_a_second_turn(
    stand: Stand, repository: Path
) -> None:
    for _ in range(2):
        (repository / "README.md").write_text("# Demo\n")
        client = IndexClient(stand.account, repository, ("read_file", "edit_file"))
        assert client.turn("Please [retitle] it").endswith("Now it is mended.")
        assert client.done == ["runReadFile", "runEditFile"]
        assert client.sockets == 2, "the answers go over the socket that asked"
        assert client.statuses.count("TOOL_CALL_APPROVAL_REQUIRED") == 1
        assert client.statuses[-1] == "INPUT_REQUIRED"
        assert (repository / "README.md").read_text() == "# Mended\n"
        asked = stand.upstream.asked[-1].body
        assert "You serve the editor of the tests." in str(asked["system"])
        assert {tool["name"] for tool in asked["tools"]} == {"read_file", "edit_file"}
        assert client.turn("And [again]") == "Hello once more."
        assert "Now it is mended." in str(stand.upstream.asked[-1].body["messages"][:-1])
