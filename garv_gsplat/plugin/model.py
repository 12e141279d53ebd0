"""The model: a `GaussianField`, trained by frames, looked at through cameras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.scene_box import OrientedBox
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes
from nerfstudio.models.base_model import Model, ModelConfig
from torch import Tensor
from torch.nn import Parameter

from garv_gsplat import codec
from garv_gsplat.fitting import FitConfig, FitRecipe, GaussianField, finish, gaussians_for
from garv_gsplat.fitting.losses import l2, psnr_tensor
from garv_gsplat.fitting.step import FitStep
from garv_gsplat.metrics import psnr
from garv_gsplat.ops import PairBudget
from garv_gsplat.plugin.cameras import camera_time, is_frame_camera, look, sample
from garv_gsplat.plugin.datamanager import Hidden
from garv_gsplat.plugin.viewer import VOLUME, VideoControls
from garv_gsplat.plugin.volume import render_volume
from garv_gsplat.rendering import rasterization
from garv_gsplat.volume import ColorInfo, VideoInfo

GAUSSIANS = "gaussians"  # the one group of parameters
_STATE = "_extra_state"  # nn.Module's name for what get_extra_state gives


class ResumeError(ValueError):
    """A checkpoint that does not belong to the video being fitted."""


@dataclass
class GarvModelConfig(ModelConfig):
    """A video as a sum of Gaussians over (x, y, t)."""

    _target: type = field(default_factory=lambda: GarvModel)
    """the class this configures"""
    fit: FitConfig = field(default_factory=FitConfig)
    """the fit"""
    target_bpp: float | None = None
    """size of the file in bits per pixel, like fit.bpp; by default the fit's"""
    target_psnr: float | None = None
    """quality of the file in dB, like fit.psnr"""

    # settings of nerfstudio's ray-based models, without a meaning here
    enable_collider: Hidden[bool] = False
    collider_params: Hidden[dict[str, float] | None] = None
    loss_coefficients: Hidden[dict[str, float]] = field(default_factory=dict)
    eval_num_rays_per_chunk: Hidden[int] = 4096
    prompt: Hidden[str | None] = None

    def __post_init__(self) -> None:
        if self.target_bpp is not None:
            self.fit = replace(self.fit, bpp=self.target_bpp)
        if self.target_psnr is not None:
            self.fit = replace(self.fit, psnr=self.target_psnr)


