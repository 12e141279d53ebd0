from __future__ import annotations

from pathlib import Path
from threading import Lock

import numpy as np
import pytest
import torch
from nerfstudio.configs.base_config import ViewerConfig
from nerfstudio.utils.eval_utils import eval_setup
from nerfstudio.viewer.viewer import Viewer

from garv_gsplat import codec
from garv_gsplat.fitting import field
from garv_gsplat.fitting.memory import FitMemoryError
from garv_gsplat.plugin.export import ExportGarv
from garv_gsplat.plugin.trainer import GarvTrainer
from garv_gsplat.volume import VideoInfo
from tests import media
from tests.plugin.fits import FRAMES, GAUSSIANS, STEPS, Configure, free_port, start


def checkpoint(trainer: GarvTrainer) -> dict:
    (path,) = trainer.checkpoint_dir.glob("*.ckpt")
    return torch.load(path, weights_only=True)


def test_fit_is_named_after_the_video_and_found_from_anywhere(trained: GarvTrainer, clip: Path):
    assert trained.base_dir.parts[-3:-1] == ("clip", "garv")
    assert trained.base_dir.is_absolute()
    text = (trained.base_dir / "config.yml").read_text()
    assert text.count(clip.name) >= 1 and str(trained.base_dir.parts[1]) in text


def test_fit_lowers_the_loss(trained: GarvTrainer, configure: Configure):
    frames = trained.pipeline.datamanager.training_frames().frames / 255
    times = torch.arange(FRAMES) + 0.5
    errors = [(t.pipeline.model.field(times) - frames).square().mean() for t in (start(configure()), trained)]
    assert errors[1] < errors[0] / 4


def test_checkpoint_is_plain_and_complete(trained: GarvTrainer):
    state = checkpoint(trained)
    assert state["step"] == STEPS - 1
    assert state["pipeline"]["_model._extra_state"]["info"]["size"] == [64, 48, FRAMES, 3]
    assert codec.GarvFile(state["pipeline"]["_model._extra_state"]["file"].numpy().tobytes()).num_gaussians > 0
    assert set(state["optimizers"]) == {"gaussians"}


def test_resuming_goes_on_as_if_it_had_not_stopped(configure: Configure):
    whole = start(configure())
    whole.train()
    # the first 20 of 30 steps, as a checkpoint of the same fit would hold them
    part = start(configure(steps_per_save=20, save_only_latest_checkpoint=False))
    part.train()
    resumed = start(configure(load_dir=part.checkpoint_dir, load_step=20))
    assert resumed._start_step == 21
    resumed.train()
    assert checkpoint(resumed)["step"] == STEPS - 1
    assert whole.pipeline.model.file() == resumed.pipeline.model.file()


def test_a_camera_that_moves_is_found_once_and_kept(configure: Configure, tmp_path: Path, monkeypatch, capfd):
    """A checkpoint brings the motion back: it is not looked for again, and the file has it."""
    image = np.repeat(np.repeat(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8), 4, 0), 4, 1)
    frames = np.stack([image[40 + 3 * (k % 2) : 88 + 3 * (k % 2), 5 * k : 5 * k + 64] for k in range(8)])
    folder = media.make_images(tmp_path / "moving", frames)
    part = start(configure(data=folder, steps_per_save=20, save_only_latest_checkpoint=False))
    part.train()
    motion = part.pipeline.model.field.info.motion
    assert motion is not None and codec.load(part.pipeline.model.file()).info.motion == motion
    monkeypatch.setattr(field, "estimate_motion", None)
    resumed = start(configure(data=folder, load_dir=part.checkpoint_dir, load_step=20))
    resumed.train()
    assert resumed.pipeline.model.field.info.motion == motion
    assert resumed.pipeline.model.file() == part.pipeline.model.file()
    ExportGarv(part.base_dir / "config.yml", tmp_path).main()
    assert "the video that was fitted is not" not in capfd.readouterr().out
    assert codec.load(tmp_path / "moving.garv").info.motion == motion


def test_frames_that_are_held_out_are_not_fitted_but_looked_at(configure: Configure):
    config = configure(steps=3)
    config.pipeline.model.fit.hold_out = 2
    trainer = start(config)
    manager = trainer.pipeline.datamanager
    assert manager.training_frames().times.tolist() == [0.5, 2.5, 4.5, 6.5, 8.5, 10.5, 11.5]
    times, batch = manager.next_train(0)
    assert {*times.tolist()} <= {*manager.training_frames().times.tolist()}
    looked_at = [manager.next_eval_image(0)[1]["image"] for _ in range(2)]
    assert torch.equal(looked_at[1].cpu(), manager.dataparser.read().frames[1])
    trainer.train()
    assert len(trainer.pipeline.model.file()) > 0


