"""`ns-export garv`: a trained model becomes a `.garv`.

ns-export has a closed list of subcommands. nerfstudio loads plugins while its exporter module is half imported, so the
list cannot be changed there and then; `add_to_exporter` gives the module a class (documented in the Python reference,
"Customizing module attribute access") whose `entrypoint` adds to the list when the command starts. Only that one
module of that one command is touched. Where it does not work, `python -m garv_gsplat.plugin.export` does the same.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Union, get_args

import tyro
from nerfstudio.utils.rich_utils import CONSOLE

from garv_gsplat.plugin.failure import refuse

if TYPE_CHECKING:
    from garv_gsplat.video import Video

EXPORTER = "nerfstudio.scripts.exporter"
NAME = "garv"


@dataclass
class ExportGarv:
    """Export a fitted video as a .garv file."""

    load_config: Path
    """config.yml of the fit"""
    output_dir: Path
    """folder of the file, which is named after the video"""
    audio: bool = True
    """whether the video's sound and subtitles ride along, untouched; they never count in bits per pixel"""

    def main(self) -> None:
        """Write the file, decode it, and say in one line what came out."""
        # imported while plugins are loaded, it would keep nerfstudio's list of methods as it was before them
        from nerfstudio.utils.eval_utils import eval_setup

        from garv_gsplat import codec
        from garv_gsplat.plugin.pipeline import GarvPipeline
        from garv_gsplat.video import VideoError, check_writable

        if not self.load_config.is_file():
            refuse(f"{self.load_config}: no such file; give the config.yml that ns-train wrote")
        try:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            check_writable(self.output_dir / "video.garv")
        except (OSError, VideoError) as error:
            refuse(f"the file cannot be written to {self.output_dir}: {error}")
        config, pipeline, _, _ = eval_setup(self.load_config, test_mode="inference")
        if not isinstance(pipeline, GarvPipeline):
            refuse(f"{self.load_config} is of method {config.method_name}; ns-export garv takes fits of ns-train garv")
        path = self.output_dir / f"{config.experiment_name}.garv"
        video = _source(pipeline, self.audio)
        codec.save(path, codec.with_tracks(pipeline.model.file(), None if video is None else video.tracks))
        CONSOLE.print(_summary(path, video, pipeline), soft_wrap=True, highlight=False, markup=False)


def _source(pipeline, audio: bool) -> Video | None:
    """The video that was fitted; None where it cannot be read any more, or is of another size."""
    parser = pipeline.datamanager.dataparser
    try:
        video = parser.read_tracks() if audio else parser.read()
    except ValueError:
        return None
    return video if video.info == replace(pipeline.model.field.info, motion=None) else None


def _summary(path: Path, video: Video | None, pipeline) -> str:
    """One line: file, bytes, bpp, PSNR of what was decoded from it, frames per second."""
    from garv_gsplat.measuring import report

    if video is not None:
        return str(report(path, video.frames, pipeline.device))
    missing = pipeline.datamanager.get_datapath()
    return f"{report(path, None, pipeline.device)} (the video that was fitted is not at {missing} any more)"


def add_to_exporter() -> None:
    """Make `ns-export garv` known if this is ns-export, and do nothing if it is not."""
    module = sys.modules.get(EXPORTER)
    if module is not None and not isinstance(module, _Exporter):
        module.__class__ = _Exporter


class _Exporter(types.ModuleType):
    """nerfstudio's exporter module with one more subcommand."""

    @property
    def entrypoint(self) -> Callable[[], None]:
        """What the script ns-export calls."""
        contents = vars(self)
        if "Commands" in contents:  # renamed in another nerfstudio: its own commands then still work
            contents["Commands"] = _with_garv(contents["Commands"])
        return contents["entrypoint"]


def _with_garv(commands: object) -> object:
    """nerfstudio's annotated union of subcommands, with garv among them."""
    union, *annotations = get_args(commands)
    members = get_args(union)
    if any(ExportGarv in get_args(member) for member in members):
        return commands
    added = Annotated[ExportGarv, tyro.conf.subcommand(name=NAME)]
    return Annotated[(Union[(*members, added)], *annotations)]


if __name__ == "__main__":
    tyro.cli(ExportGarv).main()
