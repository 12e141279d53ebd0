"""Files and folders that appear under their names when all of them is written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from garv_gsplat.cli import CommandError


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which is renamed to `folder` when the block ends and removed when it ends in an error.

    Raises CommandError where there is something of that name, VideoError where nothing can be written.
    """
    from garv_gsplat.video import check_writable

    if folder.exists():
        raise CommandError(f"{folder}: is already there; give the name of a new folder")
    check_writable(folder)
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    part.mkdir()
    try:
        yield part
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)  # gone already when all went well


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file to write, of the same suffix, which takes the place of `path` when the block ends without an error."""
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
