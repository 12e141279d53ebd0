"""`garv info`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

if TYPE_CHECKING:
    from garv_gsplat.codec import GarvHeader


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
        from garv_gsplat.codec import load, read_header
        from garv_gsplat.ops import serving

        header = read_header(self.file)
        load(self.file)
        facts = {"file": str(self.file), **_facts(header), "kernels": serving()}
        result(json.dumps(facts, indent=2) if self.json else _text(facts))
        return 0


def _facts(header: GarvHeader) -> dict[str, Any]:
    info = header.info
    return {
        "format_version": header.version,
        "width": info.width,
        "height": info.height,
        "frames": info.frames,
        "channels": info.channels,
        "frame_rate": str(info.frame_rate),
        "constant_frame_rate": info.timestamps is None,
        "seconds": round(float(info.duration), 6),
        "num_gaussians": header.num_gaussians,
        "bytes": header.file_bytes,
        "bits_per_pixel": 8 * header.file_bytes / info.pixels,
        "bits_per_gaussian": 8 * header.file_bytes / header.num_gaussians if header.num_gaussians else None,
        "stream_bytes": dict(header.stream_bytes),
    }


def _text(facts: dict[str, Any]) -> str:
    rate = f"{facts['frame_rate']} frames/s" + ("" if facts["constant_frame_rate"] else " on average")
    each = facts["bits_per_gaussian"]
    lines = [
        f"{facts['file']}: format version {facts['format_version']}, {facts['bytes']:,} bytes, all streams whole",
        f"  video      {facts['width']}x{facts['height']}, {facts['channels']} channels, {facts['frames']} frames, "
        f"{rate}, {facts['seconds']:.2f} s",
        f"  Gaussians  {facts['num_gaussians']:,}" + (f", {each:.1f} bits each" if each else ""),
        f"  rate       {facts['bits_per_pixel']:.4f} bits per pixel",
        "  streams    " + ", ".join(f"{name} {size:,}" for name, size in facts["stream_bytes"].items()) + " bytes",
        *(f"  {device:<9}  {state}" for device, state in facts["kernels"].items()),
    ]
    return "\n".join(lines)
