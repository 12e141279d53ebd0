"""Streams of the codec `rans`: the kernel against the reference by constriction, on what writers write and on noise."""

from __future__ import annotations

import random

import constriction
import numpy as np
import pytest
import torch

from garv_gsplat import ops
from garv_gsplat.codec.ans import Encoder
from garv_gsplat.codec.buckets import NUM_SIGNED, NUM_UNSIGNED
from garv_gsplat.ops._reference_decode import categorical
from garv_gsplat.ops._reference_decode import decode_levels as reference

MIDDLE = 20  # the signed bucket of 0
FINE, COARSE = [3000, 6000, -(2 << 16), 3, 3, 2], [1 << 40, 1 << 40, 64 << 16, 20, 20, 20]

Tables = list[tuple[int, list[int]]]
"""first bucket and heights of each"""


def inputs(streams: list[tuple[int, bytes]], tables: Tables, contexts: list[list[int]], steps: list[int]):
    """The operator's arguments; streams are numbers of Gaussians and bytes."""
    heights = torch.tensor([height for _, table in tables for height in table])
    return (
        torch.frombuffer(bytearray(b"".join(data for _, data in streams)), dtype=torch.uint8),
        torch.tensor([len(data) for _, data in streams]),
        torch.tensor([count for count, _ in streams]),
        torch.tensor([[first, len(table)] for first, table in tables]),
        heights,
        torch.tensor(contexts),
        torch.tensor(steps),
    )


def random_tables(generator: random.Random, contexts: list[list[int]]) -> Tables:
    """Any heights over any buckets."""
    tables = []
    for buckets in [NUM_UNSIGNED] + [NUM_SIGNED] * sum(context[2] + 1 for context in contexts):
        first = generator.randrange(buckets)
        most = generator.choice([0, 3, 52])
        tables.append((first, [generator.randint(0, most) for _ in range(generator.randint(1, buckets - first))]))
    return tables


def random_contexts(generator: random.Random, channels: int) -> list[list[int]]:
    contexts = []
    for k in range(6 + channels):
        source = generator.randrange(-1, k)
        thresholds = sorted(generator.sample(range(-30, 60), generator.randint(0, 3) if source >= 0 else 0))
        contexts.append([source, generator.randint(0, 1), len(thresholds), *thresholds, *[0] * (3 - len(thresholds))])
    return contexts


def assert_agree(arguments) -> torch.Tensor:
    """The kernel and the reference agree; the status of each stream."""
    found, expected = torch.ops.garv.decode_levels(*arguments), reference(*arguments)
    assert torch.equal(found[3], expected[3])
    counts = arguments[2]
    fine = torch.repeat_interleave(found[3] == 0, counts)
    for a, b in zip(found[:3], expected[:3]):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert torch.equal(a[:, fine], b[:, fine])
    return found[3]


def word_stream(generator: random.Random, count: int) -> bytes:
    """Noise enough for `count` Gaussians, on which a box of 2^28 x 2^28 x 2^28 cells at the origin is coded."""
    noise = [generator.randrange(1, 1 << 32) for _ in range(12 * count + 2)]
    coder = constriction.stream.stack.AnsCoder(np.array(noise, np.uint32))
    numbers = np.array([0, 0, 0, 58, 58, 58] + [0] * 6, np.int32)
    sizes = np.array([1 << 7] * 6 + [1 << 20] * 3 + [1 << 8] * 3, np.int32)
    coder.encode_reverse(numbers, constriction.stream.model.Uniform(), sizes)
    return coder.get_compressed().astype("<u4").tobytes()


@pytest.fixture(autouse=True)
def compiled():
    assert ops.serving()["CPU"] == "compiled", "there is no kernel to compare the reference with: build the library"


@pytest.mark.parametrize("seed", range(40))
def test_the_kernel_agrees_with_the_reference_on_noise(seed):
    """Random tables, contexts and words: every number of bits, every way through the coder."""
    generator = random.Random(seed)
    contexts = random_contexts(generator, 1 + seed % 4)
    tables = random_tables(generator, contexts)
    tables[0] = (0, tables[0][1][:20])  # gaps that stay within the box
    streams = [(count, word_stream(generator, count)) for count in (1, 0, 300, 17)]
    status = assert_agree(inputs(streams, tables, contexts, generator.choice([FINE, COARSE])))
    assert (status == 0).all()


@pytest.mark.parametrize("seed", range(40))
def test_they_agree_on_what_is_no_stream(seed):
    """Nothing is known of these bytes but their number, which is too small for what is asked."""
    generator = random.Random(seed)
    contexts = random_contexts(generator, 3)
    streams = []
    for size in (0, 1, 4, 7, 8, 16, 400):
        streams.append((8 * size + 7, generator.randbytes(size)))
        streams.append((8 * size + 7, bytes(size)))
    assert_agree(inputs(streams, random_tables(generator, contexts), contexts, FINE))


