"""Settings, start, order of frames, schedule, projection, colours, rate."""

from __future__ import annotations

import math

import pytest
import torch

from garv_gsplat import codec
from garv_gsplat.fitting import (
    PRESETS,
    FitConfig,
    FitRecipe,
    FrameSampler,
    GaussianField,
    build_optimizer,
    seen_frames,
)
from garv_gsplat.fitting.initialization import draw_from_video
from garv_gsplat.fitting.losses import l2, psnr_of
from garv_gsplat.fitting.rate import best_step, gaussians_for, wanted_gaussians
from garv_gsplat.fitting.recipe import Plateau
from garv_gsplat.volume import VideoInfo
from tests.codec.samples import fitted_like

INFO = VideoInfo(40, 24, 6)


def noise() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (6, 24, 40, 3), generator=generator, dtype=torch.uint8)


def field_of(config: FitConfig | None = None, n: int = 50) -> GaussianField:
    field = GaussianField(config or FitConfig(), INFO, n)
    field.initialize(seen_frames(noise(), field.config))
    return field


def recipe_of(field: GaussianField, steps: int) -> FitRecipe:
    return FitRecipe(field, steps, build_optimizer(field), seen_frames(noise(), field.config))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bpp": 0.0}, "bpp must be a positive number"),
        ({"bpp": math.nan}, "bpp must be a positive number"),
        ({"lr_means": math.inf}, "lr_means must be a number from 0 on"),
        ({"betas": (0.9, 1.0)}, "betas must be from 0 to below 1"),
        ({"rate_weight": -1.0}, "rate_weight must be a number from 0 on"),
        ({"size": 0}, "size must be at least 1 byte"),
        ({"psnr": -1.0}, "psnr must be a positive number"),
        ({"psnr": 30.0, "num_gaussians": 5}, "size, psnr, num_gaussians and denoise each decide .*: give one"),
        ({"psnr": 30.0, "denoise": True}, "size, psnr, num_gaussians and denoise each decide .*: give one"),
        ({"num_gaussians": 0}, "num_gaussians must be at least 1"),
        ({"hold_out": 1}, "hold_out must be at least 2, every other frame, got 1"),
        ({"batch_frames": 0}, "batch_frames must be at least 1"),
        ({"warmup": 1.5}, "warmup is a part, from 0 to 1"),
        ({"relocated": -0.1}, "relocated is a part, from 0 to 1"),
        ({"relocations": -1}, "relocations must not be negative"),
        ({"relocation_span": (0.5, 0.5)}, "relocation_span must rise within 0 and 1"),
        ({"tau": 1.0}, r"tau must be in \[0, 1\)"),
        ({"final_lr": -1.0}, "final_lr is relative to the first steps"),
        ({"plateau_patience": -1}, "plateau_patience must not be negative"),
        ({"schedule": "cosin"}, "schedule must be cosine or plateau, got 'cosin'"),
        ({"codec": "jpeg"}, "codec must be rans or sog or paper16-8-8, got 'jpeg'"),
        ({"parametrization": "paper"}, "parametrization must be log-cholesky or gaussian-image, got 'paper'"),
        ({"seed": -1}, "seed must be from 0"),
        ({"seed": 2**31}, "seed must be from 0"),
    ],
)
def test_settings_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        FitConfig(**arguments)


def test_the_paper_preset_is_the_papers_recipe():
    preset = PRESETS["garv-paper"]
    assert set(preset.fit.learning_rates(3)) == {5e-3} and preset.fit.betas == (0.9, 0.999)
    assert (preset.fit.batch_frames, preset.epochs, preset.fit.plateau_patience) == (16, 2000, 25)
    assert (preset.fit.relocations, preset.fit.visible_only) == (0, False)
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
    means, cholesky, colors = draw_from_video(seen_frames(frames, FitConfig()), 2000, seed=0)
    busy = means[:, 0] > 44
    assert 0.8 < busy.float().mean() < 0.98
    assert cholesky[busy, 3].median() < cholesky[~busy, 3].median()
    assert (means >= 0).all() and (means <= torch.tensor([64.0, 32.0, 4.0])).all()
    assert colors.shape == (2000, 3) and colors.min() >= 0 and colors.max() <= 0.45


# Schedule


def test_step_sizes_warm_up_stay_and_fall():
    recipe = recipe_of(field_of(FitConfig(warmup=0.1)), 100)
    assert recipe.factor(0) == pytest.approx(0.1)
    assert recipe.factor(9) == recipe.factor(30) == recipe.factor(50) == 1
    assert recipe.factor(75) == pytest.approx((1 + 0.02) / 2)
    assert recipe.factor(100) == pytest.approx(0.02)
    recipe.before_step(0)
    rates = torch.tensor(FitConfig().learning_rates(3))
    torch.testing.assert_close(recipe.optimizer.param_groups[0]["lr"], 0.1 * rates)


def test_the_plateau_halves_after_its_patience():
    plateau = Plateau(patience=2, epoch=2)
    factors = []
    for loss in [4.0] * 2 + [3.0] * 2 + [3.0] * 6 + [2.0] * 2:
        plateau.add(torch.tensor(loss))
        factors.append(plateau.factor)
    assert factors[8] == 1 and factors[9] == 0.5 and plateau.best == 2 and plateau.waited == 0


