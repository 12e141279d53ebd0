"""The Gaussians as what they are, a cloud over (x, y, t), drawn by gsplat.

The cloud stands in nerfstudio's world around the plane of the frames (see `cameras`): time runs along z, from 1 at the
video's start, nearest to the frame cameras, to -1 at its end.
"""

from __future__ import annotations

import torch
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.volume import VideoInfo

OPACITY = 0.15  # of every Gaussian; they add up to a frame, so each must let most of what is behind it through


def load_gsplat(device: torch.device) -> str | None:
    """Make gsplat ready, which compiles it at its first use (minutes); the reason why not, or None when it is."""
    if device.type != "cuda":
        return f"gsplat draws on NVIDIA GPUs only, and this runs on the {device.type.upper()}."
    try:
        from gsplat.cuda._backend import _C
    except Exception as error:  # whatever a compiler or a missing toolkit makes torch raise is a reason to show
        return f"gsplat could not be compiled: {error}"
    if _C is None:
        return "gsplat needs the CUDA toolkit to compile itself: nvcc was not found on PATH."
    return None


def world_gaussians(gaussians: VideoGaussians) -> tuple[Tensor, Tensor]:
    """Means [N, 3] and covariances [N, 3, 3] over nerfstudio's x, y, z."""
    scale = gaussians.means.new_tensor(_world_scale(gaussians.info))
    means = (gaussians.means - 0.5) * scale
    l_tt, l_xt, l_yt, l_xx, l_yx, l_yy = gaussians.cholesky.unbind(1)
    zero = torch.zeros_like(l_tt)
    rows = [(l_xt, l_xx, zero), (l_yt, l_yx, l_yy), (l_tt, zero, zero)]  # of L, in the order x, y, t
    factor = torch.stack([torch.stack(row, -1) for row in rows], 1) * scale[:, None]
    return means, factor @ factor.mT


def render_volume(gaussians: VideoGaussians, camera: Cameras) -> Tensor:
    """The cloud as `camera` (a batch of one, perspective) sees it: [H, W, 3] in [0, 1]."""
    from gsplat import rasterization

    means, covars = world_gaussians(gaussians)
    height, width = int(camera.height.reshape(-1)[0]), int(camera.width.reshape(-1)[0])
    images, _, _ = rasterization(
        means=means,
        quats=None,
        scales=None,
        opacities=torch.full_like(means[:, 0], OPACITY),
        colors=_visible_colors(gaussians.colors),
        viewmats=_view_matrix(camera)[None],
        Ks=camera.get_intrinsics_matrices().reshape(1, 3, 3).to(means),
        width=width,
        height=height,
        covars=covars,
    )
    return images[0].clamp(0, 1)


def _world_scale(info: VideoInfo) -> tuple[float, float, float]:
    """What the unit cube's x, y and t, taken from its middle, are multiplied with to become x, y and z."""
    return 2 * info.width / info.height, -2.0, -2.0


def _visible_colors(colors: Tensor) -> Tensor:
    """RGB [N, 3] in [0, 1] of colours that are parts of a sum and may be negative."""
    gray_or_rgb = colors[:, :3] if colors.shape[1] >= 3 else colors[:, :1].expand(-1, 3)
    return (gray_or_rgb / gray_or_rgb.abs().mean().clamp(min=1e-6) / 2).clamp(0, 1)


def _view_matrix(camera: Cameras) -> Tensor:
    """World to camera [4, 4] with y down and z ahead, as gsplat wants it."""
    pose = torch.eye(4, device=camera.camera_to_worlds.device)
    pose[:3] = camera.camera_to_worlds.reshape(3, 4)
    pose[:, 1:3] *= -1
    return torch.linalg.inv(pose)
