"""nerfstudio's trainer, told how long a fit is, and saying in one line what is wrong with its input."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from nerfstudio.configs.base_config import LoggingConfig, MachineConfig
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackLocation
from nerfstudio.engine.optimizers import OptimizerConfig, Optimizers
from nerfstudio.engine.trainer import Trainer, TrainerConfig
from nerfstudio.utils.rich_utils import CONSOLE
from rich.markup import escape
from torch import Tensor

from garv_gsplat.codec import MissingLibraryError
from garv_gsplat.fitting import FitConfig, FitMemoryError, Preset
from garv_gsplat.fitting.deterministic import deterministic
from garv_gsplat.fitting.losses import psnr_tensor
from garv_gsplat.fitting.optimizer import GaussianAdam
from garv_gsplat.fitting.recipe import adam_for
from garv_gsplat.fitting.step import FitStep
from garv_gsplat.plugin.datamanager import Hidden
from garv_gsplat.plugin.failure import refuse
from garv_gsplat.plugin.model import GAUSSIANS, ResumeError
from garv_gsplat.plugin.pipeline import GarvPipelineConfig
from garv_gsplat.video import VideoError


@dataclass
class GaussianAdamConfig(OptimizerConfig):
    """Adam as every fit uses it; the recipe sets its step sizes before every step."""

    _target: type = GaussianAdam
    """the optimizer"""
    lr: float = 1.0
    """overwritten before every step"""
    fit: FitConfig = field(default_factory=FitConfig)
    """the fit; that of the model"""

    def setup(self, params) -> GaussianAdam:
        """The optimizer of `params`."""
        return adam_for(self.fit, params)


def _optimizers() -> dict[str, Any]:
    return {GAUSSIANS: {"optimizer": GaussianAdamConfig(), "scheduler": None}}


@dataclass
class GarvTrainerConfig(TrainerConfig):
    """A fit of one video."""

    _target: type = field(default_factory=lambda: GarvTrainer)
    """the class this configures"""
    experiment_name: str | None = None
    """folder of the fit in output-dir; the video's name if not given"""
    max_num_iterations: int = Preset("").steps
    """steps in total, those before a resumed checkpoint included"""
    epochs: int | None = None
    """passes over the video; overrides max-num-iterations"""
    pipeline: GarvPipelineConfig = field(default_factory=GarvPipelineConfig)
    """frames and Gaussians"""
    machine: MachineConfig = field(
        default_factory=lambda: MachineConfig(device_type="cuda" if torch.cuda.is_available() else "cpu")
    )
    """where it runs: on a GPU if there is one"""
    logging: LoggingConfig = field(default_factory=lambda: LoggingConfig(steps_per_log=50, profiler="none"))
    """steps between lines, and what is measured"""
    vis: Literal[
        "viewer", "wandb", "tensorboard", "comet", "viewer+wandb", "viewer+tensorboard", "viewer+comet", "viewer_legacy"
    ] = "viewer"
    """which visualizers run: viewer, tensorboard, wandb, comet, or viewer+ one of the others"""
    steps_per_save: int = 2000
    """steps between checkpoints"""
    steps_per_eval_batch: int = 1000
    """steps between losses of a single frame (with tensorboard, wandb or comet)"""
    steps_per_eval_image: int = 1000
    """steps between pictures of a single frame (with tensorboard, wandb or comet)"""
    steps_per_eval_all_images: int = 0
    """steps between evaluations of a whole file, each as long as an ns-eval; 0 for none"""

    # decided by the fit's own settings, or without a meaning here
    optimizers: Hidden[dict[str, Any]] = field(default_factory=_optimizers)
    prompt: Hidden[str | None] = None
    load_scheduler: Hidden[bool] = True
    mixed_precision: Hidden[bool] = False
    use_grad_scaler: Hidden[bool] = False
    gradient_accumulation_steps: Hidden[dict[str, int]] = field(default_factory=dict)

    def steps_for(self, frames: int) -> int:
        """Steps of a fit of `frames` frames."""
        return Preset("", self.pipeline.model.fit, self.max_num_iterations, self.epochs).steps_for(frames)

    def set_experiment_name(self) -> None:
        """The video's own name; nerfstudio would take its folder's."""
        if self.experiment_name is None and (data := self._data()) is not None:
            self.experiment_name = data.name if data.is_dir() else data.stem
        super().set_experiment_name()

    def save_config(self) -> None:
        """Refuse what cannot work; the trainer writes config.yml once the video is read, or a bad one would leave it.

        Paths become absolute, for commands run elsewhere.
        """
        if self._data() is None:
            refuse("no video: give --data with a video file or a folder of images")
        if self.machine.device_type == "cuda" and not torch.cuda.is_available():
            refuse("--machine.device-type cuda: torch sees no GPU here; give cpu, or leave it out")
        if self.steps_for(frames=1) < 1:
            refuse(
                f"a fit has at least 1 step, got --max-num-iterations {self.max_num_iterations}, epochs {self.epochs}"
            )
        for owner in (self, self.pipeline.datamanager, self.pipeline.datamanager.dataparser):
            owner.data = self._data()
        self.output_dir = Path(self.output_dir).expanduser().absolute()
        folder = self.get_base_dir()
        existing = next(parent for parent in folder.parents if parent.exists())
        try:
            with tempfile.TemporaryFile(dir=existing):
                pass
        except OSError as error:
            refuse(f"{folder}: cannot be written ({error.strerror}); choose another folder with --output-dir")

    def write_config(self) -> None:
        """Write config.yml into the fit's folder."""
        super().save_config()

    def discard_config(self) -> None:
        """Remove config.yml and the folders that it alone was in."""
        folder = self.get_base_dir()
        (folder / "config.yml").unlink()
        while folder != self.output_dir and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    def _data(self) -> Path | None:
        manager = self.pipeline.datamanager
        for data in (manager.data, self.data, manager.dataparser.data):
            if data not in (None, Path()):
                return Path(data).expanduser().absolute()
        return None


