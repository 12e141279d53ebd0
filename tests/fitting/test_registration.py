"""The camera's motion, found in videos whose motion is known."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from garv_gsplat import FitConfig, VideoDecoder, VideoInfo, codec, fit
from garv_gsplat.fitting import refine, registration, seen_frames
from garv_gsplat.fitting.initialization import draw_from_video
from garv_gsplat.fitting.registration import estimate_motion
from garv_gsplat.motion import apply, inverse, pixel_maps

WIDTH, HEIGHT, COUNT = 160, 120, 12


def texture(size: int = 400, seed: int = 0) -> np.ndarray:
    """Detail of several sizes."""
    random = np.random.default_rng(seed)
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


def video(kind: str, seed: int = 0) -> torch.Tensor:
    """[T, H, W, 3] uint8. Sampled in floating point: OpenCV's own warp rounds places to a thirty-second of a pixel."""
    image = torch.from_numpy(texture(seed=seed)).double().permute(2, 0, 1)[None]
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    frames = []
    for k in range(COUNT):
        back = np.linalg.inv(np.vstack([camera(kind, k), [0, 0, 1]]))[:2]
        places = torch.from_numpy(np.stack([x, y, np.ones_like(x)], -1) @ back.T)
        grid = (places + 0.5) / image.shape[-1] * 2 - 1
        frames.append(F.grid_sample(image, grid[None], mode="bicubic", align_corners=False)[0].permute(1, 2, 0))
    return torch.stack(frames).round().clamp(0, 255).to(torch.uint8)


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
    assert errors(motion, kind).max() < 0.3  # a chain of eleven steps
    assert errors(motion, kind)[1] < 0.1


@pytest.mark.parametrize("channels", [1, 4])
def test_any_number_of_channels_is_looked_at(channels):
    frames = video("shake").float().mean(3, keepdim=True).round().to(torch.uint8).expand(-1, -1, -1, channels)
    assert errors(estimate_motion(frames, range(COUNT), COUNT), "shake").max() < 0.3


def test_a_blurred_frame_goes_on_with_those_beside_it():
    """Of the frame in the middle nothing can be tracked."""
    frames = video("pan")
    middle = frames[6].float()
    frames[6] = torch.stack([middle.roll(k, 1) for k in range(-20, 21)]).mean(0).to(torch.uint8)
    found = errors(estimate_motion(frames, range(COUNT), COUNT), "pan")
    assert found.max() < 2.0  # of 40 pixels


def test_past_a_cut_the_plane_stands_still():
    frames = torch.cat([video("shake"), video("shake", seed=1)])
    motion = estimate_motion(frames, range(2 * COUNT), 2 * COUNT)
    assert motion[COUNT] == motion[COUNT - 1]
    assert errors(motion[:COUNT], "shake").max() < 0.3 and errors(motion[COUNT:], "shake").max() < 0.3


def test_frames_that_are_not_seen_lie_between():
    numbers = [0, 2, 4, 6, 8, 10, 11]
    motion = estimate_motion(video("pan")[numbers], numbers, COUNT)
    assert errors(motion, "pan").max() < 0.6


def noisy(frames: torch.Tensor, sigma: float) -> torch.Tensor:
    noise = torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    return (frames + sigma * noise).round().clamp(0, 255).to(torch.uint8)


def test_what_few_corners_follow_is_looked_at_with_fewer_lines(monkeypatch):
    """The largest corners of large noisy frames are the noise's; of fewer lines it is less than what moves."""
    frames = F.interpolate(video("shake").permute(0, 3, 1, 2).float(), scale_factor=4, mode="bicubic")
    frames = noisy(frames.permute(0, 2, 3, 1), 30)
    assert errors(estimate_motion(frames, range(COUNT), COUNT), "shake").max() < 0.3
    monkeypatch.setattr(registration, "_LINES", (540,))
    assert estimate_motion(frames, range(COUNT), COUNT) is None


@pytest.mark.parametrize("frames", [video("still"), noisy(video("still"), 10), noisy(torch.zeros(6, 60, 80, 3), 128)])
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


def test_the_same_every_time(monkeypatch):
    """Whatever the number of threads, ours and OpenCV's."""
    frames, threads = video("zoom"), cv2.getNumThreads()
    first = estimate_motion(frames, range(COUNT), COUNT)
    monkeypatch.setattr(registration.os, "cpu_count", lambda: 1)
    try:
        cv2.setNumThreads(1)
        assert estimate_motion(frames.clone(), range(COUNT), COUNT) == first
    finally:
        cv2.setNumThreads(threads)


def test_gaussians_are_drawn_where_frames_show_them():
    """A dot on black: all that is drawn by it lies at one place of the plane, as large as the plane is drawn small."""
    maps = pixel_maps(VideoInfo(WIDTH, HEIGHT, COUNT, motion=[(1.6, 0, 0, 1.6, 0.03 * k, 0.0) for k in range(COUNT)]))
    place = apply(maps, torch.tensor([40.0, 30.0]))
    frames = torch.zeros(COUNT, HEIGHT, WIDTH, 3, dtype=torch.uint8)
    for k, (x, y) in enumerate(place.tolist()):
        frames[k, int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3] = 255
    seen = seen_frames(frames, FitConfig())
    still, moving = (draw_from_video(seen, 2000, 0, m) for m in (None, maps))
    near = (moving[0][:, :2] - torch.tensor([40.0, 30.0])).abs().amax(1) < 7
    assert near.float().mean() > 0.8
    assert torch.allclose(moving[1][:, 3].sort().values, still[1][:, 3].sort().values / 1.6, rtol=1e-4)


def test_a_fit_sees_no_motion_of_frames_that_are_held_out():
    frames, config = video("shake"), FitConfig(num_gaussians=50, hold_out=2, batch_frames=4)
    other = frames.clone()
    other[1:-1:2] = 0
    one, two = (fit(f, config, steps=1, device="cpu").gaussians.info for f in (frames, other))
    assert one.motion is not None and one == two


def test_a_smaller_file_and_a_later_fit_keep_the_motion():
    frames, config = video("shake"), FitConfig(size=6000, batch_frames=4)
    whole = fit(frames, config, steps=20, device="cpu")
    assert whole.gaussians.info.motion is not None
    assert refine(codec.GarvFile(whole.data), 3500, 5, device="cpu").gaussians.info == whole.gaussians.info
    later = fit(frames, config, start=whole.gaussians, steps=1, device="cpu")
    assert later.gaussians.info == whole.gaussians.info
    with pytest.raises(ValueError, match="gaussian-image keeps means inside"):
        fit(frames, replace(config, parametrization="gaussian-image"), start=whole.gaussians, steps=1, device="cpu")


@pytest.mark.parametrize("settings", [{"global_motion": False}, {"parametrization": "gaussian-image"}])
def test_motion_is_left_alone(settings):
    result = fit(video("shake"), FitConfig(num_gaussians=50, batch_frames=4, **settings), steps=1, device="cpu")
    assert result.gaussians.info.motion is None


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