def test_a_fit_that_denoises_ends_in_a_file(configure: Configure):
    config = configure(steps=10)
    config.pipeline.model.fit.num_gaussians, config.pipeline.model.fit.denoise = None, True
    trainer = start(config)
    trainer.train()
    assert len(trainer.pipeline.model.file()) > 0


def test_deterministic_fits_give_the_same_file(configure: Configure, device: torch.device):
    files = []
    for _ in range(2):
        config = configure()
        config.machine.device_type = device.type
        config.pipeline.model.fit.deterministic = True
        trainer = start(config)
        trainer.train()
        files.append(trainer.pipeline.model.file())
    assert files[0] == files[1]
    assert not torch.are_deterministic_algorithms_enabled()


def test_paper_preset_counts_epochs_and_keeps_its_plateau(configure: Configure):
    first = start(configure("garv-paper", epochs=6))
    assert first.config.max_num_iterations == 6  # one batch of 16 holds all 12 frames
    first.train()
    plateau = checkpoint(first)["pipeline"]["_model._extra_state"]["recipe"]
    assert 0 < plateau["best"] < 10
    more = start(configure("garv-paper", epochs=8, load_dir=first.checkpoint_dir))
    assert more.pipeline.model._recipe.state_dict() == plateau


def test_ctrl_c_keeps_what_is_fitted(configure: Configure, monkeypatch: pytest.MonkeyPatch):
    trainer = start(configure())
    step = trainer.train_iteration
    monkeypatch.setattr(trainer, "train_iteration", lambda k: step(k) if k < 5 else raise_interrupt())
    trainer.train()
    assert checkpoint(trainer)["step"] == 5
    assert checkpoint(trainer)["pipeline"]["_model._extra_state"]["file"] is not None


def test_a_fit_by_rate_changes_the_number_of_gaussians_and_goes_on(configure: Configure):
    config = configure(steps=40, steps_per_eval_batch=5, steps_per_save=30, save_only_latest_checkpoint=False)
    config.pipeline.model.fit.num_gaussians, config.pipeline.model.fit.bpp = None, 1.5
    trainer = start(config)
    before = len(trainer.pipeline.model.field)
    trainer.train()
    assert len(trainer.pipeline.model.field) != before
    assert 8 * len(trainer.pipeline.model.file()) <= 1.5 * 64 * 48 * FRAMES
    config = configure(steps=40, load_dir=trainer.checkpoint_dir, load_step=30)
    config.pipeline.model.fit.num_gaussians, config.pipeline.model.fit.bpp = None, 1.5
    resumed = start(config)
    resumed.train()
    assert resumed.pipeline.model.file() == trainer.pipeline.model.file()


def raise_interrupt() -> None:
    raise KeyboardInterrupt


def test_evaluation_is_of_the_decoded_file(config_path: Path, tmp_path: Path):
    _, pipeline, _, _ = eval_setup(config_path)
    results = pipeline.get_average_eval_image_metrics(output_path=tmp_path, get_std=True)
    memory = "decoding_cuda_mb" if torch.cuda.is_available() else "process_mb"
    names = {"psnr", "psnr_std", "temporal_consistency", "bpp", "fps", memory}
    assert set(results) == names  # too small for MS-SSIM
    assert results["psnr"] > 15 and results["fps"] > 0 and results[memory] > 0
    bits = results["bpp"] * 64 * 48 * FRAMES
    assert bits == pytest.approx(round(bits)) and 40 * GAUSSIANS < bits < 200 * GAUSSIANS
    assert len(list(tmp_path.glob("eval_img_*.png"))) == FRAMES


def test_evaluation_has_ms_ssim_where_it_is_defined(configure: Configure, tmp_path: Path):
    video = media.make_video(tmp_path / "large.mp4", media.pattern(2, 176, 164))
    trainer = start(configure(data=video, steps=10))
    trainer.train()
    results = trainer.pipeline.get_average_eval_image_metrics()
    assert 0 < results["ms_ssim"] <= 1
    assert "psnr_std" not in results


def test_evaluation_without_the_video_says_so(configure: Configure, tmp_path: Path, capfd):
    video = media.make_video(tmp_path / "moves.mp4")
    trainer = start(configure(data=video, steps=2))
    trainer.train()
    video.rename(tmp_path / "moved.mp4")
    _, pipeline, _, _ = eval_setup(trainer.base_dir / "config.yml")
    assert pipeline.model.field.info == VideoInfo(64, 48, FRAMES)
    assert len(pipeline.datamanager.train_dataset.cameras) == FRAMES
    viewer = Viewer(ViewerConfig(websocket_port=free_port()), tmp_path / "log", video, pipeline, train_lock=Lock())
    viewer.viser_server.stop()  # the viewer comes up without the video
    with pytest.raises(SystemExit) as stop:
        pipeline.get_average_eval_image_metrics()
    assert stop.value.code == 2
    assert "moves.mp4" in capfd.readouterr().err


