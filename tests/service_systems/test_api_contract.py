"""The API is as it says that it is, asked for long and in the order in which its parts lead to each other."""

from __future__ import annotations

from pathlib import Path

from service.contract import differences, serve_described


def test_the_api_answers_as_its_description_says_for_long(tmp_path: Path) -> None:
    server = serve_described(tmp_path / "service")
    try:
        found = differences(server, tmp_path / "asked", 60, "examples,coverage,fuzzing,stateful", 3000)
    finally:
        server.end()
    assert found is None, found