class GarvModel(Model):
    """Renders frames while training; anything a camera can see otherwise."""

    config: GarvModelConfig

    def populate_modules(self) -> None:
        """Build the Gaussians of the video that is being fitted; a checkpoint brings its own."""
        super().populate_modules()
        self.field: GaussianField | None = None
        self._recipe: FitRecipe | None = None
        self._recipe_state: Mapping[str, float] | None = None
        self._file: Tensor | None = None
        self._loss: Tensor | None = None
        info = self.kwargs["metadata"]["video_info"]
        self._fits_a_video = info is not None
        if self._fits_a_video:
            self._build(info, gaussians_for(self.config.fit, info))

    def _build(self, info: VideoInfo, num_gaussians: int) -> None:
        self.field = GaussianField(self.config.fit, info, num_gaussians)
        self._view_budget = PairBudget()
        self.video_controls = VideoControls(info, lambda: self.device)

    # Training

    def get_param_groups(self) -> dict[str, list[Parameter]]:
        """One group, and so one optimizer, of all attributes."""
        return {GAUSSIANS: [self.field.attributes]}

    def get_training_callbacks(
        self, training_callback_attributes: TrainingCallbackAttributes
    ) -> list[TrainingCallback]:
        """Nothing to call: the trainer makes the steps. Starts from the video unless a checkpoint was loaded."""
        trainer = training_callback_attributes.trainer
        optimizer = training_callback_attributes.optimizers.optimizers[GAUSSIANS]
        seen = training_callback_attributes.pipeline.datamanager.training_frames()
        self._recipe = FitRecipe(self.field, trainer.config.max_num_iterations, optimizer, seen)
        if self._recipe_state is None:
            self.field.initialize(seen)
        else:
            self._recipe.load_state_dict(self._recipe_state)
        self._file = None  # that of a checkpoint does not hold what the steps to come will fit
        return []

    def make_steps(self) -> FitStep:
        """The steps of the fit."""
        return FitStep(self._recipe)

    def finish(self) -> None:
        """After the last step: make the file that ns-export writes."""
        data = finish(self.field, self._recipe.seen, self._recipe.mean_loss())
        self._file = torch.frombuffer(bytearray(data), dtype=torch.uint8)

    def file(self) -> bytes:
        """The `.garv` of this model: the finished one, or what the Gaussians at hand give."""
        if self._file is None:
            return codec.encode(self.field.gaussians(), self.config.fit.codec)
        return self._file.numpy().tobytes()

    def show_file(self) -> None:
        """Look at what the file holds from now on, not at what was fitted."""
        if self._file is not None:
            coded = codec.load(self.file()).to(self.device)
            self.field.set_values(*coded.in_pixels(), coded.colors)

    def get_outputs(self, ray_bundle: Tensor) -> dict[str, Tensor]:
        """Frames {"rgb": [B, H, W, C]} at the times [B] in frames that the data manager gives in place of rays."""
        return {"rgb": self.field(ray_bundle)}

    def get_metrics_dict(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The PSNR in dB, a tensor, so that no step waits for the device. Keeps the loss for `get_loss_dict`."""
        self._loss = l2(outputs["rgb"], batch["image"])
        return {"psnr": psnr_tensor(self._loss.detach())}

    def get_loss_dict(
        self, outputs: dict[str, Tensor], batch: dict[str, Tensor], metrics_dict: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """The L2 loss of the outputs that `get_metrics_dict` was given just before."""
        return {"l2": self._loss}

    # Looking at it

    @torch.no_grad()
    def get_outputs_for_camera(self, camera: Cameras, obb_box: OrientedBox | None = None) -> dict[str, Tensor]:
        """What `camera` (a batch of one) sees: "rgb" [H, W, 3], "accumulation" (1 in the picture), "depth" [H, W, 1].

        A frame's own camera sees exactly what the decoder makes of the frame. "volume" is there when it was asked for.
        """
        info, gaussians = self.field.info, self.field.gaussians()
        camera = camera.to(self.device)
        time = camera_time(camera, info)
        sight = look(camera, info, obb_box)
        if obb_box is None and is_frame_camera(camera, info):
            rgb = rasterization(gaussians, [time], pair_budget=self._view_budget)[0].clamp(0, 1)
        elif (crop := sight.crop()) is None:
            rgb = gaussians.colors.new_zeros(*sight.inside.shape, info.channels)
        else:
            box, size = crop
            image = rasterization(gaussians, [time], size=size, crop=box, pair_budget=self._view_budget)
            rgb = sample(image[0].clamp(0, 1), box, sight)
        outputs = {"rgb": rgb, "accumulation": sight.inside[..., None].float(), "depth": sight.depth}
        state = self.video_controls.volume_state()
        if state != "off":
            outputs[VOLUME] = render_volume(gaussians, camera) if state == "shown" else torch.zeros_like(rgb)
        return outputs

    def get_rgba_image(self, outputs: dict[str, Tensor], output_name: str = "rgb") -> Tensor:
        """[H, W, 4], transparent outside of the picture."""
        return torch.cat([outputs[output_name], outputs["accumulation"]], -1)

    def get_image_metrics_and_images(
        self, outputs: dict[str, Tensor], batch: dict[str, Tensor]
    ) -> tuple[dict[str, float], dict[str, Tensor]]:
        """PSNR of a frame rendered, not decoded; and the source beside it."""
        source = batch["image"].to(outputs["rgb"].device)
        rendered = (outputs["rgb"] * 255).round().to(torch.uint8)
        return {"psnr": psnr(rendered[None], source[None])}, {"img": torch.cat([source, rendered], 1) / 255}

    # Checkpoints

    def get_extra_state(self) -> dict:
        """What is saved beside the field, in plain Python: torch.load refuses everything else."""
        recipe = self._recipe_state if self._recipe is None else self._recipe.state_dict()
        info = None if self.field is None else info_to_plain(self.field.info)
        return {"info": info, "recipe": recipe, "file": self._file}

    def set_extra_state(self, state: dict) -> None:
        """The inverse of `get_extra_state`."""
        self._recipe_state, self._file = state["recipe"], state["file"]

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False):
        """Takes the video's size and the number of Gaussians from the state; raises ResumeError for another video's."""
        info = info_from_plain(state_dict[_STATE]["info"])
        if not self._fits_a_video:
            self._build(info, len(state_dict["field.attributes"]))
            self.to(self.device)
        elif (info.width, info.height, info.frames) != (size := _size(self.field.info)):
            raise ResumeError(
                f"the checkpoint is of a video of {_size(info)} (width, height, frames), this one is {size}: "
                "resume with the video that the fit began with"
            )
        else:
            self.field.move(info.motion)
        prefix = "field."
        state = {k[len(prefix) :]: v for k, v in state_dict.items() if k.startswith(prefix)}
        self.set_extra_state(state_dict[_STATE])
        return self.field.load_state_dict(state, strict)


def _size(info: VideoInfo) -> tuple[int, int, int]:
    return info.width, info.height, info.frames


def info_to_plain(info: VideoInfo) -> dict:
    """A VideoInfo in numbers and lists."""
    times, color = info.timestamps, info.color
    return {
        "size": [info.width, info.height, info.frames, info.channels],
        "frame_rate": list(info.frame_rate.as_integer_ratio()),
        "timestamps": None if times is None else [list(t.as_integer_ratio()) for t in times],
        "color": [color.primaries, color.transfer, color.matrix, color.full_range],
        "rotation": info.rotation,
        "motion": None if info.motion is None else [list(row) for row in info.motion],
    }


def info_from_plain(plain: dict) -> VideoInfo:
    """The inverse of `info_to_plain`."""
    width, height, frames, channels = plain["size"]
    times = plain["timestamps"]
    timestamps = None if times is None else tuple(Fraction(*t) for t in times)
    motion = plain.get("motion")  # checkpoints of before there was any have none
    described = (ColorInfo(*plain["color"]), plain["rotation"], motion and tuple(map(tuple, motion)))
    return VideoInfo(width, height, frames, Fraction(*plain["frame_rate"]), timestamps, channels, *described)