class GarvTrainer(Trainer):
    """Knows the number of steps once the video is read, and counts those of a resumed checkpoint."""

    config: GarvTrainerConfig

    def __init__(self, config: GarvTrainerConfig, local_rank: int = 0, world_size: int = 1) -> None:
        if world_size > 1:
            refuse("a fit runs on one device: leave --machine.num-devices and --machine.num-machines at 1")
        super().__init__(config, local_rank, world_size)

    def setup(self, test_mode="val") -> None:
        """Bad input ends here: one line, exit code 2, nothing left behind."""
        try:
            with deterministic(self._fit.deterministic):
                super().setup(test_mode)
        except (VideoError, FitMemoryError, MissingLibraryError) as error:
            refuse(str(error))
        except ResumeError as error:
            self.config.discard_config()
            refuse(str(error))
        for note in self.pipeline.datamanager.dataparser.read().notes:
            CONSOLE.print(f"[yellow]note:[/] {escape(note)}")
        self._first_step_at: float | None = None
        self._make_step: FitStep | None = None
        self.callbacks.append(TrainingCallback([TrainingCallbackLocation.BEFORE_TRAIN_ITERATION], self._start_clock))
        self.callbacks.append(TrainingCallback([TrainingCallbackLocation.AFTER_TRAIN], self._say_what_is_next))

    def setup_optimizers(self) -> Optimizers:
        """The first moment at which the video's length is known, and the last before the recipe asks for the steps."""
        self.config.write_config()
        frames = self.pipeline.datamanager.dataparser.read().info.frames
        self.config.max_num_iterations, self.config.epochs = self.config.steps_for(frames), None
        self.config.optimizers[GAUSSIANS]["optimizer"].fit = self._fit
        return super().setup_optimizers()

    @property
    def _fit(self) -> FitConfig:
        return self.config.pipeline.model.fit

    def _load_checkpoint(self) -> None:
        folder, path = self.config.load_dir, self.config.load_checkpoint
        if folder is not None:
            step = "*" if self.config.load_step is None else f"{self.config.load_step:09d}"
            if not any(folder.glob(f"step-{step}.ckpt")):
                raise ResumeError(f"{folder}: no checkpoint step-{step}.ckpt there; give a fit's nerfstudio_models")
        elif path is not None and not path.is_file():
            raise ResumeError(f"{path}: no such checkpoint")
        super()._load_checkpoint()
        if self._start_step >= self.config.max_num_iterations:
            raise ResumeError(
                f"the checkpoint has made {self._start_step} of {self.config.max_num_iterations} steps: "
                "ask for more with --max-num-iterations"
            )

    def train_iteration(self, step: int) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """A step of the fit: loss, losses and metrics, tensors that the next step may overwrite."""
        manager = self.pipeline.datamanager
        if self._make_step is None:
            self._make_step = self.pipeline.model.make_steps()
        loss = self._make_step(step, manager.train_batch(step))
        if step + 1 == self._last_step:
            self.pipeline.model.finish()
        return loss, {"l2": loss}, {"psnr": psnr_tensor(loss)} if self._logs(step) else {}

    def _logs(self, step: int) -> bool:
        return step % self.config.logging.steps_per_log == 0

    def _start_clock(self, step: int) -> None:
        if self._first_step_at is None:
            self._first_step_at = time.perf_counter()

    def _say_what_is_next(self, step: int) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        steps, seconds = step + 1 - self._start_step, time.perf_counter() - self._first_step_at
        CONSOLE.print(f"Fitted: {steps} steps in {seconds:.1f} s")
        config = self.base_dir / "config.yml"
        CONSOLE.print(f"Next: ns-export garv --load-config {escape(str(config))} --output-dir exports", soft_wrap=True)

    def train(self) -> None:
        """Runs to step `max_num_iterations`; Ctrl-C keeps what has been fitted."""
        self._last_step = total = self.config.max_num_iterations
        self.config.max_num_iterations = total - self._start_step  # the trainer counts from where it starts
        try:
            with deterministic(self._fit.deterministic):
                super().train()
        except KeyboardInterrupt:  # also how a viewer is left after the fit
            if self.training_state != "completed":
                self.pipeline.model.finish()
                self.save_checkpoint(self.step)
                CONSOLE.print(
                    f"Stopped at step {self.step}. Go on with --load-dir {self.checkpoint_dir}", soft_wrap=True
                )
        finally:
            self.config.max_num_iterations = total
