"""How the camera moves: each frame's affine map from a plane that stands still, found from the frames alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial, reduce
from itertools import cycle, groupby, islice

import numpy as np
import torch
from torch import Tensor

from garv_gsplat.codec import rounded_motion
from garv_gsplat.motion import unit_maps

# Frames are looked at with at most so many, and with fewer where too few corners follow: what is blurred or moves far
# does so by fewer pixels there. Maps of more lines are nearer, so the first that are followed are taken.
_LINES = (540, 270, 180)
_CORNERS, _QUALITY, _APART = 1500, 0.005, 6  # that are tracked: how many, how good, pixels from one to the next
_BACK_AGAIN = 0.5  # pixels: a corner tracked there and back must come nearer to where it was
_FOLLOWS = 1.0  # pixel: so near comes a corner that follows the map
_FEWEST = 20  # corners; of fewer, a map tells nothing
_SURE = 0.5  # part of the corners that follow a step's map; of less, what moves by itself may have been taken for it
_WINDOW = 17  # pixels that a corner is told by
_POLISH, _NEAR = 10, 0.3  # times that a map is fitted anew; pixels from it at which a corner counts a quarter
_LEAST_FOLLOWING = 0.55  # of all corners of all steps: at 0.6 clips gained, at 0.4 maps were wrong and cost 0.5 dB
_CLEARLY = 0.9  # of the error of standing still: less is left by a step that few corners follow and is right
_SCALES = (0.8, 1.25)  # of a step's map
_LATER = 8  # frames from one to another that it is compared with, about as many as a Gaussian lives
_LARGEST_ERROR = 30.0  # grey levels a pixel's error counts at most: what moves by itself decides nothing
# Of the error without maps: with less of either, maps pay. Fourteen parts of nine clips with less, 32 frames at 0.2
# bpp, gained 0.6 dB on average (-0.2 to 2.6); one with more of both, which stands still, gained 0.07.
_OF_STRAIGHT, _OF_STILL = 0.975, 0.9
_WIDEST = 2.6  # times the video's size: a file's means reach 1.5 sizes from the middle, less some for wide Gaussians
_SMALLEST = 0.25  # the plane is not scaled down by more

Maps = np.ndarray
"""affine maps [T, 3, 3] of points (x, y, 1) in pixels"""


def estimate_motion(frames: Tensor, numbers: Sequence[int], count: int) -> tuple[tuple[float, ...], ...] | None:
    """`VideoInfo.motion` of a video of `count` frames, of which those [S, H, W, C] uint8 of `numbers` [S] are seen.

    Corners are tracked from frame to frame, there and back (Lucas and Kanade, in pyramids), an affine map is fitted to
    those that agree (RANSAC), and the maps are chained; between the frames seen they are interpolated. None where the
    frames do not follow a map, or differ as little without: then Gaussians lie in the frames themselves.
    """
    if len(frames) < 2:
        return None
    shown = frames.cpu().numpy()
    with _one_thread_a_call(), ThreadPoolExecutor(os.cpu_count()) as pool:
        for lines in sorted({min(lines, frames.shape[1]) for lines in _LINES}, reverse=True):
            grey = [*pool.map(partial(_grey, lines=lines), shown)]
            steps = [*pool.map(_step, grey, grey[1:])]
            if np.mean([part for _, part in steps]) >= _LEAST_FOLLOWING:
                break
        else:
            return None
        maps = _chained(_mended(steps, grey))
        if not _pays(grey, maps, pool):
            return None
    height, width = grey[0].shape
    maps = _placed(maps, width, height)
    if maps is None:
        return None
    rows = torch.from_numpy(maps[:, [0, 0, 1, 1, 0, 1], [0, 1, 0, 1, 2, 2]])
    units = np.array(unit_maps(rows, width, height))
    between = [np.interp(np.arange(count), np.asarray(numbers), column) for column in units.T]
    return rounded_motion(np.stack(between, 1))


_ONE_AT_A_TIME = threading.Lock()  # OpenCV has one number of threads for the whole process


@contextmanager
def _one_thread_a_call() -> Iterator[None]:
    """Keep OpenCV from starting threads of its own within each thread of the pool; torch would do so, too."""
    import cv2

    with _ONE_AT_A_TIME:
        before = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            yield
        finally:
            cv2.setNumThreads(before)


def _grey(frame: np.ndarray, lines: int) -> np.ndarray:
    """A frame [H, W, C] as one channel of so many lines, uint8."""
    import cv2

    height, width, channels = frame.shape
    image = cv2.transform(frame, np.full((1, channels), 1 / channels))
    return cv2.resize(image, (max(1, round(width * lines / height)), lines), interpolation=cv2.INTER_AREA)


def _step(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray | None, float]:
    """Where what is seen in one frame is in the next: a map [3, 3], and the part of corners that follow it."""
    import cv2

    start = cv2.goodFeaturesToTrack(before, _CORNERS, _QUALITY, _APART)
    if start is None:
        return None, 0.0
    search = {"winSize": (_WINDOW, _WINDOW), "maxLevel": 4}
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, start, None, **search)
    back, again, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, **search)
    good = (found & again).ravel().astype(bool) & (np.abs(back - start).max((1, 2)) < _BACK_AGAIN)
    if good.sum() < _FEWEST:
        return None, 0.0
    points, targets = start[good, 0].astype(np.float64), there[good, 0].astype(np.float64)
    settings = {"ransacReprojThreshold": _FOLLOWS, "maxIters": 5000, "confidence": 0.999}
    affine, inliers = cv2.estimateAffine2D(points, targets, **settings)
    if affine is None or inliers.sum() < _FEWEST:
        return None, 0.0
    affine = _polished(affine, points, targets)
    scales = np.linalg.svd(affine[:, :2], compute_uv=False)
    if scales.min() < _SCALES[0] or scales.max() > _SCALES[1]:
        return None, 0.0
    return np.vstack([affine, [0, 0, 1]]), float(inliers.mean())


def _polished(affine: np.ndarray, points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The map [2, 3] that those of the points [K, 2] agree with that come nearest: least squares, weighted anew a few
    times (Geman and McClure's weights). Corners that follow by chance are few so near, and pull no longer."""
    places = np.column_stack([points, np.ones(len(points))])
    for _ in range(_POLISH):
        squared = ((targets - places @ affine.T) ** 2).sum(1)
        root = 1 / (1 + squared / _NEAR**2)
        affine = np.linalg.lstsq(places * root[:, None], targets * root[:, None], rcond=None)[0].T
    return affine


