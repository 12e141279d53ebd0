from __future__ import annotations

import pytest
import torch

from garv_gsplat.plugin import viewer as plugin_viewer
from garv_gsplat.plugin.cameras import camera_time, frame_cameras
from garv_gsplat.plugin.trainer import GarvTrainer
from garv_gsplat.volume import VideoInfo
from tests.plugin.fits import FRAMES


@pytest.fixture
def controls(trained: GarvTrainer):
    return trained.pipeline.model.video_controls


def test_slider_reaches_every_frame(trained: GarvTrainer, controls):
    panel = trained.viewer_state.control_panel
    assert trained.viewer_state.include_time
    info = trained.pipeline.model.field.info
    for frame in range(FRAMES):
        controls.show_frame(frame)
        camera = frame_cameras(info)[:1]
        camera.times = torch.tensor([panel.time])
        assert camera_time(camera, info) == (frame + 0.5) / FRAMES
    assert controls.frame_slider.value == 0


def test_scene_has_no_pictures_over_the_frame(trained: GarvTrainer):
    assert trained.viewer_state.camera_handles == {}


def test_resolution_of_the_view_follows_the_video():
    for side, expected in ((64, 512), (720, 720), (3840, 1024)):
        assert plugin_viewer.view_resolution(VideoInfo(side, 48, 1)) == expected


def test_first_camera_faces_the_whole_frame(controls):
    class Camera:
        fov, aspect = 1.0, 0.5

    class Client:
        camera = Camera()

        def atomic(self):
            return torch.no_grad()

    client = Client()
    controls._face_frame(client)
    assert client.camera.look_at == (0.0, 0.0, 0.0) and client.camera.up_direction == (0.0, 1.0, 0.0)
    x, y, z = client.camera.position
    visible_half_width = z / 10 * torch.tan(torch.tensor(0.5)) * 0.5
    assert (x, y) == (0.0, 0.0) and visible_half_width > 64 / 48


def test_volume_is_offered_only_when_gsplat_is_ready(trained: GarvTrainer, controls, monkeypatch: pytest.MonkeyPatch):
    model, panel = trained.pipeline.model, trained.viewer_state.control_panel
    camera = frame_cameras(model.field.info)[:1]
    assert controls._volume_button.disabled and "NVIDIA" in controls._volume_note.content
    assert "volume" not in model.get_outputs_for_camera(camera)

    monkeypatch.setattr(plugin_viewer, "load_gsplat", lambda device: "the compiler is broken")
    controls.start_volume()
    assert "the compiler is broken" in controls._volume_note.content
    assert "volume" not in model.get_outputs_for_camera(camera)

    monkeypatch.setattr(plugin_viewer, "load_gsplat", lambda device: None)
    monkeypatch.setattr("garv_gsplat.plugin.model.render_volume", lambda g, c: torch.ones(48, 64, 3))
    controls.start_volume()
    assert panel.output_render == "volume"
    assert model.get_outputs_for_camera(camera)["volume"].min() == 1
    panel._output_render.value = panel._output_render.options[0]
    assert model.get_outputs_for_camera(camera)["volume"].max() == 0  # not drawn while nobody looks at it
