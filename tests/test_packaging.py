"""What is built and installed: metadata, sdist, wheel, and a wheel that works from another folder."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import garv_gsplat
from tests import media
from tests.test_layers import imports, layer, sources

ROOT = Path(__file__).parents[1]
DISTRIBUTION = "garv-gsplat"
PACKAGES_OF = {"pillow": "PIL", "pytorch-msssim": "pytorch_msssim", "opencv-python-headless": "cv2"}
METHODS = {"garv": "garv", "garv-small": "garv_small", "garv-large": "garv_large", "garv-paper": "garv_paper"}


def test_version():
    assert importlib.metadata.version(DISTRIBUTION) == garv_gsplat.__version__


def test_entry_points():
    points = importlib.metadata.distribution(DISTRIBUTION).entry_points
    methods = {p.name: p.value for p in points if p.group == "nerfstudio.method_configs"}
    assert methods == {name: f"garv_gsplat.method_configs:{attribute}" for name, attribute in METHODS.items()}
    assert [p.value for p in points if p.group == "console_scripts"] == ["garv_gsplat.cli:main"]


def requirements(extra: str | None) -> set[str]:
    """Names of what the core (None) or an extra requires."""
    found = set()
    for line in importlib.metadata.requires(DISTRIBUTION):
        of_extra = re.search(r"extra == [\"'](\w+)[\"']", line)
        if (of_extra and of_extra[1]) == extra:
            found.add(re.match(r"[\w-]+", line)[0].lower())
    return found


def test_everything_imported_is_required():
    """And the other way round; nerfstudio brings what the plugin uses beside it."""
    imported = {top for name, path in sources() if layer(name) != "plugin" for top in third_party(path)}
    core, comparing = ({PACKAGES_OF.get(name, name) for name in requirements(extra)} for extra in (None, "compare"))
    assert imported - {"nerfstudio", "imagecodecs"} == core | comparing  # method_configs, and the codec sog
    assert "nerfstudio" in requirements("nerfstudio")
    assert requirements("sog") == {"imagecodecs"}
    assert "nerfstudio" not in core


def third_party(path: Path) -> set[str]:
    own = {"garv_gsplat", *sys.stdlib_module_names}
    return {name.split(".")[0] for name in imports(path)} - own


def test_no_registry_is_named():
    for path in ("pyproject.toml", "Makefile", ".ci/run", "README.md", "CONTRIBUTING.md", "setup.py"):
        text = (ROOT / path).read_text()
        assert not re.search(r"index-url|find-links|https?://\S*(simple|whl)", text), path


def test_setup_is_written_for_python_3_10():
    for name, path in [*sources(), ("setup", ROOT / "setup.py")]:
        ast.parse(path.read_text(), name, feature_version=(3, 10))


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"GARV_BUILD_CUDA": "yes"}, "GARV_BUILD_CUDA must be 0 or 1"),
        ({"GARV_BUILD_CUDA": "1", "CUDA_HOME": "/nowhere"}, "GARV_BUILD_CUDA=1, but CUDA"),
    ],
)
def test_build_that_cannot_be(environment, message):
    command = [sys.executable, "setup.py", "--version"]
    result = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)
    assert result.returncode != 0
    assert message in result.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist made from a copy of the sources, and a wheel made from that sdist."""
    folder = tmp_path_factory.mktemp("build")
    copy = folder / "source"
    ignore = shutil.ignore_patterns(".*", "build", "dist", "outputs", "exports", "*.so", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=ignore)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(copy)]
    environment = {**os.environ, "GARV_BUILD_CUDA": "0"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return folder


@pytest.mark.slow
def test_sdist(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml", "setup.py", "docs/format.md", "examples/demo.sh"} <= names
    assert {"cuda_ext/gaussian.h", "method_configs/__init__.py", "tests/media.py", "tests/conftest.py"} <= names
    for pattern in ("cuda_ext/**/*.*", "tests/data/*", "examples/data/*"):
        missing = {str(p.relative_to(ROOT)) for p in ROOT.glob(pattern)} - names
        assert not missing
    assert not any(name.endswith(".so") for name in names)


@pytest.mark.slow
def test_wheel(built):
    (path,) = built.glob("*.whl")
    assert "-cp310-abi3-" in path.name
    names = set(zipfile.ZipFile(path).namelist())
    assert "garv_gsplat/ops/_garv_cpu.so" in names
    for name, source in sources():
        inside = "/".join(name.split(".")) + ("/__init__.py" if source.name == "__init__.py" else ".py")
        assert inside in names
    folders = {name.split("/")[0] for name in names}
    assert folders == {"garv_gsplat", f"garv_gsplat-{garv_gsplat.__version__}.dist-info"}


@pytest.mark.slow
def test_installed_wheel(built, tmp_path):
    """Encodes, decodes and is found by nerfstudio's registry from a folder of its own."""
    (wheel,) = built.glob("*.whl")
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*pip, str(wheel)], check=True)
    media.make_video(tmp_path / "v.mp4", media.pattern(2))
    environment = {**os.environ, "PYTHONPATH": str(target), "OMP_NUM_THREADS": "1"}
    script = [sys.executable, str(target / "bin" / "garv")]
    for arguments in ("encode v.mp4 v.garv --steps 2", "decode v.garv --output out.mp4", "info v.garv"):
        command = [*script, *arguments.split()]
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    assert re.search(r"CPU +compiled", result.stdout)
    code = (
        "import garv_gsplat.ops, importlib.util; print(garv_gsplat.__file__); "
        "print(importlib.util.find_spec('garv_gsplat.method_configs').origin)"
    )
    command = [sys.executable, "-c", code]
    places = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout
    assert places.split() == [
        str(target / "garv_gsplat" / "__init__.py"),
        str(target / "garv_gsplat" / "method_configs" / "__init__.py"),
    ]
