"""What records say of a run, and what they must not."""

from __future__ import annotations

import pytest

from eemt.provenance import typed


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["snakemake", "--cores", "2"], "snakemake --cores 2"),
        (["snakemake", "a b"], "snakemake 'a b'"),
        (["--storage-s3-secret-key", "abc"], "--storage-s3-secret-key HIDDEN"),
        (["--storage-s3-access-key=abc", "all"], "--storage-s3-access-key=HIDDEN all"),
        (["--config", "my_token=abc", "x=1"], "--config my_token=HIDDEN x=1"),
    ],
)
def test_a_command_is_worded_without_secrets(words: list[str], shown: str):
    assert typed(words) == shown
