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
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import eemt

VARIABLE = "NUMBA_CACHE_DIR"


def settle() -> None:
    """Name a folder for compiled kernels, if numba has none yet; to be called before numba is loaded.

    A folder that the user names in ``NUMBA_CACHE_DIR`` comes first, then the package's own, then
    ``$XDG_CACHE_HOME/eemt``, ``~/.cache/eemt`` and one of the user's in the folder for temporary files: the first that
    can be written. Kernels that came with a package that cannot be written, as in a container, are copied there: numba
    passes over a folder that it cannot write to, even one that has all it wants.

    Raises
    ------
    OSError
        When nothing at all can be written.
    """
    named = os.environ.get(VARIABLE)
    if named and is_writable(Path(named)):
        return
    state = state_of_kernels()
    folder = Path(__file__).parent / "__pycache__" / state
    if not is_writable(folder):
        shipped = folder
        root = next((root for root in _of_the_user() if is_writable(root)), None) or _temporary()
        folder = root / state
        _copy(shipped, folder)
    os.environ[VARIABLE] = str(folder)


@contextmanager
def without_scipy() -> Iterator[None]:
    """Let numba be loaded without SciPy, which it would load for products of matrices alone: a fifth of its time.

    No kernel has such products. Where SciPy is loaded already nothing changes.
    """
    if "scipy" in sys.modules:
        yield
        return
    sys.modules["scipy"] = None  # type: ignore[assignment]  # Python's own way to say that a module is not there
    try:
        yield
    finally:
        if sys.modules.get("scipy", ...) is None:
            del sys.modules["scipy"]


def state_of_kernels() -> str:
    """Return a name that changes with any source that kernels are compiled from."""
    digest = hashlib.sha256()
    package = Path(eemt.__file__).parent
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        # the sun's kernels take constants from each other's modules
        if b"njit" in content or path.name == "constants.py" or path.parent.name == "sun":
            digest.update(content)
    return f"kernels-{digest.hexdigest()[:12]}"


def is_writable(folder: Path) -> bool:
    """Say whether files can be made in a folder, made where absent; permission bits do not tell for root."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _copy(kernels: Path, folder: Path) -> None:
    """Copy kernels to a folder that is not there yet, all or none: many jobs may do so at a time."""
    if folder.exists() or not kernels.is_dir():
        return
    with suppress(OSError), tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        copy = shutil.copytree(kernels, Path(beside) / "kernels", copy_function=shutil.copyfile)
        copy.rename(folder)


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
