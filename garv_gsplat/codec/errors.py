"""What reading and writing a `.garv` can go wrong with."""

from __future__ import annotations

from functools import partial


class MissingLibraryError(ImportError):
    """A library that a codec needs is not installed; one line that says how to install it."""


class GarvFormatError(ValueError):
    """Bytes that are no `.garv` this version reads; one line with the file, the field, the offset and the problem."""

    def __init__(self, source: str, problem: str, *, field: str = "", offset: int | None = None) -> None:
        place = f" (byte {offset})" if offset is not None else ""
        super().__init__(f"{source}: {field + place + ': ' if field else ''}{problem}")
        self.source = source
        self.problem = problem
        self.field = field
        self.offset = offset

    def __reduce__(self):
        # an exception is copied by its message alone; worker processes must be able to hand this one on
        state = {"field": self.field, "offset": self.offset}
        return partial(type(self), self.source, self.problem, **state), ()