def _mended(steps: Sequence[tuple[np.ndarray | None, float]], grey: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Maps of the steps; of those that few corners follow, what leads best from the frame before them all to the frame
    after: they themselves, the sure ones beside them, or standing still.

    Blurred frames then move on as those beside them do, and past a cut, where nothing fits, no harm is done.
    """
    maps = [np.eye(3) if step is None else step for step, _ in steps]
    for sure, run in groupby(range(len(steps)), lambda k: steps[k][1] >= _SURE):
        if sure:
            continue
        run = [*run]
        first, last = run[0], run[-1]
        choices = [[np.eye(3)], maps[first : last + 1], maps[max(first - 1, 0) : first], maps[last + 1 : last + 2]]
        choices = [[*islice(cycle(choice), len(run))] for choice in choices if choice]
        errors = [_apart(grey[first], grey[last + 1], reduce(lambda map_, step: step @ map_, c)) for c in choices]
        maps[first : last + 1] = choices[int(np.argmin([_CLEARLY * errors[0], *errors[1:]]))]
    return maps


def _apart(one: np.ndarray, other: np.ndarray, map_: np.ndarray) -> float:
    """Mean difference in grey levels of what two frames both show, where a map [3, 3] leads from one to the other."""
    import cv2

    size, inverse = one.shape[::-1], cv2.WARP_INVERSE_MAP
    shown = cv2.warpAffine(np.full_like(one, 255), map_[:2], size, flags=inverse) == 255
    if shown.mean() < 0.1:
        return _LARGEST_ERROR
    through = cv2.warpAffine(other, map_[:2], size, flags=cv2.INTER_CUBIC | inverse)
    return float(np.minimum(cv2.absdiff(one, through)[shown], _LARGEST_ERROR).mean())


def _chained(steps: Sequence[np.ndarray]) -> Maps:
    """Maps from the frame in the middle, whose plane is the one that stands still, to every frame."""
    maps = [np.eye(3)]
    for step in steps:
        maps.append(step @ maps[-1])
    return np.stack(maps) @ np.linalg.inv(maps[len(maps) // 2])


def _pays(grey: Sequence[np.ndarray], maps: Maps, pool: ThreadPoolExecutor) -> bool:
    """Whether frames some time apart are nearer to each other through the maps than without: as they are, or by what
    Gaussians can do by themselves, which is to move straight on."""
    size = np.array(grey[0].shape[::-1])
    longest = min(_LATER, (len(grey) - 1) // 2)

    def errors(now: int) -> tuple[float, float, float]:
        back, later = np.linalg.inv(maps[now]), longest
        while later > 1 and (np.abs((maps[now + later] @ back @ [*size / 2, 1])[:2] - size / 2) > size / 3).any():
            later //= 2  # the frames have little in common
        there, before = maps[now + later] @ back, maps[now - later] @ back
        straight = there @ np.linalg.inv((there + before) / 2)  # from the middle of where it was and will be
        return tuple(_apart(grey[now], grey[now + later], map_) for map_ in (there, straight, np.eye(3)))

    if longest == 0:
        return False
    through, straight, still = np.mean([*pool.map(errors, range(longest, len(grey) - longest))], 0)
    return bool(through < _OF_STRAIGHT * straight or through < _OF_STILL * still)


def _placed(maps: Maps, width: int, height: int) -> Maps | None:
    """The maps of a plane in which all that any frame shows lies about the video's middle, near enough for a file; from
    here on the first pixel's centre is at 0.5, not at 0."""
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    maps = half @ maps @ np.linalg.inv(half)
    corners = np.array([[x, y, 1.0] for x in (0, width) for y in (0, height)]).T
    seen = (np.linalg.inv(maps) @ corners)[:, :2]
    low, high = seen.min((0, 2)), seen.max((0, 2))
    scale = min(1.0, *(_WIDEST * np.array([width, height]) / (high - low)))
    if scale < _SMALLEST:
        return None
    offset = np.array([width, height]) / 2 - scale * (low + high) / 2
    return maps @ np.linalg.inv(np.array([[scale, 0, offset[0]], [0, scale, offset[1]], [0, 0, 1.0]]))