BAD = {
    "missing.mp4": lambda path: path,
    "text.mp4": media.make_text,
    "empty.mp4": media.make_empty,
    "sound.mp4": media.make_audio_only,
    "noise.mp4": media.make_undecodable,
    "mixed": media.make_mixed_images,
}


@pytest.mark.parametrize("name", BAD)
def test_bad_video_is_one_line_and_leaves_nothing(name: str, configure: Configure, tmp_path: Path, capfd):
    config = configure(data=BAD[name](tmp_path / name))
    refused(config, capfd, name)
    assert list(config.output_dir.iterdir()) == []


def refused(config, capfd, *words: str) -> None:
    with pytest.raises(SystemExit) as stop:
        start(config)
    error = capfd.readouterr().err
    assert stop.value.code == 2
    assert error.startswith("garv: ") and error.count("\n") == 1
    assert all(word in error for word in words)


def test_no_video_at_all(configure: Configure, capfd):
    refused(configure(data=None), capfd, "--data")


def test_no_steps(configure: Configure, capfd):
    refused(configure(steps=0), capfd, "at least 1 step", "--max-num-iterations 0")


def test_no_gpu(configure: Configure, capfd, monkeypatch: pytest.MonkeyPatch):
    config = configure()
    config.machine.device_type = "cuda"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refused(config, capfd, "--machine.device-type cuda", "no GPU")


def test_unwritable_output_is_said_before_the_fit(configure: Configure, tmp_path: Path, capfd):
    (tmp_path / "file").touch()
    refused(configure(output_dir=tmp_path / "file" / "outputs"), capfd, "file", "--output-dir")


def test_fit_that_does_not_fit_into_memory(configure: Configure, capfd, monkeypatch: pytest.MonkeyPatch):
    def too_large(*_args):
        raise FitMemoryError("it takes 1000 GiB")

    monkeypatch.setattr("garv_gsplat.plugin.pipeline.check_memory", too_large)
    refused(configure(), capfd, "1000 GiB")


def test_resuming_with_another_video(configure: Configure, trained: GarvTrainer, tmp_path: Path, capfd):
    other = media.make_odd_size(tmp_path / "other.mp4")
    config = configure(data=other, load_dir=trained.checkpoint_dir, steps=100)
    refused(config, capfd, "177", "64")
    assert list(config.output_dir.iterdir()) == []


def test_resuming_what_is_finished(configure: Configure, trained: GarvTrainer, capfd):
    refused(configure(load_dir=trained.checkpoint_dir), capfd, f"{STEPS} of {STEPS}", "--max-num-iterations")


def test_resuming_from_nothing(configure: Configure, tmp_path: Path, capfd):
    refused(configure(load_dir=tmp_path / "nothing"), capfd, "nothing")
    refused(configure(load_checkpoint=tmp_path / "nothing.ckpt"), capfd, "nothing.ckpt")


def test_folder_of_images_is_a_video(configure: Configure, tmp_path: Path):
    folder = media.make_images(tmp_path / "my.frames", media.pattern(3))
    trainer = start(configure(data=folder, steps=2))
    trainer.train()
    assert trainer.base_dir.parts[-3] == "my.frames"
    assert trainer.pipeline.model.field.info.frames == 3


def test_part_of_a_video(configure: Configure):
    config = configure(steps=2)
    config.pipeline.datamanager.dataparser.start, config.pipeline.datamanager.dataparser.duration = 0.1, 0.2
    trainer = start(config)
    assert trainer.pipeline.model.field.info.frames == 5
    assert trainer.pipeline.datamanager.next_train(0)[1]["image"].shape == (5, 48, 64, 3)


def test_notes_on_the_source_are_passed_on(configure: Configure, tmp_path: Path, capfd):
    start(configure(data=media.make_ten_bit(tmp_path / "deep.mp4"), steps=2))
    assert "note:" in capfd.readouterr().out


@pytest.mark.parametrize("make", [media.make_one_frame, media.make_one_pixel, media.make_odd_size])
def test_odd_sizes_fit(make, configure: Configure, tmp_path: Path):
    trainer = start(configure(data=make(tmp_path / "odd.mp4"), steps=3))
    trainer.train()
    results = trainer.pipeline.get_average_eval_image_metrics()
    assert results["psnr"] > 0
