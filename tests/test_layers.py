"""Which module may import which: the table below is the package's architecture, held by reading the sources."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import garv_gsplat

PACKAGE = "garv_gsplat"
ROOT = Path(garv_gsplat.__file__).parent

ALLOWED: dict[str, set[str]] = {
    "ops": set(),
    "volume": set(),
    "metrics": set(),
    "video": {"volume"},
    "gaussians": {"volume", "ops"},
    "motion": {"volume"},
    "grids": {"motion", "volume"},
    "rendering": {"grids", "motion", "gaussians", "volume", "ops"},
    "packing": {"motion", "gaussians", "ops"},
    "codec": {"gaussians", "volume", "ops"},
    "colors": {"motion", "ops"},
    "fitting": {"colors", "rendering", "codec", "video", "metrics", "motion", "gaussians", "volume", "ops"},
    "frame": set(),
    "gaze": {"volume"},
    "regions": {"gaze", "motion", "gaussians", "volume", "ops"},
    "seams": {"colors", "rendering", "gaussians", "volume", "ops"},
    "mixing": {"seams", "regions", "gaze", "codec", "gaussians", "volume"},
    "loading": {"codec", "motion", "gaussians"},
    "views": {
        *("loading", "codec", "rendering", "regions", "packing", "grids", "motion", "gaussians", "volume"),
        "ops",
    },
    "access": {"views", "grids", "frame", "volume"},
    "decoder": {"access", "regions", "views", "codec", "rendering", "gaussians", "volume"},
    "measuring": {"decoder", "codec", "metrics"},
    "encoding": {"measuring", "fitting", "codec", "video"},
    "comparing": {"measuring", "codec", "video", "volume"},
    "bench": {"decoder", "fitting", "codec", "rendering", "packing", "motion", "gaussians", "volume", "ops", PACKAGE},
    "cli": {
        *("bench", "comparing", "encoding", "measuring", "fitting", "codec", "video"),
        *("decoder", "grids", "mixing", "gaze", "regions", "rendering", "motion", "ops", "volume"),
        PACKAGE,
    },
    "plugin": {
        *("fitting", "codec", "rendering", "decoder", "measuring", "metrics", "video", "gaussians", "volume", "ops")
    },
    "method_configs": {"plugin"},
    PACKAGE: set(),
}
"""module of ours -> modules of ours that it may import; PACKAGE is garv_gsplat/__init__.py itself"""

ONLY_FOR_NERFSTUDIO = {"nerfstudio", "gsplat", "viser"}
"""packages that only the plugin may import"""

LIGHT = {"garv_gsplat", "garv_gsplat.cli", "garv_gsplat.fitting", "garv_gsplat.fitting.config", "garv_gsplat.volume"}
HEAVY = {"torch", "numpy", "av", "PIL", "tyro", "rich", "viser", "nerfstudio", "gsplat"}


def sources() -> list[tuple[str, Path]]:
    """Every module's full name and file, as it is installed (method_configs lies beside the package)."""
    found = [(PACKAGE, path) for path in ROOT.rglob("*.py")]
    named = [(".".join((name, *path.relative_to(ROOT).with_suffix("").parts)), path) for name, path in found]
    configs = ROOT / "method_configs"
    configs = configs if configs.is_dir() else ROOT.parent / "method_configs"  # installed, or in the repository
    named += [(f"{PACKAGE}.method_configs.{path.stem}", path) for path in configs.glob("*.py")]
    return sorted({(name.removesuffix(".__init__"), path) for name, path in named})


def imports(path: Path) -> set[str]:
    """Full names of what a file imports, anywhere in it; `if TYPE_CHECKING` counts."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the full name"
            if node.module == PACKAGE:
                names |= {f"{PACKAGE}.{alias.name}" for alias in node.names}
            else:
                names.add(node.module)
    return names


def layer(name: str) -> str:
    """The row of the table that a module of ours belongs to."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ALLOWED else PACKAGE


@pytest.mark.parametrize(("name", "path"), sources(), ids=[name for name, _ in sources()])
def test_imports(name, path):
    own = layer(name)
    assert own != PACKAGE or name == PACKAGE, f"{name} has no row in the table"
    for imported in imports(path):
        top = imported.split(".")[0]
        if top == PACKAGE:
            target = layer(imported)
            assert target == own or target in ALLOWED[own], f"{own} must not import {imported}"
        elif top in ONLY_FOR_NERFSTUDIO:
            assert own in ("plugin", "method_configs"), f"{own} must not import {top}"


def test_the_table_has_no_cycle():
    order: list[str] = []
    while len(order) < len(ALLOWED):
        free = [m for m in ALLOWED if m not in order and ALLOWED[m] <= {*order}]
        assert free, f"cycle among {set(ALLOWED) - set(order)}"
        order += free


def test_every_row_is_a_module():
    layers = {layer(name) for name, _ in sources()}
    assert layers == set(ALLOWED)


@pytest.mark.parametrize("name", sorted(LIGHT))
def test_light_modules_load_nothing_heavy(name):
    code = f"import sys, {name}; print(*{{m.split('.')[0] for m in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not HEAVY & set(loaded)


def test_decoding_loads_no_fitting():
    code = "import sys, garv_gsplat; garv_gsplat.VideoDecoder; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"garv_gsplat.fitting", "garv_gsplat.video", "av", "nerfstudio"} & set(loaded)


def test_public_names():
    for name in garv_gsplat.__all__:
        assert getattr(garv_gsplat, name) is not None
    assert set(garv_gsplat.__all__) <= set(dir(garv_gsplat))
    with pytest.raises(AttributeError, match="no_such_name"):
        garv_gsplat.no_such_name  # noqa: B018
