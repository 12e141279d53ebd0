from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import pytest
from nerfstudio.utils.eval_utils import eval_setup

from garv_gsplat import codec
from garv_gsplat.plugin import export
from garv_gsplat.plugin.trainer import GarvTrainer
from garv_gsplat.volume import VideoInfo
from tests import media
from tests.plugin.fits import FRAMES, GAUSSIANS, Configure, start


def names(commands: object) -> list[str]:
    members = get_args(get_args(commands)[0])
    return [getattr(note, "name", None) for member in members for note in get_args(member)[1:]]


@pytest.fixture
def exporter():
    pytest.importorskip("open3d", exc_type=ImportError)
    from nerfstudio.scripts import exporter

    return exporter


def test_exporter_gets_one_more_command(exporter, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(vars(exporter), "Commands", exporter.Commands)  # put back afterwards
    before = names(exporter.Commands)
    for _ in range(2):
        export.add_to_exporter()
        assert callable(exporter.entrypoint)
    assert names(exporter.Commands) == [*(n for n in before if n != "garv"), "garv"]
    assert {"pointcloud", "gaussian-splat"} <= set(before)


def test_another_exporter_is_left_to_work(exporter, monkeypatch: pytest.MonkeyPatch):
    export.add_to_exporter()
    monkeypatch.delitem(vars(exporter), "Commands")
    assert callable(exporter.entrypoint)


def test_nothing_happens_in_other_commands(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, export.EXPORTER, raising=False)
    export.add_to_exporter()
    assert export.EXPORTER not in sys.modules


def test_export_says_what_came_out(config_path: Path, tmp_path: Path, capfd):
    export.ExportGarv(config_path, tmp_path / "new" / "exports").main()
    path = tmp_path / "new" / "exports" / "clip.garv"
    line = capfd.readouterr().out.strip().splitlines()[-1]
    assert line.startswith(f"{path}: {path.stat().st_size:,} bytes, ")
    assert " bpp, " in line and " dB, " in line and " frames/s on c" in line  # cpu or cuda
    gaussians = codec.load(path)
    assert 0.8 * GAUSSIANS < len(gaussians) <= GAUSSIANS and gaussians.info == VideoInfo(64, 48, FRAMES)
    assert [p.name for p in path.parent.iterdir()] == ["clip.garv"]


def test_export_holds_what_was_fitted(trained: GarvTrainer, config_path: Path, tmp_path: Path):
    export.ExportGarv(config_path, tmp_path).main()
    assert (tmp_path / "clip.garv").read_bytes() == trained.pipeline.model.file()
    _, pipeline, _, _ = eval_setup(config_path, test_mode="inference")
    shown, read = pipeline.model.field.gaussians(), codec.load(tmp_path / "clip.garv")
    assert (shown.colors.cpu() - read.colors).abs().max() < 1e-5
    assert len(trained.pipeline.model.field) == GAUSSIANS  # which would go on from what it fitted


def test_export_when_the_video_has_moved(configure: Configure, tmp_path: Path, capfd):
    video = media.make_variable_rate(tmp_path / "moves.mp4")
    trainer = start(configure(data=video, steps=2))
    trainer.train()
    info = trainer.pipeline.model.field.info
    assert info.timestamps is not None
    video.unlink()
    export.ExportGarv(trainer.base_dir / "config.yml", tmp_path / "exports").main()
    assert "quality not measured" in capfd.readouterr().out
    assert codec.load(tmp_path / "exports" / "moves.garv").info == info


def test_export_in_the_codec_of_the_fit(configure: Configure):
    config = configure(steps=2)
    config.pipeline.model.fit.codec = "sog"
    trainer = start(config)
    assert codec.GarvFile(trainer.pipeline.model.file()).codec == "sog"  # before the first step, too
    trainer.train()
    assert codec.GarvFile(trainer.pipeline.model.file()).codec == "sog"


def test_a_codec_whose_library_is_missing_is_one_line(configure: Configure, monkeypatch: pytest.MonkeyPatch, capfd):
    config = configure()
    config.pipeline.model.fit.codec = "sog"
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(SystemExit) as stop:
        start(config)
    assert stop.value.code == 2
    assert "pip install garv-gsplat[sog]" in capfd.readouterr().err


@pytest.mark.parametrize("case", ["no config", "unwritable"])
def test_bad_export_is_one_line(case: str, config_path: Path, tmp_path: Path, capfd):
    (tmp_path / "file").touch()
    command = {
        "no config": export.ExportGarv(tmp_path / "config.yml", tmp_path),
        "unwritable": export.ExportGarv(config_path, tmp_path / "file" / "exports"),
    }[case]
    with pytest.raises(SystemExit) as stop:
        command.main()
    assert stop.value.code == 2
    assert capfd.readouterr().err.count("\n") == 1
