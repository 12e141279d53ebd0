"""The fitting loop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from garv_gsplat import codec
from garv_gsplat.fitting.config import PRESETS, FitConfig
from garv_gsplat.fitting.deterministic import deterministic
from garv_gsplat.fitting.field import GaussianField
from garv_gsplat.fitting.finishing import finish
from garv_gsplat.fitting.losses import psnr_of
from garv_gsplat.fitting.memory import check_memory
from garv_gsplat.fitting.rate import gaussians_for
from garv_gsplat.fitting.recipe import FitRecipe, build_optimizer
from garv_gsplat.fitting.sampling import FrameSampler
from garv_gsplat.fitting.seen import SeenFrames, seen_frames
from garv_gsplat.fitting.step import FitStep
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.video import Video, video_from_array
from garv_gsplat.volume import VideoInfo

REPORT_EVERY = 25  # steps; reading the loss waits for the device


@dataclass(frozen=True)
class FitProgress:
    """Where a fit stands."""

    step: int
    steps: int
    psnr: float
    """dB of the last batch, before clamping and rounding to 8 bits"""


@dataclass(frozen=True)
class FitResult:
    """What a fit came to."""

    data: bytes
    """the `.garv` file, without sound"""
    gaussians: VideoGaussians
    """those in the file"""
    steps: int
    """steps that were made"""
    seconds: float
    """from the first step to the finished file"""
    interrupted: bool
    """whether Ctrl-C ended it early"""


def fit(
    video: Video | Tensor,
    config: FitConfig | None = None,
    *,
    start: VideoGaussians | None = None,
    steps: int | None = None,
    device: torch.device | str | None = None,
    progress: Callable[[FitProgress], None] | None = None,
) -> FitResult:
    """Fit a video.

    video: a `Video`, or uint8 frames [T, H, W, C] as a torch tensor or a NumPy array.
    start: Gaussians of a video of the same size to start from; by default they are drawn where the video has detail.
    steps: steps to make; the preset "garv"'s by default.
    device: where to fit; a GPU if there is one.
    progress: called every few steps.

    Raises FitMemoryError before it starts when it would not fit into memory, MissingLibraryError where the codec needs
    what is not installed. Ctrl-C ends it early and is no error: the result is what has been fitted so far, rounded.
    """
    video = video if isinstance(video, Video) else video_from_array(video)
    config = config or FitConfig()
    if steps is not None and steps < 0:
        raise ValueError(f"steps must not be negative, got {steps}")
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    steps = PRESETS["garv"].steps_for(video.info.frames) if steps is None else steps
    codec.find_codec(config.codec).check()
    check_memory(video.info, config, device, frames_read=True)
    with deterministic(config.deterministic):
        return _fit(video, config, start, steps, device, progress)


def _fit(
    video: Video,
    config: FitConfig,
    start: VideoGaussians | None,
    steps: int,
    device: torch.device,
    progress: Callable[[FitProgress], None] | None,
) -> FitResult:
    seen = seen_frames(video.frames, config).to(device)
    field = _field(seen, video.info, config, start)
    recipe = FitRecipe(field, steps, build_optimizer(field), seen)
    begun = time.perf_counter()
    with _interruptible() as interrupted:
        done = _run(recipe, interrupted, progress)
        data = finish(field, seen, recipe.mean_loss())
    seconds = time.perf_counter() - begun
    return FitResult(data, codec.load(data), done, seconds, interrupted.is_set())


def _field(seen: SeenFrames, info: VideoInfo, config: FitConfig, start: VideoGaussians | None) -> GaussianField:
    """What is fitted to frames, on their device."""
    device = seen.frames.device
    if start is None:
        field = GaussianField(config, info, gaussians_for(config, info)).to(device)
        field.initialize(seen)
        return field
    size, wanted = ((i.width, i.height, i.frames, i.channels) for i in (start.info, info))
    if size != wanted:
        raise ValueError(f"start must be of the video's width, height, frames and channels, {wanted}, got {size}")
    field = GaussianField(config, replace(info, motion=start.info.motion), len(start)).to(device)
    start = start.to(device)
    field.set_values(*start.in_pixels(), start.colors)
    return field


def _run(
    recipe: FitRecipe,
    interrupted: threading.Event,
    progress: Callable[[FitProgress], None] | None,
) -> int:
    """Make the steps; returns how many were made."""
    config, steps, seen = recipe.config, recipe.steps, recipe.seen
    sampler = FrameSampler(len(seen), config.batch_frames, config.seed, seen.frames.device)
    make_step = FitStep(recipe)
    for step in range(steps):
        if interrupted.is_set():
            return step
        loss = make_step(step, sampler.batch(step))
        if progress and (step % REPORT_EVERY == 0 or step + 1 == steps):
            progress(FitProgress(step + 1, steps, psnr_of(float(loss))))
    return steps


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event that is looked at between two steps; a second one is as usual."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only the main thread gets signals
        yield event
        return
    previous = signal.getsignal(signal.SIGINT)

    def stop(*_) -> None:
        event.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, stop)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, previous)
