"""Builds the two kernel libraries ahead of time; everything else is in pyproject.toml.

Both are plain shared objects on torch's stable ABI, without Python symbols: one file serves every Python from 3.10 and
every torch from 2.10. The CUDA library is built when torch is a CUDA build and CUDA_HOME holds a toolkit of the same
major version, whether or not a GPU is there; GARV_BUILD_CUDA=0 or 1 forces it off or on.
"""

import os
import re
import subprocess
from pathlib import Path

import torch
from setuptools import find_packages, setup
from torch.utils.cpp_extension import CUDA_HOME, BuildExtension, CppExtension, CUDAExtension

SOURCES = Path("cuda_ext")
STABLE_ABI = "-DTORCH_TARGET_VERSION=0x020a000000000000"  # torch 2.10
# What gcc may assume: no traps, no errno. Infinities stay, for a cutoff may be infinite, and so does the order of a
# sum, for the exponential rounds by adding and taking away a large number.
MATH = ["-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros"]
# Ampere is the oldest with the matrix product that the backward is made of; the PTX of the newest serves what comes
# after.
DEFAULT_ARCHITECTURES = "8.0;8.6;9.0+PTX"


def cuda_obstacle() -> str | None:
    """Why the CUDA library cannot be built; None when it can."""
    if torch.version.cuda is None:
        return "torch is a build without CUDA"
    if CUDA_HOME is None or not (Path(CUDA_HOME) / "bin" / "nvcc").exists():
        return "CUDA_HOME does not point at a CUDA toolkit"
    if not (Path(CUDA_HOME) / "include" / "cuda_runtime.h").exists():
        return f"CUDA_HOME={CUDA_HOME} holds no include/cuda_runtime.h"
    told = subprocess.run([f"{CUDA_HOME}/bin/nvcc", "--version"], capture_output=True, text=True).stdout
    release = re.search(r"release (\d+)\.", told)
    if release is None or release[1] != torch.version.cuda.split(".")[0]:
        return f"the toolkit is CUDA {release[1] if release else 'unknown'}, torch was built with {torch.version.cuda}"
    return None


def wants_cuda() -> bool:
    forced = os.environ.get("GARV_BUILD_CUDA")
    if forced not in (None, "0", "1"):
        raise SystemExit(f"GARV_BUILD_CUDA must be 0 or 1, got {forced!r}")
    if forced == "0":
        return False
    obstacle = cuda_obstacle()
    if obstacle is not None and forced == "1":
        raise SystemExit(f"GARV_BUILD_CUDA=1, but {obstacle}")
    if obstacle is not None:
        print(f"the CUDA library is left out: {obstacle}")
    return obstacle is None


def extensions() -> list:
    cpu = CppExtension(
        "garv_gsplat.ops._garv_cpu",
        [str(p) for p in sorted(SOURCES.glob("cpu/*.cpp"))],
        include_dirs=[str(SOURCES.resolve())],
        extra_compile_args=["-O3", "-std=c++17", "-fvisibility=hidden", "-Wall", "-g0", STABLE_ABI, *MATH],
        depends=[str(p) for p in SOURCES.glob("**/*.h")],
        py_limited_api=True,
    )
    if not wants_cuda():
        return [cpu]
    os.environ.setdefault("TORCH_CUDA_ARCH_LIST", DEFAULT_ARCHITECTURES)  # torch asks the GPU, and there may be none
    cuda = CUDAExtension(
        "garv_gsplat.ops._garv_cuda",
        [str(p) for p in sorted(SOURCES.glob("cuda/*.cu"))],
        include_dirs=[str(SOURCES.resolve())],
        extra_compile_args={
            "cxx": ["-O3", "-std=c++17", STABLE_ABI],
            "nvcc": ["-O3", "-std=c++17", "--use_fast_math", "-lineinfo", "-DUSE_CUDA", STABLE_ABI],
        },
        depends=[str(p) for p in SOURCES.glob("**/*.*h")],
        py_limited_api=True,
    )
    return [cpu, cuda]


setup(
    packages=[*find_packages(include=["garv_gsplat", "garv_gsplat.*"]), "garv_gsplat.method_configs"],
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildExtension.with_options(no_python_abi_suffix=True)},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},  # one wheel for every Python from 3.10
)
