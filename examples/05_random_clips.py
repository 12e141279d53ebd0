"""Train on random clips out of .garv files: a random video, start and crop, decoded by the workers of a DataLoader.

    python examples/05_random_clips.py --files outputs/demo_bunny_320x180_48f.garv

Only the pixels of a clip are computed, and there is no key frame to seek to: a start in the middle costs as much as the
first frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
import tyro
from torch.utils.data import DataLoader, IterableDataset

import garv_gsplat as garv


class RandomClips(IterableDataset):
    """Endless clips uint8 [frames, 3, height, width]; every worker draws others."""

    def __init__(self, files: tuple[Path, ...], frames: int, crop: tuple[int, int]) -> None:
        self.files, self.frames, self.crop = files, frames, crop

    def __iter__(self) -> Iterator[torch.Tensor]:
        # Opened where they are used; a file is read when its first clip is drawn.
        decoders = [garv.VideoDecoder(path, device="cpu") for path in self.files]
        while True:  # torch gives every worker a seed of its own
            decoder = decoders[draw(len(decoders))]
            info, (width, height) = decoder.metadata, self.crop
            start = draw(info.frames - self.frames + 1)
            x, y = draw(info.width - width + 1), draw(info.height - height + 1)
            yield decoder.get_frames_in_range(start, start + self.frames, crop=(x, y, width, height)).data


def draw(count: int) -> int:
    """A random number below `count`."""
    return int(torch.randint(count, ()))


def main(files: tuple[Path, ...], frames: int = 5, size: int = 64, batch: int = 4, steps: int = 50, workers: int = 2):
    """Learn to tell the last frame of a clip from those before it.

    Args:
        files: .garv files, for example that of 00_encode_and_decode.py.
        frames: of a clip.
        size: of its crop, columns and rows.
        batch: clips a step.
        steps: of the training.
        workers: processes that decode; "spawn", because decoding uses threads, which do not survive a fork.
    """
    clips = RandomClips(files, frames, (size, size))
    loader = DataLoader(clips, batch, num_workers=workers, multiprocessing_context="spawn" if workers else None)
    model = torch.nn.Conv2d(3 * (frames - 1), 3, kernel_size=5, padding=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step, clip in zip(range(steps), loader):
        clip = clip.float() / 255  # [batch, frames, 3, size, size]
        loss = (model(clip[:, :-1].flatten(1, 2)) - clip[:, -1]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step + 1}/{steps}: loss {loss.item():.4f}")


if __name__ == "__main__":
    tyro.cli(main)
