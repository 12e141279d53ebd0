"""What the viewer gets beside nerfstudio's own controls: a slider over the frames and the button of the volume."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import viser
from nerfstudio.viewer.viewer import VISER_NERFSTUDIO_SCALE_RATIO, Viewer
from nerfstudio.viewer.viewer_elements import ViewerControl

from garv_gsplat.plugin.cameras import CAMERA_DISTANCE
from garv_gsplat.plugin.volume import load_gsplat
from garv_gsplat.volume import VideoInfo

_RESOLUTION = 512, 1024  # pixels at least and at most; nerfstudio takes 512, which is coarser than most videos
_MARGIN = 1.1  # of free space around the picture at first sight
VOLUME = "volume"  # name of the output


def view_resolution(info: VideoInfo) -> int:
    """Pixels of the view's longer side: the video's own, within bounds that a CPU can follow."""
    lowest, highest = _RESOLUTION
    return min(highest, max(lowest, info.width, info.height))


class VideoControls(ViewerControl):
    """Set up by the viewer, which finds it as an attribute of the model."""

    def __init__(self, info: VideoInfo, device: Callable[[], torch.device]) -> None:
        self._info = info
        self._device = device
        self._volume_ready = False

    def _setup(self, viewer: Viewer) -> None:
        """Called by the viewer before it draws its scene."""
        super()._setup(viewer)
        # all frame cameras stand at one place: their pictures would cover the frame
        viewer.config.max_num_display_images = 0
        viewer.hide_images.visible = False
        viewer.control_panel._max_res.value = view_resolution(self._info)
        viewer.viser_server.on_client_connect(self._face_frame)
        gui = viewer.viser_server.gui
        with gui.add_folder("Video", order=-1):
            if self._info.frames > 1:
                self.frame_slider = gui.add_slider("Frame", 0, self._info.frames - 1, 1, 0, hint="Frame to show")
                self.frame_slider.on_update(lambda _: self.show_frame(self.frame_slider.value))
            gui.add_button("Face the frame").on_click(lambda event: event.client and self._face_frame(event.client))
            self._add_volume_button(gui)
        self.show_frame(0)

    def show_frame(self, frame: int) -> None:
        """Move nerfstudio's time, whose slider has only 101 positions, to the centre of a frame."""
        self.viewer.control_panel._time.value = (frame + 0.5) / self._info.frames

    def volume_state(self) -> str:
        """Whether the volume is "off", "ready" to be chosen as an output, or "shown"."""
        if not self._volume_ready:
            return "off"
        panel = self.viewer.control_panel
        shown = panel.output_render == VOLUME or (panel.split and panel.split_output_render == VOLUME)
        return "shown" if shown else "ready"

    def _face_frame(self, client: viser.ClientHandle) -> None:
        """Look straight at the picture, as far away as it takes to see all of it."""
        aspect = self._info.width / self._info.height
        half_height = max(1.0, aspect / client.camera.aspect) * _MARGIN
        distance = half_height / math.tan(client.camera.fov / 2)
        with client.atomic():
            client.camera.up_direction = (0.0, 1.0, 0.0)
            client.camera.position = (0.0, 0.0, max(distance, 0.1 * CAMERA_DISTANCE) * VISER_NERFSTUDIO_SCALE_RATIO)
            client.camera.look_at = (0.0, 0.0, 0.0)

    def _add_volume_button(self, gui: viser.GuiApi) -> None:
        self._volume_button = gui.add_button("Show the volume", hint="The Gaussians over (x, y, t), drawn by gsplat")
        self._volume_note = gui.add_markdown("Draws the Gaussians over (x, y, t). gsplat compiles first: minutes.")
        self._volume_button.on_click(lambda _: self.start_volume())
        if self._device().type != "cuda":
            self._refuse_volume(load_gsplat(self._device()))

    def start_volume(self) -> None:
        """Compile gsplat if need be, offer the output and switch to it; say why where it cannot be."""
        self._volume_button.disabled = True
        self._volume_note.content = "gsplat is being compiled."
        reason = load_gsplat(self._device())
        if reason is not None:
            self._refuse_volume(reason)
            return
        self._volume_ready = True
        self._volume_note.content = f'Choose "{VOLUME}" as the output type. Time runs away from you.'
        output = self.viewer.control_panel._output_render
        output.set_options([*(o for o in output.options if o != VOLUME), VOLUME])
        output.value = VOLUME

    def _refuse_volume(self, reason: str) -> None:
        self._volume_button.disabled = True
        self._volume_note.content = f"The volume cannot be drawn: {reason}"
