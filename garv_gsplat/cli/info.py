"""`garv info`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

if TYPE_CHECKING:
    from garv_gsplat.codec import GarvFile
    from garv_gsplat.volume import VideoInfo


@dataclass
class Info:
    """Check a .garv file and say what is in it, and which kernels decode it here."""

    file: tyro.conf.Positional[Path]
    """the .garv to look into"""
    json: bool = False
    """print JSON"""

    def run(self) -> int:
        """Read all of the file, so that damage is found; the exit code."""
        from garv_gsplat.cli.display import result
        from garv_gsplat.codec import GarvFile
        from garv_gsplat.ops import serving

        file = GarvFile(self.file)
        file.read()
        file.tracks()
        facts = {"file": str(self.file), **_facts(file), "kernels": serving()}
        result(json.dumps(facts, indent=2) if self.json else _text(facts))
        return 0


def _facts(file: GarvFile) -> dict[str, Any]:
    info, size = file.info, file.picture_bytes
    return {
        "format_version": file.version,
        "codec": file.codec,
        "width": info.width,
        "height": info.height,
        "frames": info.frames,
        "channels": info.channels,
        "motion_pixels": _path_length(info),
        "frame_rate": str(info.frame_rate),
        "constant_frame_rate": info.timestamps is None,
        "seconds": round(float(info.duration), 6),
        "num_gaussians": file.num_gaussians,
        "bytes": file.size,
        "track_bytes": file.size - size,
        "bits_per_pixel": file.bits_per_pixel,
        "bits_per_gaussian": 8 * size / file.num_gaussians if file.num_gaussians else None,
        "chunks": len(file.chunks),
        "layer_bytes": _layer_bytes(file),
    }


def _path_length(info: VideoInfo) -> float | None:
    """Pixels that the middle of the Gaussians' plane goes on its way through the frames; None where nothing moves."""
    from garv_gsplat.motion import apply, pixel_maps

    maps = pixel_maps(info)
    if maps is None:
        return None
    path = apply(maps, maps.new_tensor([info.width / 2, info.height / 2]))
    return round(float(path.diff(dim=0).norm(dim=1).sum()), 1)


def _layer_bytes(file: GarvFile) -> list[int]:
    """Bytes of the streams of each layer, the most important one first."""
    layers = [0] * max((len(chunk.streams) for chunk in file.chunks), default=0)
    for chunk in file.chunks:
        for index, stream in enumerate(chunk.streams):
            layers[index] += stream.size
    return layers


def _text(facts: dict[str, Any]) -> str:
    rate = f"{facts['frame_rate']} frames/s" + ("" if facts["constant_frame_rate"] else " on average")
    each, tracks = facts["bits_per_gaussian"], facts["track_bytes"]
    sound = f", {tracks:,} of them sound and subtitles" if tracks else ""
    path = facts["motion_pixels"]
    lines = [
        f"{facts['file']}: format version {facts['format_version']}, {facts['bytes']:,} bytes{sound}, all of it whole",
        f"  video      {facts['width']}x{facts['height']}, {facts['channels']} channels, {facts['frames']} frames, "
        f"{rate}, {facts['seconds']:.2f} s",
        *([] if path is None else [f"  motion     moving: the middle of the picture goes {path:,.1f} pixels"]),
        f"  Gaussians  {facts['num_gaussians']:,}" + (f", {each:.1f} bits each" if each else ""),
        f"  rate       {facts['bits_per_pixel']:.4f} bits per pixel",
        f"  codec      {facts['codec']}, {facts['chunks']} chunks, layers of "
        + ", ".join(f"{size:,}" for size in facts["layer_bytes"])
        + " bytes",
        *(f"  {device:<9}  {state}" for device, state in facts["kernels"].items()),
    ]
    return "\n".join(lines)
