"""Where compiled kernels are kept.

numba keeps them in ``__pycache__`` beside the package, or else in the user's cache folder, and stops where it can write
to neither, as in a container with a read-only root and home. Nor does it see that a kernel is out of date when a
constant changed in another module, so each state of the sources has a folder of its own. Many jobs may share one:
numba writes each file under another name and renames it.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import eemt

VARIABLE = "NUMBA_CACHE_DIR"


def settle() -> None:
    """Name a folder for compiled kernels, if numba has none yet; to be called before numba is loaded.

    A folder that the user names in ``NUMBA_CACHE_DIR`` comes first, then the package's own, then
    ``$XDG_CACHE_HOME/eemt``, ``~/.cache/eemt`` and one of the user's in the folder for temporary files: the first that
    can be written.

    Raises
    ------
    OSError
        When nothing at all can be written.
    """
    named = os.environ.get(VARIABLE)
    if named and is_writable(Path(named)):
        return
    state = state_of_kernels()
    roots = [Path(__file__).parent / "__pycache__", *_of_the_user()]
    folder = next((root / state for root in roots if is_writable(root / state)), None)
    os.environ[VARIABLE] = str(folder or _temporary() / state)


def state_of_kernels() -> str:
    """Return a name that changes with any source that kernels are compiled from."""
    digest = hashlib.sha256()
    package = Path(eemt.__file__).parent
    for path in sorted([package / "constants.py", package / "terrain.py", *(package / "sun").glob("*.py")]):
        digest.update(path.read_bytes())
    return f"kernels-{digest.hexdigest()[:12]}"


def is_writable(folder: Path) -> bool:
    """Say whether files can be made in a folder, made where absent; permission bits do not tell for root."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _of_the_user() -> Iterator[Path]:
    for root in (os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache")):  # noqa: PTH111
        # a home that is unknown leaves the tilde
        if Path(root).is_absolute():
            yield Path(root) / "eemt"


def _temporary() -> Path:
    """Return a folder that no one else can write to, since numba runs what it finds in its cache."""
    if hasattr(os, "getuid"):
        folder = Path(tempfile.gettempdir()) / f"eemt-{os.getuid()}"
        if is_writable(folder) and _is_private(folder):
            return folder
    once = tempfile.mkdtemp(prefix="eemt-")
    atexit.register(shutil.rmtree, once, ignore_errors=True)
    return Path(once)


def _is_private(folder: Path) -> bool:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        return False
    folder.chmod(stat.S_IRWXU)
    return True
