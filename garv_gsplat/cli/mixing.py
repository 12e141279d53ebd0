"""What `garv foveate` and `garv mix` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from garv_gsplat.cli import CommandError
from garv_gsplat.cli.selection import keep_source

if TYPE_CHECKING:
    from garv_gsplat.codec import GarvFile
    from garv_gsplat.mixing import MixResult


def mixed(paths: Sequence[Path], output: Path, mix: Callable[[list[GarvFile], bytes | None], MixResult]) -> int:
    """Open files, write what `mix` makes of them and of the first one's sound, and say what it took; the exit code."""
    from garv_gsplat.cli.display import result
    from garv_gsplat.codec import GarvFile, save

    if output.suffix != ".garv":
        raise CommandError(f"{output}: must end in .garv")
    for path in paths:
        keep_source(output, path)
    opened = {path: GarvFile(path) for path in dict.fromkeys(paths)}
    files = [opened[path] for path in paths]
    try:
        made = mix(files, files[0].tracks())
    except ValueError as error:
        raise CommandError(str(error)) from error
    save(output, made.data)
    file = GarvFile(made.data)
    parts = ", ".join(
        f"{size:,} bytes of {source.source.name} ({copied} of {len(source.chunks)} chunks copied)"
        for source, size, copied in zip(made.files, made.stream_bytes, made.copied_chunks)
    )
    result(f"{output}: {file.size:,} bytes, {file.bits_per_pixel:.4f} bpp; Gaussians: {parts}")
    return 0
