"""The camera's motion, found in videos whose motion is known."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from garv_gsplat import FitConfig, VideoDecoder, VideoInfo, fit
from garv_gsplat.fitting.registration import estimate_motion
from garv_gsplat.motion import apply, inverse, pixel_maps

WIDTH, HEIGHT, COUNT = 160, 120, 12


def texture(size: int = 400) -> np.ndarray:
    """Detail of several sizes."""
    random = np.random.default_rng(0)
    layers = (cv2.GaussianBlur(random.normal(size=(size, size, 3)), (0, 0), s) * s for s in (1.5, 4, 12))
    image = sum(layers)
    return np.clip(128 + 45 * image / image.std(), 0, 255).astype(np.uint8)


def camera(kind: str, frame: int) -> np.ndarray:
    """Where a point of the texture is seen [2, 3]."""
    k = frame - COUNT / 2
    scale, angle, x, y = {
        "pan": (1.0, 0.0, 3.3 * k, -1.7 * k),
        "shake": (1.0, 0.01 * (-1) ** frame, 2.0 * (-1) ** frame, 1.3 * np.sin(2.1 * frame)),
        "zoom": (1 + 0.015 * k, 0.008 * k, 0.0, 0.6 * k),
        "still": (1.0, 0.0, 0.0, 0.0),
    }[kind]
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.c_[linear, np.array([WIDTH / 2 + x, HEIGHT / 2 + y]) - linear @ [200, 200]]


def video(kind: str) -> torch.Tensor:
    """[T, H, W, 3] uint8."""
    image = texture()
    frames = [cv2.warpAffine(image, camera(kind, k), (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC) for k in range(COUNT)]
    return torch.from_numpy(np.stack(frames))


def errors(motion, kind: str, frames=range(COUNT)) -> torch.Tensor:
    """Pixels by which what corners of one frame show is missed in another, all frames by the first."""
    maps = pixel_maps(VideoInfo(WIDTH, HEIGHT, COUNT, motion=motion)).double()
    corners = torch.tensor([[x, y] for x in (0.5, WIDTH - 0.5) for y in (0.5, HEIGHT - 0.5)]).double()
    found = []
    for k in frames:
        seen = apply(maps[k], apply(inverse(maps[0]), corners))
        first, now = (np.vstack([camera(kind, j), [0, 0, 1]]) for j in (0, k))
        step = torch.from_numpy(now @ np.linalg.inv(first))
        wanted = (corners - 0.5) @ step[:2, :2].T + step[:2, 2] + 0.5
        found.append((seen - wanted).norm(dim=1).max())
    return torch.stack(found)


@pytest.mark.parametrize("kind", ["pan", "shake", "zoom"])
def test_known_motion_is_found(kind):
    motion = estimate_motion(video(kind), range(COUNT), COUNT)
    assert errors(motion, kind).max() < 0.6  # a chain of eleven steps
    assert errors(motion, kind)[1] < 0.15


def test_frames_that_are_not_seen_lie_between():
    numbers = [0, 2, 4, 6, 8, 10, 11]
    motion = estimate_motion(video("pan")[numbers], numbers, COUNT)
    assert errors(motion, "pan").max() < 0.6


@pytest.mark.parametrize("frames", [video("still"), torch.randint(0, 256, (6, 60, 80, 3), dtype=torch.uint8)])
def test_where_nothing_follows_there_is_no_motion(frames):
    assert estimate_motion(frames, range(len(frames)), len(frames)) is None


def test_a_single_frame_and_flat_ones_have_none():
    assert estimate_motion(video("pan")[:1], [0], 1) is None
    assert estimate_motion(torch.full((4, 40, 50, 1), 77, dtype=torch.uint8), range(4), 4) is None


def test_what_is_seen_lies_within_reach_of_a_file():
    """A pan over more than a file's means may be apart makes the plane smaller."""
    image = np.tile(texture(), (1, 5, 1))
    frames = torch.from_numpy(np.stack([image[100:196, 20 * k : 20 * k + 128] for k in range(30)]))
    motion = estimate_motion(frames, range(30), 30)
    maps = torch.tensor(motion)
    corners = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    seen = apply(inverse(maps)[:, None], corners)
    assert seen.min() > -1 and seen.max() < 2
    assert maps[:, 0].min() > 1.5


def test_the_same_every_time():
    frames = video("zoom")
    assert estimate_motion(frames, range(COUNT), COUNT) == estimate_motion(frames.clone(), range(COUNT), COUNT)


def test_a_fit_follows_the_camera():
    """Of as many Gaussians more comes, and the file shows it."""
    frames, config = video("shake"), FitConfig(num_gaussians=600, batch_frames=4)
    results = [fit(frames, replace(config, global_motion=on), steps=150, device="cpu") for on in (True, False)]
    assert results[0].gaussians.info.motion is not None and results[1].gaussians.info.motion is None
    errors = []
    for result in results:
        decoder = VideoDecoder(result.data, device="cpu", dimension_order="NHWC")
        shown = torch.cat(list(decoder.frames())).float()
        errors.append((shown - frames.float()).square().mean())
    assert errors[0] < 0.7 * errors[1]
