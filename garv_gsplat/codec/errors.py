"""What reading a `.garv` can go wrong with."""

from __future__ import annotations


class GarvFormatError(ValueError):
    """Bytes that are no `.garv` this version reads; one line with the file, the field, the offset and the problem."""

    def __init__(self, source: str, problem: str, *, field: str = "", offset: int | None = None) -> None:
        place = f" (byte {offset})" if offset is not None else ""
        super().__init__(f"{source}: {field + place + ': ' if field else ''}{problem}")
        self.source = source
        self.field = field
        self.offset = offset
