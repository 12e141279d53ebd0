"""Settings, start, order of frames, schedule, projection, rounding."""

from __future__ import annotations

import math

import pytest
import torch

from garv_gsplat.fitting import PRESETS, FitConfig, FitRecipe, FrameSampler, GaussianField, build_optimizers
from garv_gsplat.fitting.field import MIN_SPATIAL_SIGMA, MIN_TEMPORAL_SIGMA
from garv_gsplat.fitting.initialization import draw_from_video
from garv_gsplat.fitting.losses import l2, psnr_of
from garv_gsplat.fitting.recipe import Plateau
from garv_gsplat.volume import VideoInfo

INFO = VideoInfo(40, 24, 6)


def field_of(config: FitConfig | None = None, n: int = 50) -> GaussianField:
    field = GaussianField(config or FitConfig(), INFO, n)
    generator = torch.Generator().manual_seed(0)
    field.initialize(torch.randint(0, 256, (6, 24, 40, 3), generator=generator, dtype=torch.uint8))
    return field


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bpp": 0.0}, "bpp must be a positive number"),
        ({"bpp": math.nan}, "bpp must be a positive number"),
        ({"lr_means": math.inf}, "lr_means must be a number from 0 on"),
        ({"num_gaussians": 0}, "num_gaussians must be at least 1"),
        ({"batch_frames": 0}, "batch_frames must be at least 1"),
        ({"warmup": 1.5}, "warmup is a part of the steps"),
        ({"rounding_from": -0.1}, "rounding_from is a part of the steps"),
        ({"tau": 1.0}, r"tau must be in \[0, 1\)"),
        ({"final_lr": -1.0}, "final_lr is relative to the first steps"),
        ({"plateau_patience": -1}, "plateau_patience must not be negative"),
        ({"schedule": "cosin"}, "schedule must be cosine or plateau, got 'cosin'"),
        ({"parametrization": "paper"}, "parametrization must be pixel or gaussian-image, got 'paper'"),
        ({"seed": -1}, "seed must be from 0"),
        ({"seed": 2**31}, "seed must be from 0"),
    ],
)
def test_settings_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        FitConfig(**arguments)


def test_the_paper_preset_is_the_papers_recipe():
    preset = PRESETS["garv-paper"]
    assert set(preset.fit.learning_rates.values()) == {5e-3}
    assert (preset.fit.batch_frames, preset.epochs, preset.fit.plateau_patience) == (16, 2000, 25)
    assert preset.fit.warmup * preset.epochs == pytest.approx(20)
    assert -2 * math.log(preset.fit.tau) == pytest.approx(11.345, abs=0.01)  # chi-square, 3 degrees of freedom, 99 %
    assert preset.steps_for(132) == 2000 * 9


def test_batches_are_permutations_one_after_the_other():
    sampler = FrameSampler(7, 3, seed=1)
    stream = torch.cat([sampler.batch(step) for step in range(14)])
    for epoch in stream.split(7):
        assert sorted(epoch.tolist()) == list(range(7))
    assert torch.equal(FrameSampler(7, 3, seed=1).batch(9), sampler.batch(9))  # a resumed fit sees the same
    assert not torch.equal(stream[:7], stream[7:14])
    assert len(FrameSampler(2, 8, seed=0).batch(5)) == 2


def test_the_start_lies_where_the_detail_is():
    frames = torch.full((4, 32, 64, 3), 100, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    frames[:, :, 48:] = torch.randint(0, 256, (4, 32, 16, 3), generator=generator, dtype=torch.uint8)
    means, cholesky, colors = draw_from_video(frames, 2000, seed=0)
    busy = means[:, 0] > 44
    assert 0.8 < busy.float().mean() < 0.98
    assert cholesky[busy, 3].median() < cholesky[~busy, 3].median()
    assert (means >= 0).all() and (means <= torch.tensor([64.0, 32.0, 4.0])).all()
    assert colors.shape == (2000, 3) and colors.min() >= 0 and colors.max() <= 0.45


def test_step_sizes_warm_up_stay_and_fall():
    field = field_of()
    recipe = FitRecipe(field, FitConfig(warmup=0.1), 100, build_optimizers(field))
    assert recipe.factor(0) == pytest.approx(0.1)
    assert recipe.factor(9) == recipe.factor(30) == recipe.factor(50) == 1
    assert recipe.factor(75) == pytest.approx((1 + 0.02) / 2)
    assert recipe.factor(100) == pytest.approx(0.02)
    recipe.before_step(0)
    assert recipe.optimizers["means"].param_groups[0]["lr"] == pytest.approx(0.1 * FitConfig().lr_means)


def test_the_plateau_halves_after_its_patience():
    plateau = Plateau(patience=2, epoch=2)
    factors = []
    for loss in [4.0] * 2 + [3.0] * 2 + [3.0] * 6 + [2.0] * 2:
        plateau.add(torch.tensor(loss))
        factors.append(plateau.factor)
    assert factors[8] == 1 and factors[9] == 0.5 and plateau.best == 2 and plateau.waited == 0


def test_a_resumed_schedule_goes_on():
    field = field_of()
    config = FitConfig(schedule="plateau", plateau_patience=0, batch_frames=6, warmup=0)
    recipe = FitRecipe(field, config, 10, build_optimizers(field))
    for loss in (1.0, 2.0):
        recipe.after_step(torch.tensor(loss))
    resumed = FitRecipe(field, config, 10, build_optimizers(field))
    resumed.load_state_dict(recipe.state_dict())
    assert resumed.factor(5) == recipe.factor(5) == 0.5
    assert all(isinstance(v, float) for v in recipe.state_dict().values())


def test_projection_keeps_parameters_meaningful():
    field = field_of()
    with torch.no_grad():
        field.means.fill_(1e6)
        field.cholesky.fill_(-1.0)
    field.project()
    torch.testing.assert_close(field.means.detach(), torch.tensor([[44.0, 26.4, 6.6]]).expand(50, 3))
    assert (field.cholesky[:, 0] == MIN_TEMPORAL_SIGMA).all()
    assert (field.cholesky[:, [3, 5]] == MIN_SPATIAL_SIGMA).all()
    assert (field.cholesky[:, [1, 2, 4]] == -1).all()


def test_rounding_starts_when_it_is_time_and_survives_a_checkpoint():
    field = field_of(FitConfig(rounding_from=0.5))
    recipe = FitRecipe(field, field.config, 10, build_optimizers(field))
    recipe.before_step(4)
    assert field.quantizer() is None
    recipe.before_step(5)
    ranges = field.quantizer().ranges
    images = field(torch.tensor([0.5]))
    images.sum().backward()
    assert field.means.grad.norm() > 0  # straight through

    other = GaussianField(field.config, INFO, 7)  # another number of Gaussians
    other.load_state_dict(field.state_dict())
    assert torch.equal(other.quantizer().ranges, ranges)
    torch.testing.assert_close(other(torch.tensor([0.5])), images)


def test_the_loss_and_its_gradient():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 5, 7, 3, generator=generator, requires_grad=True)
    frames = torch.randint(0, 256, (2, 5, 7, 3), generator=generator, dtype=torch.uint8)
    expected = torch.nn.functional.mse_loss(images, frames.float() / 255)
    loss = l2(images, frames)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(*(torch.autograd.grad(3 * v, images)[0] for v in (loss, expected)))
    assert psnr_of(0.01) == pytest.approx(20)
