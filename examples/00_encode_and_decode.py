"""Fit a video, write it as a .garv, and turn that file into a video again.

    python examples/00_encode_and_decode.py --steps 500

Decoding needs the .garv alone: the source is read only to fit it and to measure what came out.
"""

from __future__ import annotations

from pathlib import Path

import tyro

import garv_gsplat as garv

CLIP = Path(__file__).parent / "data" / "demo_bunny_320x180_48f.mp4"


def main(video: Path = CLIP, output_dir: Path = Path("outputs"), bpp: float = 0.5, steps: int = 1000) -> None:
    """Encode and decode.

    Args:
        video: file or folder of images to fit.
        output_dir: folder of the results.
        bpp: size of the file in bits per pixel of the video.
        steps: steps of the fit; more is better.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    path = output_dir / f"{video.stem}.garv"

    # Runs on a GPU if there is one. `progress` is called every few steps.
    result = garv.encode(
        video,
        path,
        garv.FitConfig(bpp=bpp),
        steps=steps,
        progress=lambda state: print(f"step {state.step}/{state.steps}: {state.psnr:.2f} dB", end="\r"),
    )
    print(f"\n{result}")
    print(f"{result.num_gaussians} Gaussians, {8 * result.bytes / result.num_gaussians:.1f} bits each")

    # A decoder behaves like a sequence of frames; here they are written in batches, with the source's timing.
    decoder = garv.VideoDecoder(path, dimension_order="NHWC")
    copy = output_dir / f"{video.stem}_decoded.mp4"
    with garv.VideoWriter(copy, decoder.metadata) as writer:
        for frames in decoder.frames():
            writer.write(frames)
    print(f"{copy}: {len(decoder)} frames")


if __name__ == "__main__":
    tyro.cli(main)
