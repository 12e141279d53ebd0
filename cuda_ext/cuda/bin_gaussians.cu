// Lists the Gaussians of every tile of every frame. Pairs of Gaussians and blocks of 2x2 tiles are found once, and each
// takes its place within its block's list as it is found; the lists' lengths give where they begin, and the pairs are
// moved there. A tile then takes its own out of its block's. No sort: a sum needs no order.
#include <thrust/iterator/transform_iterator.h>

#include <algorithm>
#include <cub/device/device_scan.cuh>

#include "visiting.cuh"

namespace garv {
namespace {

// A pair as it is found.
struct Pair {
  int list, place;  // place within the block's list
  unsigned entry;
};

// What becomes lists of blocks.
struct FoundPairs {
  unsigned long long* count;  // whether or not they fit
  Pair* pairs;                // [capacity]
  int64_t capacity;
  int32_t* lengths;   // [frames * blocks]
  int64_t* starts;    // [frames * blocks + 1]
  unsigned* entries;  // [capacity]

  __device__ __forceinline__ bool complete() const { return *count <= static_cast<unsigned long long>(capacity); }
};

__host__ __device__ Blocks blocks_of(const Scene& s) {
  return {0, 0, (s.tiles_x + kTilesPerSide - 1) / kTilesPerSide, (s.tiles_y + kTilesPerSide - 1) / kTilesPerSide};
}

// As `visit` finds them.
struct BlockPairs {
  const Scene& scene;
  const FoundPairs& found;
  Blocks blocks;

  __device__ __forceinline__ void slice(Living who, Slice<float>& slice, float& reach) const {
    const ReachingSlice r = load_slice(scene, who.id, who.frame);
    slice = r.slice;
    reach = r.reach;
  }

  __device__ __forceinline__ int64_t reserve(int pairs) const {
    return static_cast<int64_t>(atomicAdd(found.count, static_cast<unsigned long long>(pairs)));
  }

  __device__ __forceinline__ void add(Living who, const Reached& reached, int column, int row, int64_t at) const {
    const int list = who.frame * blocks.columns * blocks.rows + row * blocks.columns + column;
    const PlaceInList asked(found.lengths + list, __activemask());
    const unsigned entry = entry_of(who.id, reached.tiles(column, row));
    const int place = asked.get();
    if (at < found.capacity) found.pairs[at] = {list, place, entry};
  }
};

// Calls use(tile, id) for the pairs of tiles, where those of blocks did not fit.
template <typename Use>
struct TilePairs : BlockPairs {
  const Use& use;

  __device__ TilePairs(const BlockPairs& pairs, const Use& use) : BlockPairs(pairs), use(use) {}

  __device__ __forceinline__ int64_t reserve(int) const { return 0; }

