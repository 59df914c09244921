"""`python -m archive.stopping`: runs eemt in children that stand still for ever at some point, to be killed there.

It loads all modules once, then takes orders on its standard input, a JSON object a line: either what to run, answered
by the number of the new process, or `{"wait": NUMBER}`, answered by how that ended. The product itself knows nothing of
points: the places for files are wrapped here.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any


def serve() -> None:
    """Take orders until there are no more."""
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            answer = os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1])
        else:
            answer = os.fork()
            if not answer:
                os._exit(_child(**asked))
        print(json.dumps(answer), flush=True)


def _child(words: list[str], folder: str, log: str, pipe: str, point: list[str] | None) -> int:
    from eemt.cli import main

    os.setsid()
    os.chdir(folder)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(out, 1)
    os.dup2(out, 2)
    # closed when this process ends, however that is: who reads it learns that the point was not reached
    told = os.open(pipe, os.O_WRONLY)

    def stop() -> None:
        os.write(told, b"stopped\n")
        while True:
            signal.pause()

    if point:
        _install(*point, stop)
    code = main(words)
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _install(what: str, words: str, stop: Callable[[], None]) -> None:
    """Stop at the first call of its kind that has these words in it."""
    from eemt.archive import catalogues, cleaning, limits
    from eemt.archive.folder import FolderArea
    from eemt.archive.s3 import S3Area

    kind: Any = S3Area if words.startswith("s3:") else FolderArea
    put, read, remove = kind.put, kind.read, kind.remove

    def meant(area: Any, name: str) -> bool:
        return words in f"{area.address}/{name}"

    def in_two(pieces: Iterable[bytes]) -> Iterator[bytes]:
        for number, piece in enumerate(pieces):
            if number == after:
                stop()
            yield piece

    after = 20 if kind is S3Area else 1  # pieces; of a larger file than fits into one part of an upload
    match what:
        case "before put":
            kind.put = lambda area, name, *rest: stop() if meant(area, name) else put(area, name, *rest)
        case "in put":
            kind.put = lambda area, name, pieces, size: put(
                area, name, in_two(pieces) if meant(area, name) else pieces, size
            )
        case "after put":
            kind.put = lambda area, name, *rest: (
                put(area, name, *rest),
                stop() if meant(area, name) else None,
            )[0]
        case "in read":
            kind.read = lambda area, name: in_two(read(area, name)) if meant(area, name) else read(area, name)
        case "before remove":
            kind.remove = lambda area, name: stop() if meant(area, name) else remove(area, name)
        case "before telling":
            catalogues.Catalogues.archived = lambda *_: stop()  # type: ignore[method-assign]
        case "after telling":
            archived = catalogues.Catalogues.archived
            catalogues.Catalogues.archived = lambda *rest: (archived(*rest), stop())[0]  # type: ignore[method-assign]
        case "before unlink":
            unlink = cleaning._remove
            cleaning._remove = lambda path, member: (  # type: ignore[assignment]
                stop() if words in str(path) else unlink(path, member)
            )
        case "with slot":
            take = limits._take

            def taken(path: Path, *rest: Any) -> bool:
                got = take(path, *rest)
                if got and path.name.startswith(words):
                    stop()
                return got

            limits._take = taken
        case _:
            raise ValueError(what)


if __name__ == "__main__":
    for name in ("archive", "catalogue", "retrieve"):
        import_module(f"eemt.stages.{name}")
    serve()