def test_a_resumed_schedule_goes_on():
    config = FitConfig(schedule="plateau", plateau_patience=0, batch_frames=6, warmup=0)
    recipe = recipe_of(field_of(config), 10)
    for loss in (1.0, 2.0):
        recipe.after_step(torch.tensor(loss))
    resumed = recipe_of(field_of(config), 10)
    resumed.load_state_dict(recipe.state_dict())
    assert resumed.factor(5) == recipe.factor(5) == 0.5
    assert resumed.mean_loss() == recipe.mean_loss() == pytest.approx(1.05)
    assert all(isinstance(v, float) for v in recipe.state_dict().values())


def test_gaussians_move_as_often_as_asked_within_the_span():
    recipe = recipe_of(field_of(FitConfig(relocations=7, relocation_span=(0.1, 0.6))), 1000)
    moments = [step for step in range(1000) if recipe.relocates(step)]
    assert len(moments) == 7 and moments[0] > 100 and moments[-1] == 600
    assert not any(recipe_of(field_of(FitConfig(relocations=0)), 1000).relocates(step) for step in range(1000))


# Field


def test_attributes_and_values_are_the_same():
    for parametrization in ("log-cholesky", "gaussian-image"):
        field = field_of(FitConfig(parametrization=parametrization))
        values = field.values()
        again = field.parametrization(field.parametrization.inverse(*values))
        for a, b in zip(again, values):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_projection_keeps_parameters_meaningful():
    field = field_of()
    with torch.no_grad():
        field.attributes[:, :3] = 1e6
        field.attributes[:, 3:6] = -100
    field.project()
    means, cholesky, _ = field.values()
    torch.testing.assert_close(means.detach(), torch.tensor([[44.0, 26.4, 6.6]]).expand(50, 3))
    assert (cholesky[:, [0, 3, 5]] > 0.1).all()
    with torch.no_grad():
        field.attributes[:, 3:6] = 100
    field.project()
    widest = torch.tensor([4.0 * 6, 4.0 * 40, 4.0 * 24])
    torch.testing.assert_close(field.values()[1][:, [0, 3, 5]].detach(), widest.expand(50, 3), rtol=1e-4, atol=0)


def test_a_state_of_another_number_of_gaussians_is_taken():
    field, other = field_of(), field_of(n=7)
    other.load_state_dict(field.state_dict())
    times = torch.tensor([0.5])
    assert len(other) == 50
    torch.testing.assert_close(other(times), field(times))


def test_the_loss_and_its_gradient():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 5, 7, 3, generator=generator, requires_grad=True)
    frames = torch.randint(0, 256, (2, 5, 7, 3), generator=generator, dtype=torch.uint8)
    expected = torch.nn.functional.mse_loss(images, frames.float() / 255)
    loss = l2(images, frames)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(*(torch.autograd.grad(3 * v, images)[0] for v in (loss, expected)))
    assert psnr_of(0.01) == pytest.approx(20)


# Rate


def test_the_number_of_gaussians_follows_the_bits():
    info = VideoInfo(640, 360, 50)
    assert gaussians_for(FitConfig(num_gaussians=77), info) == 77
    few, many = (gaussians_for(FitConfig(bpp=bpp), info) for bpp in (0.1, 0.2))
    assert 1.9 < many / few < 2.2
    assert gaussians_for(FitConfig(bpp=1e-9), info) == 1
    assert gaussians_for(FitConfig(size=14_400), info) == gaussians_for(FitConfig(bpp=0.01), info)


def test_a_coarser_step_goes_with_a_larger_error():
    config = FitConfig()
    assert best_step(config, INFO, 100, 4e-4) == pytest.approx(2 * best_step(config, INFO, 100, 1e-4))


def test_a_given_number_of_gaussians_is_rounded_more_coarsely():
    """Bits that finer steps take could not go into more Gaussians."""
    free, given = FitConfig(), FitConfig(num_gaussians=100)
    assert best_step(given, INFO, 100, 1e-4) == pytest.approx(2**0.5 * best_step(free, INFO, 100, 1e-4))


def test_the_wanted_number_is_the_one_that_the_file_holds():
    """A fit whose Gaussians take more bits than was thought is told to have fewer, and the other way round."""
    info = VideoInfo(320, 180, 48)
    gaussians = fitted_like(4000, info)
    bits = 8 * len(codec.encode(gaussians, step=best_step(FitConfig(), info, 4000, 1e-3 / 1.4)))
    for factor in (0.7, 1.0, 1.4):
        config = FitConfig(bpp=factor * bits / info.pixels)
        field = GaussianField(config, info, 4000)
        field.set_values(*gaussians.in_pixels(), gaussians.colors)
        wanted = wanted_gaussians(field, 1e-3, factor=0.2)()
        expected = min(max(0.85, factor), 1.15) * 4000
        assert wanted == pytest.approx(expected, rel=0.05)


def test_a_quality_is_neared_by_the_number_of_gaussians():
    field = GaussianField(FitConfig(psnr=30.0), INFO, 1000)
    field.set_values(*fitted_like(1000, INFO).in_pixels(), fitted_like(1000, INFO).colors)
    assert wanted_gaussians(field, 1e-3, factor=0.0)() == pytest.approx(1000, rel=0.15)
    assert wanted_gaussians(field, 1e-2, factor=0.0)() == 1150
    assert wanted_gaussians(field, 1e-4, factor=0.0)() == 850