  __device__ __forceinline__ void add(Living who, const Reached& reached, int column, int row, int64_t) const {
    const unsigned entry = entry_of(0, reached.tiles(column, row));
    for (int tile = 0; tile < kTilesPerBlock; ++tile) {
      const int x = column * kTilesPerSide + tile % kTilesPerSide, y = row * kTilesPerSide + tile / kTilesPerSide;
      if (!touches(entry, tile) || x >= scene.tiles_x || y >= scene.tiles_y) continue;
      use(who.frame * scene.tiles() + y * scene.tiles_x + x, who.id);
    }
  }
};

// Gaussians of a fit may live through all frames: their frames are dealt out to several visits, or most of the GPU
// would wait for a few long ones. With too few frames, reading the Gaussians counts.
constexpr int64_t kEnoughVisits = 8192;
constexpr int kFewestFrames = 2;

int frames_per_visit(const Scene& s) {
  const int64_t chunks = (int64_t(s.n) + kVisitThreads - 1) / kVisitThreads;
  const int64_t parts = std::max<int64_t>(1, kEnoughVisits / chunks);
  return static_cast<int>(std::clamp<int64_t>((s.frames + parts - 1) / parts, kFewestFrames, kFramesPerVisit));
}

__device__ __forceinline__ unsigned frames_alive(const Scene& s, int id, int first_frame, int frames) {
  if (id >= s.n) return 0;
  const float cutoff = s.cutoffs[id];
  const float mean = s.means[int64_t(id) * 3 + 2], inverse = 1.f / at_least_min_sigma(s.cholesky[int64_t(id) * 6]);
  unsigned alive = 0;
  for (int f = 0; f < min(frames, s.frames - first_frame); ++f) {
    const float u = (s.times[first_frame + f] - mean) * inverse;
    alive |= static_cast<unsigned>(cutoff - u * u >= 0.f) << f;
  }
  return alive;
}

template <typename Pairs>
__device__ __forceinline__ void visit_gaussians(const Scene& s, int frames, const Pairs& pairs) {
  __shared__ VisitShared shared;
  const int first_id = blockIdx.x * kVisitThreads, first_frame = blockIdx.y * frames;
  const unsigned alive = frames_alive(s, first_id + threadIdx.x, first_frame, frames);
  visit(pairs, shared, pairs.blocks, first_id, first_frame, alive);
}

__global__ void __launch_bounds__(kVisitThreads) find_pairs(Scene s, int frames, FoundPairs found) {
  visit_gaussians(s, frames, BlockPairs{s, found, blocks_of(s)});
}

__global__ void __launch_bounds__(kVisitThreads) count_pairs(Scene s, int frames, FoundPairs found, int32_t* lengths) {
  if (found.complete()) return;
  const auto count = [&](int64_t tile, int) { atomicAdd(lengths + tile, 1); };
  visit_gaussians(s, frames, TilePairs<decltype(count)>({s, found, blocks_of(s)}, count));
}

// Many Gaussians may reach a block and none of its tiles: the pairs of tiles may fit where those of blocks do not.
__global__ void __launch_bounds__(kVisitThreads)
    fill_pairs(Scene s, int frames, FoundPairs found, int32_t* lengths, TileLists lists, int32_t* ids) {
  if (found.complete() || !lists.complete(s.frames * s.tiles())) return;
  const auto fill = [&](int64_t tile, int id) { ids[lists.offsets[tile] + atomicSub(lengths + tile, 1) - 1] = id; };
  visit_gaussians(s, frames, TilePairs<decltype(fill)>({s, found, blocks_of(s)}, fill));
}

__global__ void __launch_bounds__(kVisitThreads) fill_blocks(FoundPairs found) {
  if (!found.complete()) return;
  const int64_t count = static_cast<int64_t>(*found.count);
  for (int64_t k = int64_t(blockIdx.x) * kVisitThreads + threadIdx.x; k < count; k += gridDim.x * kVisitThreads) {
    const Pair pair = found.pairs[k];
    found.entries[found.starts[pair.list] + pair.place] = pair.entry;
  }
}

constexpr int kTileThreads = 32 * kTilesPerBlock;  // a warp for each tile of a block

// Calls use(tile, rank, id) for each Gaussian of the warp's tile; rank counts within the tile. Returns how many there
// are.
template <typename Use>
__device__ __forceinline__ int for_each_of_tile(const Scene& s, const FoundPairs& found, int& tile, const Use& use) {
  const Blocks blocks = blocks_of(s);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int x = blockIdx.x * kTilesPerSide + warp % kTilesPerSide;
  const int y = blockIdx.y * kTilesPerSide + warp / kTilesPerSide;
  tile = -1;
  if (x >= s.tiles_x || y >= s.tiles_y) return 0;
  tile = static_cast<int>(blockIdx.z * s.tiles()) + y * s.tiles_x + x;
  const int list = (blockIdx.z * blocks.rows + blockIdx.y) * blocks.columns + blockIdx.x;
  const int64_t start = found.starts[list], count = found.starts[list + 1] - start;
  int rank = 0;
  for (int64_t first = 0; first < count; first += 32) {
    const unsigned entry = first + lane < count ? found.entries[start + first + lane] : 0;
    const unsigned touched = __ballot_sync(0xffffffffu, touches(entry, warp));
    if (touches(entry, warp)) use(rank + __popc(touched & ((1u << lane) - 1)), id_of(entry));
    rank += __popc(touched);
  }
  return rank;
}

__global__ void __launch_bounds__(kTileThreads) measure_tiles(Scene s, FoundPairs found, int32_t* lengths) {
  if (!found.complete()) return;
  int tile;
  const int length = for_each_of_tile(s, found, tile, [](int, int) {});
  if (tile >= 0 && threadIdx.x % 32 == 0) lengths[tile] = length;
}

__global__ void __launch_bounds__(kTileThreads) fill_tiles(Scene s, FoundPairs found, TileLists lists, int32_t* ids) {
  if (!found.complete() || !lists.complete(s.frames * s.tiles())) return;
  const int x = blockIdx.x * kTilesPerSide + threadIdx.x / 32 % kTilesPerSide;
  const int y = blockIdx.y * kTilesPerSide + threadIdx.x / 32 / kTilesPerSide;
  const bool inside = x < s.tiles_x && y < s.tiles_y;
  const int64_t start = inside ? lists.offsets[blockIdx.z * s.tiles() + int64_t(y) * s.tiles_x + x] : 0;
  int tile;
  for_each_of_tile(s, found, tile, [&](int rank, int id) { ids[start + rank] = id; });
}

struct ToInt64 {
  __device__ int64_t operator()(int32_t value) const { return value; }
};

// ends[k] = counts[0] + ... + counts[k], in 64 bits: pairs of a launch may pass 2^31.
void prefix_sum(const Tensor& like, const int32_t* counts, int64_t* ends, int n, cudaStream_t stream) {
  const auto wide = thrust::make_transform_iterator(counts, ToInt64());
  size_t bytes = 0;
  STD_CUDA_CHECK(cub::DeviceScan::InclusiveSum(nullptr, bytes, wide, ends, n, stream));
  Tensor storage = torch::stable::new_empty(like, {static_cast<int64_t>(bytes)}, ScalarType::Byte);
  STD_CUDA_CHECK(cub::DeviceScan::InclusiveSum(storage.mutable_data_ptr(), bytes, wide, ends, n, stream));
}

// Everything that is found on the way to the tiles' lists, in one allocation.
struct Workspace {
  FoundPairs found;
  int32_t* tile_lengths;
  int lists;
  Tensor memory;

