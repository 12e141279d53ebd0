"""One server, two encodings, many viewers: each gets the high quality where it looks, mixed for it and never fitted.

    python examples/04_foveated_stream.py --high high.garv --low low.garv

The encodings are of one video, for example by `garv encode --bpp 0.06` and `--bpp 0.02`.
"""

from __future__ import annotations

import time
from pathlib import Path

import tyro

import garv_gsplat as garv


def main(high: Path, low: Path, output_dir: Path = Path("outputs"), viewers: int = 3) -> None:
    """Mix for some viewers who look here and there, in memory and as files.

    Args:
        high: the .garv of the better quality.
        low: the .garv of the same video in fewer bytes.
        output_dir: folder of the results.
        viewers: how many of them.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    files = [garv.GarvFile(high), garv.GarvFile(low)]
    info = files[0].info

    # The server holds both encodings; where they are held (here the CPU) they are mixed.
    fine, coarse = (file.read() for file in files)
    for viewer in range(viewers):
        gaze = garv.Region.random(info, part=0.04, hold=0.5, seed=viewer)
        start = time.perf_counter()
        mixed = garv.mix(fine, coarse, gaze)
        took = 1000 * (time.perf_counter() - start)
        frame = garv.VideoDecoder(mixed)[info.frames // 2]
        print(f"viewer {viewer}: {len(mixed)} of {len(fine)} Gaussians in {took:.1f} ms, a frame {tuple(frame.shape)}")

    # What is sent is a file like any other: chunks that the gaze leaves as they are are copied, others coded again.
    box = garv.Box.from_pixels(info, info.width // 3, info.height // 3, info.width // 5, info.height // 5)
    made = garv.mix_files(files, [garv.Region([box])])
    path = output_dir / "foveated.garv"
    size = garv.save(path, made.data)
    print(f"{path}: {size:,} bytes; high has {files[0].size:,}, low {files[1].size:,}")

    # A connection that is good for the second half only.
    half = float(info.duration) / 2
    made = garv.switch_files([(0, files[1]), (half, files[0])])
    path = output_dir / "switched.garv"
    print(f"{path}: {garv.save(path, made.data):,} bytes, the better quality from {half:g} s on")


if __name__ == "__main__":
    tyro.cli(main)
