"""The command `garv`. What is heavy (torch, PyAV) is imported by the commands when they run, so that help is quick."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import make_dataclass
from typing import Union

BAD_INPUT = 2
INTERRUPTED = 130  # what shells report for a program that Ctrl-C ended


class CommandError(ValueError):
    """An argument that no command could work with; one line."""


def main(args: Sequence[str] | None = None) -> int:
    """Run `garv` with `args` (those of the process by default); the exit code."""
    args = sys.argv[1:] if args is None else list(args)
    try:
        return _command(args)
    except KeyboardInterrupt:
        return _fail("stopped; nothing was written", INTERRUPTED)
    except (ValueError, OSError, RuntimeError, MemoryError, ImportError) as error:
        message = _explain(error)
        if message is None:
            raise
        return _fail(f"error: {message}", BAD_INPUT)


def _command(args: list[str]) -> int:
    import tyro

    from garv_gsplat import __version__
    from garv_gsplat.cli.bench import Bench
    from garv_gsplat.cli.compare import Compare
    from garv_gsplat.cli.crop import Crop
    from garv_gsplat.cli.decode import Decode
    from garv_gsplat.cli.encode import Encode
    from garv_gsplat.cli.foveate import Foveate
    from garv_gsplat.cli.info import Info
    from garv_gsplat.cli.mix import Mix
    from garv_gsplat.cli.scan import Scan
    from garv_gsplat.cli.truncate import Truncate

    if args == ["--version"]:
        sys.stdout.write(f"garv {__version__}\n")
        return 0
    every = (Encode, Decode, Crop, Scan, Info, Truncate, Foveate, Mix, Compare, Bench)
    commands = {command.__name__.lower(): command for command in every}
    if args and args[0] in commands:
        return tyro.cli(commands[args[0]], prog=f"garv {args[0]}", args=args[1:]).run()
    # What is left is help, a mistake, or the shell's completion, which alone has to know all options.
    listed = commands.values() if "--tyro" in "".join(args[:1]) else map(_outline, commands.values())
    description = "Video as a sum of 3D Gaussians over space and time."
    tyro.cli(Union[tuple(listed)], prog="garv", description=description, args=args)  # noqa: UP007
    return 0


def _outline(command: type) -> type:
    """A command without options: to parse all of those takes longer than everything else."""
    return make_dataclass(command.__name__, [], namespace={"__doc__": command.__doc__})


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"garv: {message}\n")
    return code


def _explain(error: Exception) -> str | None:
    """The line for an error that the user can do something about; None for one that is ours."""
    from garv_gsplat.codec import GarvFormatError, MissingLibraryError
    from garv_gsplat.fitting import FitMemoryError
    from garv_gsplat.video import VideoError

    if isinstance(error, (CommandError, FitMemoryError, GarvFormatError, MissingLibraryError, VideoError)):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
    if _out_of_memory(error):
        return "out of memory; give a shorter part of the video (--duration) or fewer Gaussians (--bpp)"
    return None


def _out_of_memory(error: Exception) -> bool:
    import torch

    # torch has no class of its own for the host's memory
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
