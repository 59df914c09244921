"""What the documentation tells readers to call can be called, in the order it stands in."""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path

import pytest
import yaml

from docs.pages import COMMANDS, PAGES, RUN, Block, blocks, name_of, outside_blocks
from eemt.cli import COMMANDS as STAGES
from eemt.config import COMMON_SECTIONS, SECTIONS, Config, Site
from sites import NORMALS, ROOT

CHECKOUT = ("CITATION.cff", "Makefile", "benchmarks", "config", "docs", "profiles", "workflow")
FILES = {"csv", "yaml"}
# pages that go on where another one has ended
GOES_ON = {"docs/outputs.md": "docs/your-own-dem.md", "docs/archive.md": "docs/your-own-dem.md"}
ON_THIS_MACHINE = re.compile(r"(?<![\w.:/])/(?:work|root|var/tmp|home/(?!USER)\w+)/")
PLUGINS = "--(eemt-kubernetes|eemt-slurm|storage)-"
PROGRAM = re.compile(r"(?:\S*/)?(eemt|snakemake|make)$")


def runnable(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language in RUN and block.reason is None]


class Reader:
    """Someone who does in a checkout of their own what a page says."""

    def __init__(self, folder: Path, dem: Path) -> None:
        self.folder = folder
        self.names: dict[str, object] = {"__name__": "__main__"}
        for name in CHECKOUT:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)
        (folder / ".venv").mkdir()
        (folder / ".venv/bin").symlink_to(Path(sys.executable).parent)
        for name in ("my_dem.tif", "my_dem_utm.tif"):
            shutil.copy(dem, folder / name)
        shutil.copy(NORMALS, folder / "my_station.csv")

    def follow(self, page: Path) -> None:
        """Run the blocks of a page in order; text below a call, in the same section, is what it must have said."""
        said: dict[int, str] = {}
        for block in blocks(page):
            if block.title and block.language in FILES:
                (self.folder / block.title).write_text(block.text, encoding="utf-8")
            elif block.language in RUN and block.reason is not None:
                said.pop(block.section, None)
            elif block.language in COMMANDS:
                said[block.section] = self.call(block)
            elif block.language == "python":
                self.execute(block)
            elif block.language == "text" and block.section in said:
                missing = [line for line in block.text.splitlines() if line not in said[block.section]]
                assert not missing, f"{block}: was not said: {missing}\n{said[block.section]}"

    def call(self, block: Block) -> str:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.text],
            cwd=self.folder,
            env={**os.environ, "PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}: {done.stdout}"
        return done.stdout

    def execute(self, block: Block) -> None:
        with chdir(self.folder):
            exec(compile(block.text, str(block), "exec"), self.names)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Callable[[str], Reader]:
    """Follow a page, and before it the one that it goes on from, once."""
    readers: dict[str, Reader] = {}

    def follow(name: str) -> Reader:
        if name not in readers:
            before = GOES_ON.get(name)
            reader = follow(before) if before else Reader(tmp_path_factory.mktemp("checkout"), clip)
            reader.follow(ROOT / name)
            readers[name] = reader
        return readers[name]

    return follow


@pytest.mark.parametrize("page", [name_of(page) for page in PAGES if runnable(page)])
def test_what_a_page_says_can_be_done_in_that_order(page: str, read: Callable[[str], Reader]):
    read(page)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_stand_in_fences_and_those_that_are_not_run_say_why(page: Path):
    loose = re.findall(r"^ {4,}(?:\.venv/bin/)?(?:eemt|snakemake|make|pip|docker|git) .*", outside_blocks(page), re.M)
    assert not loose, f"{name_of(page)}: put commands between ```bash and ```: {loose}"
    for block in blocks(page):
        assert block.reason is None or len(block.reason.split()) > 1, f"{block}: not-run needs a reason"
        assert block.language != "r" or block.reason, f"{block}: R is not run here"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_that_are_not_run_have_their_options(page: Path, call):
    for block in blocks(page):
        if block.language in COMMANDS and block.reason:
            for program, words in calls(block.text):
                check_words(program, words, str(block), call)


def calls(text: str) -> Iterator[tuple[str, list[str]]]:
    """Find the calls of our programs in a shell block: the program and its words."""
    for line in re.sub(r"\\\n|<[\w ]+>", " ", text).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;()<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("|&;()<>"):
                yield from _call(words)
                words = []
            else:
                words.append(word)


def _call(words: list[str]) -> Iterator[tuple[str, list[str]]]:
    program = PROGRAM.match(words[0]) if words else None
    if program:
        yield program[1], words[1:]


def check_words(program: str, words: list[str], where: str, call: Callable[..., tuple[int, str, str]]) -> None:
    """Assert that a program knows a command's name and options."""
    if program == "make":
        targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
        unknown = [word for word in words if "=" not in word and word not in targets]
        assert not unknown, f"{where}: make has no {unknown}"
        return
    if program == "snakemake":
        known = help_of_snakemake()
    else:
        named = list(words[: 2 if words[0] == "profile" else 1])
        assert named[0] in STAGES or named[0].startswith("-"), f"{where}: eemt has no command {named[0]}"
        known = call(*(named if named[0] in STAGES else []), "--help")[1]
    options = {word.split("=")[0] for word in words if re.fullmatch(r"--?[a-zA-Z][\w-]*(=.*)?", word)}
    # those of plugins are known where these are installed
    options = {option for option in options if not re.match(PLUGINS, option)}
    unknown = [option for option in options if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", known)]
    assert not unknown, f"{where}: {program} has no {unknown}"


@functools.cache
def help_of_snakemake() -> str:
    program = Path(sys.executable).parent / "snakemake"
    return subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_keys_of_the_configuration_that_a_page_shows_are_there(page: Path):
    for block in blocks(page):
        if block.language != "yaml":
            continue
        shown = yaml.safe_load(block.text)
        sites = shown.pop("sites", {})
        unknown = [key for key in shown if key not in {*SECTIONS, *Config.model_fields}]
        assert not unknown, f"{block}: {unknown}"
        for section in COMMON_SECTIONS.keys() & shown:
            COMMON_SECTIONS[section].model_validate(shown.pop(section))
        for place in (shown, *sites.values()):
            for section, values in place.items():
                if section in SECTIONS and isinstance(values, dict):
                    SECTIONS[section].model_validate({**required(section), **values})
                else:
                    assert section in {*Site.model_fields, *Config.model_fields}, f"{block}: {section}"


def test_config_that_the_page_on_a_cluster_shows_is_the_example():
    shown = [block.text for block in blocks(ROOT / "docs/examples/cluster.md") if block.language == "yaml"]
    assert list(map(yaml.safe_load, shown)) == [yaml.safe_load((ROOT / "config/examples/jacksboro.yaml").read_text())]


def required(section: str) -> dict[str, object]:
    """Return what a section cannot do without, and what is shown in another block of its page."""
    plants = {"ndvi": "ndvi.tif", "canopy_height": "height.tif"}
    return {"dem": {"source": "dem.tif"}, "climate": {}, "eemt": plants}.get(section, {})


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_names_a_place_on_somebodys_machine(page: Path):
    assert not ON_THIS_MACHINE.findall(page.read_text(encoding="utf-8"))


def test_every_file_of_the_results_is_described(read: Callable[[str], Reader]):
    results = read("docs/your-own-dem.md").folder / "results/my_valley"
    table = re.findall(r"^\| (`[^|]*) \|", (ROOT / "docs/outputs.md").read_text(encoding="utf-8"), re.M)
    names = [name for cell in table for name in re.findall(r"`([^`]+\.\w+)`", cell)]
    patterns = [re.compile(re.sub(r"[A-Z]{4,}", "[\\\\w-]+", re.escape(name))) for name in names]
    written = [path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file()]
    assert written
    assert [name for name in written if not any(pattern.fullmatch(name) for pattern in patterns)] == []
