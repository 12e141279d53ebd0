from __future__ import annotations

import math

import pytest
import torch
from nerfstudio.cameras.cameras import Cameras, CameraType
from nerfstudio.data.scene_box import OrientedBox

from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.plugin.cameras import camera_time, frame_cameras, is_frame_camera
from garv_gsplat.plugin.trainer import GarvTrainer
from garv_gsplat.rendering import rasterization
from garv_gsplat.volume import Box, VideoInfo
from tests.plugin.fits import FRAMES


@pytest.fixture
def model(trained: GarvTrainer):
    return trained.pipeline.model.eval()


@pytest.fixture
def gaussians(model) -> VideoGaussians:
    return model.field.gaussians()


def frame_camera(model, frame: int) -> Cameras:
    return frame_cameras(model.field.info)[frame : frame + 1]


def changed(camera: Cameras, **fields) -> Cameras:
    """The camera with some of its numbers replaced."""
    names = ("camera_to_worlds", "fx", "fy", "cx", "cy", "width", "height", "camera_type", "times")
    return Cameras(**{name: fields.get(name, getattr(camera, name)) for name in names})


def test_frame_cameras_see_exactly_the_frame(model, gaussians: VideoGaussians):
    for frame in range(FRAMES):
        outputs = model.get_outputs_for_camera(frame_camera(model, frame))
        expected = rasterization(gaussians, [(frame + 0.5) / FRAMES])[0].clamp(0, 1)
        assert torch.equal(outputs["rgb"], expected)
        assert outputs["accumulation"].min() == 1
        assert outputs["depth"].shape == (48, 64, 1)


def test_looking_up_agrees_with_the_frame(model):
    camera = frame_camera(model, 5)
    nearly = changed(camera, fx=camera.fx * (1 + 1e-6))
    assert not is_frame_camera(nearly, model.field.info)
    a, b = (model.get_outputs_for_camera(c)["rgb"] for c in (camera, nearly))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


def test_zooming_in_renders_the_part_at_the_view_s_resolution(model, gaussians: VideoGaussians):
    camera = frame_camera(model, 5)
    zoomed = changed(camera, fx=camera.fx * 4, fy=camera.fy * 4)
    rgb = model.get_outputs_for_camera(zoomed)["rgb"]
    middle = Box(x0=3 / 8, x1=5 / 8, y0=3 / 8, y1=5 / 8)
    expected = rasterization(gaussians, [5.5 / FRAMES], size=(64, 48), crop=middle)[0].clamp(0, 1)
    torch.testing.assert_close(rgb, expected, rtol=0, atol=1e-3)


def test_panning_shows_black_beside_the_picture(model):
    camera = frame_camera(model, 5)
    pose = camera.camera_to_worlds.clone()
    pose[0, 0, 3] += 64 / 48  # half a picture to the right
    outputs = model.get_outputs_for_camera(changed(camera, camera_to_worlds=pose))
    seen = model.get_outputs_for_camera(camera)["rgb"]
    torch.testing.assert_close(outputs["rgb"][:, :32], seen[:, 32:], rtol=0, atol=1e-3)
    assert outputs["rgb"][:, 32:].abs().max() == 0
    assert outputs["accumulation"][:, 32:].abs().max() == 0
    assert outputs["depth"].isfinite().all()


def test_shrinking_averages(model):
    camera = frame_camera(model, 5)
    small = changed(camera, fx=camera.fx / 4, fy=camera.fy / 4, cx=camera.cx / 4, cy=camera.cy / 4, width=16, height=12)
    small = changed(small, width=torch.tensor([[16]]), height=torch.tensor([[12]]))
    rgb = model.get_outputs_for_camera(small)["rgb"]
    frame = model.get_outputs_for_camera(camera)["rgb"].permute(2, 0, 1)
    averaged = torch.nn.functional.avg_pool2d(frame, 4).permute(1, 2, 0)
    assert (rgb - averaged).abs().mean() < 0.02


@pytest.mark.parametrize("kind", [CameraType.FISHEYE, CameraType.EQUIRECTANGULAR, CameraType.PERSPECTIVE])
def test_any_camera_from_anywhere(model, kind: CameraType):
    camera = frame_camera(model, 0)
    tilted = rotation(0.5) @ camera.camera_to_worlds[0]
    outputs = model.get_outputs_for_camera(
        changed(camera, camera_to_worlds=tilted[None], camera_type=torch.tensor([[kind.value]]))
    )
    assert all(value.isfinite().all() for value in outputs.values())
    assert 0 < outputs["accumulation"].mean() <= 1


def test_looking_away_is_black(model):
    camera = frame_camera(model, 0)
    pose = camera.camera_to_worlds.clone()
    pose[0, :, :3] = rotation(math.pi)
    outputs = model.get_outputs_for_camera(changed(camera, camera_to_worlds=pose))
    assert outputs["rgb"].shape == (48, 64, 3) and outputs["rgb"].abs().max() == 0
    assert outputs["depth"].isfinite().all()


def test_crop_box_of_the_viewer(model):
    box = OrientedBox(torch.eye(3), torch.zeros(3), torch.tensor([1.0, 1.0, 1.0]))
    outputs = model.get_outputs_for_camera(frame_camera(model, 0), obb_box=box)
    assert outputs["accumulation"].sum() == 24 * 24  # half a frame height wide and high


def rotation(angle: float) -> torch.Tensor:
    """About the y axis."""
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


@pytest.mark.parametrize("frames", [1, 7, 101, 1000])
def test_every_frame_has_its_time(frames: int):
    info = VideoInfo(64, 48, frames)
    cameras = frame_cameras(info)
    assert [camera_time(cameras[k : k + 1], info) for k in range(frames)] == info.frame_centers()
    between = changed(cameras[:1], times=torch.tensor([[0.25]]))
    assert camera_time(between, VideoInfo(64, 48, 4)) == 0.25
