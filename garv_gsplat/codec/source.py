"""Where the bytes of a `.garv` come from: memory, a path, a file object, or a web server."""

from __future__ import annotations

import io
import os
import re
import threading
import urllib.error
import urllib.request
import warnings
from pathlib import Path
from typing import BinaryIO

from garv_gsplat.codec.errors import GarvFormatError

FIRST_READ = 1 << 16  # bytes; more than most headers take
_TIMEOUT = 30  # seconds that a server may take to answer


class Source:
    """Bytes that can be read from anywhere, by several threads at once. A path and a URL can be pickled."""

    name: str
    """what to call it in messages"""
    size: int
    """bytes"""

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on, fewer where the file ends."""
        raise NotImplementedError

    def read_all_of(self, offset: int, size: int, field: str) -> bytes:
        """Exactly `size` bytes; GarvFormatError where the file has fewer."""
        data = self.read(offset, size)
        if len(data) < size:
            raise self.error(f"ends after {len(data)} of {size} bytes: the file is cut off or changes", field, offset)
        return data

    def error(self, problem: str, field: str = "", offset: int | None = None) -> GarvFormatError:
        """The error to raise for this file."""
        return GarvFormatError(self.name, problem, field=field, offset=offset)

    def close(self) -> None:
        """Let go of what is open."""


def open_source(source: str | os.PathLike | bytes | BinaryIO) -> Source:
    """A path, an http(s) URL, bytes, or a file object that can seek.

    Raises OSError where it cannot be read, TypeError for another kind of object.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _Memory(bytes(source), "bytes")
    if isinstance(source, str) and re.match(r"https?://", source):
        return _Web(source)
    if isinstance(source, (str, os.PathLike)):
        return _Path(os.fspath(source))
    if hasattr(source, "read") and hasattr(source, "seek"):
        return _FileObject(source)
    raise TypeError(f"a .garv is a path, a URL, bytes or a file object, got {type(source).__name__}")


class _Memory(Source):
    def __init__(self, data: bytes, name: str) -> None:
        self.name, self.size, self._data = name, len(data), data

    def read(self, offset: int, size: int) -> bytes:
        return self._data[offset : offset + size]


class _Path(Source):
    def __init__(self, path: str) -> None:
        self.name = path
        self._file = open(path, "rb")  # noqa: SIM115  (closed by `close`)
        self.size = os.fstat(self._file.fileno()).st_size

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, offset)

    def close(self) -> None:
        self._file.close()

    def __reduce__(self):
        return _Path, (str(Path(self.name).absolute()),)


class _FileObject(Source):
    def __init__(self, file: BinaryIO) -> None:
        self.name = str(getattr(file, "name", "file object"))
        self._file, self._lock = file, threading.Lock()
        self.size = file.seek(0, io.SEEK_END)

    def read(self, offset: int, size: int) -> bytes:
        with self._lock:
            self._file.seek(offset)
            return self._file.read(size)

    def __reduce__(self):
        raise TypeError(f"{self.name}: a file object cannot be pickled; open the file by its path, URL or bytes")


class _Web(Source):
    """Reads ranges (RFC 9110, section 14); from a server that knows none everything, once."""

    def __init__(self, url: str) -> None:
        self.name = url
        self._start = b""
        self._whole: bytes | None = None
        self._start, self.size = self._fetch(0, FIRST_READ)

    def read(self, offset: int, size: int) -> bytes:
        size = max(0, min(size, self.size - offset))
        if self._whole is not None:
            return self._whole[offset : offset + size]
        if size == 0 or offset + size <= len(self._start):
            return self._start[offset : offset + size]
        data, total = self._fetch(offset, size)
        if total != self.size:
            raise self.error(f"has {total} bytes now, it had {self.size}: it changes while it is read; open it again")
        return data

    def _fetch(self, offset: int, size: int) -> tuple[bytes, int]:
        """The bytes of a range, and how many the file has."""
        request = urllib.request.Request(self.name, headers={"Range": f"bytes={offset}-{offset + size - 1}"})
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
                data = answer.read()
                part = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers.get("Content-Range", ""))
        except urllib.error.HTTPError as error:
            raise OSError(f"{self.name}: the server answers {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            raise OSError(f"{self.name}: the server cannot be reached ({error.reason})") from error
        if part is not None and int(part[1]) == offset:
            return data, int(part[3])
        warnings.warn(f"{self.name}: the server knows no ranges, so the whole file was read", stacklevel=5)
        self._whole = data
        return data[offset : offset + size], len(data)

    def __reduce__(self):
        return _Web, (self.name,)