@pytest.mark.parametrize(
    "heights",
    [[0], [52], [0, 52], [52, 0], [0] * 85, [52] * 85, [0] * 84 + [52], [52] + [0] * 84, [52, 0] * 42, [*range(53)]],
)
def test_models_are_those_of_the_coder(heights):
    """The symbols that constriction codes by extreme models come back."""
    generator = random.Random(0)
    model, count = categorical(np.array(heights)), 2000
    symbols = np.array([generator.randrange(len(heights)) for _ in range(count)])
    coder = Encoder()
    coder.bits(np.zeros(6, np.int64), np.full(6, 7))
    coder.symbols(np.zeros(count, np.int64), categorical(np.array([52])))
    for _ in range(6):
        coder.symbols(np.zeros(count, np.int64), categorical(np.array([52])))
    coder.symbols(symbols, model)
    data = coder.finish(count // 8)
    contexts = [[-1, 0, 0, 0, 0, 0]] * 7
    first = 0 if len(heights) > 41 else MIDDLE
    tables = [(0, [52])] + [(MIDDLE, [52])] * 6 + [(first, heights)]
    arguments = inputs([(count, data)], tables, contexts, [1 << 16, 1, 0, -20, -20, -20])
    assert (assert_agree(arguments) == 0).all()
    buckets = ops.decode_levels(*arguments)[0][6].numpy()
    near = first + symbols < 41
    np.testing.assert_array_equal(buckets[near], (first + symbols - 20)[near])


def test_a_table_of_one_bucket_never_leaves_it():
    """The second symbol of its model, which noise may hold, stands for the same bucket."""
    contexts = [[-1, 0, 0, 0, 0, 0]] * 7
    tables = [(0, [52])] + [(NUM_SIGNED - 1, [52])] * 7
    data = b"\xff" * 4000
    streams = [(400, data + word_stream(random.Random(0), 0))]
    assert (assert_agree(inputs(streams, tables, contexts, FINE)) == 0).all()


def test_streams_that_no_writer_writes_are_refused():
    contexts = [[-1, 0, 0, 0, 0, 0]] * 7
    tables = [(0, [52])] + [(MIDDLE, [52])] * 7

    def decode(count: int, data: bytes, gaps=(0, [52])):
        return ops.decode_levels(*inputs([(count, data)], [gaps, *tables[1:]], contexts, FINE))

    with pytest.raises(ValueError, match="not whole words"):
        decode(8, b"abc")
    with pytest.raises(ValueError, match="the last of them not 0"):
        decode(8, b"abcd" + bytes(4))
    with pytest.raises(ValueError, match="the cells of a stream lie outside of any video"):
        decode(8, b"\xff" * 64)
    coder = Encoder()
    coder.bits(np.zeros(6, np.int64), np.full(6, 7))
    coder.symbols(np.ones(4, np.int64), categorical(np.array([0, 0])))
    with pytest.raises(ValueError, match="a Gaussian lies outside of its stream's cells"):
        decode(4, coder.finish(64), (0, [0, 0]))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, torch.zeros(8, dtype=torch.int32), "data must be uint8"),
        (1, torch.tensor([16]), "passes the end of data"),
        (1, torch.tensor([-4]), "passes the end of data"),
        (1, torch.tensor([4]), "data go on after the last stream"),
        (2, torch.tensor([72]), "a stream of 8 bytes cannot hold 72 Gaussians"),
        (2, torch.tensor([-1]), "cannot hold -1 Gaussians"),
        (2, torch.tensor([1, 1]), "as many streams"),
        (3, torch.tensor([[0, 1]]), "contexts want more tables than there are"),
        (3, torch.tensor([[91, 2]] * 8), "is none of 92 buckets"),
        (3, torch.tensor([[0, 1]] * 9), "more tables or heights than contexts want"),
        (4, torch.tensor([53] * 8), "a height is 53"),
        (4, torch.tensor([52] * 7), "is none of"),
        (5, torch.tensor([[0, 0, 1, 0, 0, 0]] * 7), "have source 0"),
        (5, torch.tensor([[-1, 0, 1, 0, 0, 0]] * 7), "and 1 thresholds"),
        (5, torch.tensor([[-1, 0, 0, 0, 0, 0]] * 5), "those of 6 numbers and the colours"),
        (6, torch.tensor([1, 1, 0, 21, 0, 0]), "steps are out of bounds"),
        (6, torch.tensor([1, 1, 0]), "steps must be six numbers"),
    ],
)
def test_the_kernel_guards_its_memory(place, value, message):
    contexts = [[-1, 0, 0, 0, 0, 0]] * 7
    arguments = list(inputs([(8, b"\1" * 8)], [(0, [52])] + [(MIDDLE, [52])] * 7, contexts, FINE))
    arguments[place] = value
    with pytest.raises(RuntimeError, match=message):
        torch.ops.garv.decode_levels(*arguments)


def test_opcheck():
    generator = random.Random(0)
    contexts = random_contexts(generator, 3)
    tables = random_tables(generator, contexts)
    streams = [(17, word_stream(generator, 17))]
    arguments = inputs(streams, tables, contexts, FINE)
    torch.library.opcheck(torch.ops.garv.decode_levels.default, arguments)
