from __future__ import annotations

import math
import os
import sys

import pytest
import torch
from gsplat.cuda._torch_impl import _fully_fused_projection

from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.plugin import volume
from garv_gsplat.plugin.cameras import CAMERA_DISTANCE, frame_cameras
from garv_gsplat.volume import VideoInfo

INFO = VideoInfo(64, 48, 12)


@pytest.fixture
def gaussians() -> VideoGaussians:
    generator = torch.Generator().manual_seed(0)
    cholesky = torch.rand(5, 6, generator=generator) * 0.2 + 0.05
    return VideoGaussians(torch.rand(5, 3, generator=generator), cholesky, torch.randn(5, 3, generator=generator), INFO)


def test_covariances_are_those_of_the_samples(gaussians: VideoGaussians):
    means, covars = volume.world_gaussians(gaussians)
    noise = torch.randn(200_000, 3, generator=torch.Generator().manual_seed(1))
    for n in range(len(gaussians)):
        l_tt, l_xt, l_yt, l_xx, l_yx, l_yy = gaussians.cholesky[n]
        t = l_tt * noise[:, 0]
        x = l_xt * noise[:, 0] + l_xx * noise[:, 1]
        y = l_yt * noise[:, 0] + l_yx * noise[:, 1] + l_yy * noise[:, 2]
        u, v, w = (gaussians.means[n] + torch.stack([x, y, t], 1)).unbind(1)
        world = torch.stack([(2 * u - 1) * 64 / 48, 1 - 2 * v, 1 - 2 * w], 1)
        # the mean of 200 000 samples is off by a few thousandths of their deviation
        torch.testing.assert_close(world.mean(0), means[n], rtol=0, atol=5e-3)
        torch.testing.assert_close(torch.cov(world.T), covars[n], rtol=0.02, atol=2e-3)


def test_frame_camera_sees_the_cloud_where_the_frame_is(gaussians: VideoGaussians):
    """At the middle of the video, by gsplat's own projection in plain torch."""
    gaussians.means[:, 2] = 0.5
    means, conics, depths = project(gaussians)
    torch.testing.assert_close(means, gaussians.means[:, :2] * torch.tensor([64.0, 48.0]), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(depths, torch.full((5,), CAMERA_DISTANCE))


def test_frame_camera_sees_the_shape_of_the_slice(gaussians: VideoGaussians):
    """In the middle of the picture, where time runs along the axis of view and changes nothing."""
    gaussians.means[:] = 0.5
    gaussians.cholesky[:, 1:3] = 0
    _, conics, _ = project(gaussians)
    l_xx, l_yx, l_yy = (gaussians.cholesky[:, k] * size for k, size in ((3, 64), (4, 48), (5, 48)))
    covars = torch.stack([l_xx**2, l_xx * l_yx, l_xx * l_yx, l_yx**2 + l_yy**2], 1).reshape(5, 2, 2)
    expected = torch.linalg.inv(covars)
    torch.testing.assert_close(conics, expected[:, [0, 0, 1], [0, 1, 1]], rtol=1e-3, atol=1e-6)


def project(gaussians: VideoGaussians) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Means [N, 2], conics [N, 3] and depths [N] in the frame camera's image."""
    camera = frame_cameras(INFO)[:1]
    means, covars = volume.world_gaussians(gaussians)
    views, intrinsics = volume._view_matrix(camera)[None], camera.get_intrinsics_matrices()
    _, means2d, depths, conics, _ = _fully_fused_projection(means, covars, views, intrinsics, 64, 48, eps2d=0.0)
    return means2d[0], conics[0], depths[0]


def test_gsplat_gets_covariances(gaussians: VideoGaussians, monkeypatch: pytest.MonkeyPatch):
    seen = {}

    def rasterization(**arguments):
        seen.update(arguments)
        return torch.full((1, arguments["height"], arguments["width"], 3), 2.0), None, {}

    monkeypatch.setattr("gsplat.rasterization", rasterization)
    image = volume.render_volume(gaussians, frame_cameras(INFO)[:1])
    assert image.shape == (48, 64, 3) and image.max() == 1
    shapes = {name: tuple(value.shape) for name, value in seen.items() if isinstance(value, torch.Tensor)}
    assert shapes == {
        "means": (5, 3),
        "opacities": (5,),
        "colors": (5, 3),
        "viewmats": (1, 4, 4),
        "Ks": (1, 3, 3),
        "covars": (5, 3, 3),
    }
    assert seen["quats"] is None and seen["scales"] is None
    assert seen["colors"].min() >= 0 and seen["colors"].max() <= 1
    focal = CAMERA_DISTANCE * 48 / 2
    assert math.isclose(float(seen["Ks"][0, 0, 0]), focal, rel_tol=1e-6)


def test_reasons_why_not(monkeypatch: pytest.MonkeyPatch):
    assert "NVIDIA" in volume.load_gsplat(torch.device("cpu"))
    monkeypatch.setitem(sys.modules, "gsplat.cuda._backend", None)  # importing it now fails
    assert "could not be compiled" in volume.load_gsplat(torch.device("cuda"))


@pytest.mark.cuda
def test_gsplat_draws_the_cloud(gaussians: VideoGaussians):
    reason = volume.load_gsplat(torch.device("cuda"))
    if reason is not None and os.environ.get("FAIL_WITHOUT_CUDA") != "1":
        pytest.skip(reason)
    assert reason is None
    image = volume.render_volume(gaussians.to("cuda"), frame_cameras(INFO)[:1].to("cuda"))
    assert image.shape == (48, 64, 3) and image.isfinite().all() and image.max() > 0