  Workspace(const Tensor& like, const Scene& s, int64_t capacity, cudaStream_t stream) {
    const Blocks blocks = blocks_of(s);
    const int64_t tiles = s.frames * s.tiles();
    lists = s.frames * blocks.columns * blocks.rows;
    const int64_t zeroed = sizeof(unsigned long long) + sizeof(int64_t) + sizeof(int32_t) * (lists + tiles);
    const int64_t pairs = (zeroed + sizeof(int64_t) * lists + 15) / 16 * 16;
    // A block is mostly found for more than one of its tiles, but in a narrow image or between two tiles for none.
    found.capacity = capacity > 0 ? capacity + capacity / 4 + 4096 : 0;
    memory = torch::stable::new_empty(
        like, {pairs + found.capacity * static_cast<int64_t>(sizeof(Pair) + sizeof(unsigned)) + 16}, ScalarType::Byte);
    char* const bytes = static_cast<char*>(memory.mutable_data_ptr());
    found.count = reinterpret_cast<unsigned long long*>(bytes);
    found.starts = reinterpret_cast<int64_t*>(found.count + 1);
    found.pairs = reinterpret_cast<Pair*>(bytes + pairs);
    found.entries = reinterpret_cast<unsigned*>(found.pairs + found.capacity);
    // After the starts, of which the first is 0 and the others are written before they are read.
    found.lengths = reinterpret_cast<int32_t*>(found.starts + lists + 1);
    tile_lengths = found.lengths + lists;
    STD_CUDA_CHECK(cudaMemsetAsync(bytes, 0, pairs, stream));
  }
};

std::tuple<Tensor, Tensor> bin_gaussians(const Tensor& means, const Tensor& cholesky, const Tensor& cutoffs,
                                         const Tensor& times, const Tensor& motion, int64_t width, int64_t height,
                                         int64_t capacity) {
  const Scene s = make_scene(means, cholesky, cutoffs, times, motion, width, height);
  STD_TORCH_CHECK(capacity >= 0, "capacity must not be negative, got ", capacity);
  STD_TORCH_CHECK(s.n <= 1 << kIdBits, "at most 2^", kIdBits, " Gaussians, got ", s.n);
  STD_TORCH_CHECK(s.frames <= 65535, "at most 65535 frames in one launch, got ", s.frames);
  const DeviceGuard guard(means.get_device_index());
  const int64_t tiles = s.frames * s.tiles();
  Tensor offsets = torch::stable::new_empty(means, {tiles + 1}, ScalarType::Long);
  Tensor ids = torch::stable::new_empty(means, {capacity}, ScalarType::Int);
  const cudaStream_t stream = stream_of(means);
  int64_t* const starts = static_cast<int64_t*>(offsets.mutable_data_ptr());
  STD_CUDA_CHECK(cudaMemsetAsync(starts, 0, sizeof(int64_t) * (s.n == 0 ? tiles + 1 : 1), stream));
  if (s.n == 0 || tiles == 0) return {offsets, ids};

  const Workspace work(means, s, capacity, stream);
  const FoundPairs& found = work.found;
  const Blocks blocks = blocks_of(s);
  const int frames = frames_per_visit(s);
  const dim3 visits((s.n + kVisitThreads - 1) / kVisitThreads, (s.frames + frames - 1) / frames);
  const dim3 squares(blocks.columns, blocks.rows, s.frames);
  constexpr int64_t kMostBlocks = 2048;  // thread blocks that a large GPU holds at once; more would only wait
  const auto fills = static_cast<unsigned>(std::min(kMostBlocks, found.capacity / kVisitThreads + 1));
  int32_t* const places = static_cast<int32_t*>(ids.mutable_data_ptr());
  find_pairs<<<visits, kVisitThreads, 0, stream>>>(s, frames, found);
  count_pairs<<<visits, kVisitThreads, 0, stream>>>(s, frames, found, work.tile_lengths);
  prefix_sum(means, found.lengths, found.starts + 1, work.lists, stream);
  fill_blocks<<<fills, kVisitThreads, 0, stream>>>(found);
  measure_tiles<<<squares, kTileThreads, 0, stream>>>(s, found, work.tile_lengths);
  prefix_sum(means, work.tile_lengths, starts + 1, static_cast<int>(tiles), stream);
  const TileLists lists = {starts, places, capacity};
  fill_tiles<<<squares, kTileThreads, 0, stream>>>(s, found, lists, places);
  fill_pairs<<<visits, kVisitThreads, 0, stream>>>(s, frames, found, work.tile_lengths, lists, places);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  return {offsets, ids};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(garv, CUDA, m) { m.impl("bin_gaussians", TORCH_BOX(&bin_gaussians)); }

}  // namespace garv
