// Frames out of packed Gaussians: the decoder's operator. The coarse levels are drawn all at once and added up from the
// coarsest to the finest of them, while the image's own level is drawn already; then they are interpolated into it.
#include "chaining.cuh"
#include "image_output.cuh"

namespace garv {
namespace {

constexpr int kBlocksPerProcessor = 7;  // as many as the registers allow
// With fewer coarse tiles than this, all warps of a thread block share one: a few long lists would keep all others
// waiting.
constexpr int64_t kFewTiles = 2048;

struct CoarseLevels {
  CoarseLevel levels[kMaxLevels];  // the first is not used: the finest level is the image
};

// The Gaussians of all coarse levels, each on its own.
template <bool kShared>
__global__ void __launch_bounds__(kDrawThreads, kBlocksPerProcessor)
    draw_coarse(PackedScene s, BlockLists lists, CoarseLevels coarse) {
  wait_for_last_kernel();
  lists.hand_on();
  allow_next_kernel();
  __shared__ Scratch scratches[kDrawWarps];
  constexpr int kPerBlock = kShared ? kTilesPerSide : 1;  // thread blocks along a block's side
  int level = 1, index = blockIdx.x;
  for (int blocks; level + 1 < s.levels; ++level, index -= blocks) {
    blocks = s.grids[level].blocks() * kPerBlock * kPerBlock;
    if (index < blocks) break;
  }
  const int columns = s.grids[level].blocks_x * kPerBlock, row = index / columns;
  const Place place(s.grids[level], level, blockIdx.z, index - row * columns, row, kShared);
  TileSums sums = {};
  add_gaussians(sums, scratches[threadIdx.x / 32].pending, s, lists, place);
  if constexpr (kShared) {
    __shared__ SharedSums shared;
    if (!shared.gather(sums, place)) return;
  }
  write_level(sums, coarse.levels[level], place);
}

// Adds a level to the next finer one.
__global__ void __launch_bounds__(kDrawThreads) merge_levels(CoarseLevel coarser, CoarseLevel finer) {
  allow_next_kernel();
  wait_for_last_kernel();
  __shared__ CoarseWindow windows[kDrawWarps];
  const Place place(finer.grid, 0, blockIdx.z, blockIdx.x, blockIdx.y, false);
  TileSums sums;
  for_each_of_level(sums, finer, place, [](const __half2& from, float& a, float& b) {
    a = __low2float(from);
    b = __high2float(from);
  });
  const int x = finer.grid.left + place.x, y = finer.grid.top + place.y;
  add_upsampled(sums, coarser, place.frame, x, y, windows[place.tile]);
  write_level(sums, finer, place);
}

template <int C, typename Output>
__global__ void __launch_bounds__(kDrawThreads, kBlocksPerProcessor)
    draw_image(PackedScene s, BlockLists lists, Window window, CoarseLevel coarser, Output output) {
  const bool only_level = coarser.samples == nullptr;
  if (only_level) {
    wait_for_last_kernel();
  } else {
    lists.take_over();
  }
  if (blockIdx.x + blockIdx.y + blockIdx.z + threadIdx.x == 0) lists.tell_host();
  __shared__ Scratch scratches[kDrawWarps];
  const Grid& grid = s.grids[0];
  const Place place(grid, 0, blockIdx.z, blockIdx.x, blockIdx.y, false);
  if (place.x >= grid.width || place.y >= grid.height) return;
  Scratch& scratch = scratches[place.tile];
  const int x = grid.left + place.x, y = grid.top + place.y;
  TileSums sums = {};
  add_gaussians(sums, scratch.pending, s, lists, place);
  if (!only_level) {
    wait_for_last_kernel();
    add_upsampled(sums, coarser, place.frame, x, y, scratch.window);
  }
  output.template write<C>(sums, scratch, window, place.frame, x, y);
}

// One allocation, cut into pieces.
class Workspace {
 public:
  template <typename T>
  T* take(int64_t count) {
    const int64_t at = bytes_;
    bytes_ += (count * static_cast<int64_t>(sizeof(T)) + 255) / 256 * 256;
    return base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + at);
  }

  void start(void* base) {
    base_ = static_cast<char*>(base);
    bytes_ = 0;
  }

  int64_t bytes() const { return bytes_; }

 private:
  char* base_ = nullptr;
  int64_t bytes_ = 0;
};

// Lays out what a launch needs; the first `zeroed` bytes have to be 0.
struct Memory {
  BlockLists lists;
  CoarseLevels coarse = {};
  int64_t zeroed;

  Memory(Workspace& space, const PackedScene& s, int64_t room) {
    const int64_t blocks = int64_t(s.frames) * s.blocks;
    // However long one list is, all together stay within a gigabyte; what does not fit is searched for.
    constexpr int64_t kMostEntries = 1 << 28;
    lists.room = static_cast<int>(std::min(room, kMostEntries / std::max<int64_t>(1, blocks)));
    lists.longest = space.take<unsigned long long>(1);
    lists.alive_count = space.take<int>(1);
    lists.whole = space.take<int>(1);
    lists.counts = space.take<int>(blocks);
    zeroed = space.bytes();
    lists.alive = s.frames == 1 ? nullptr : space.take<int>(s.chunk_count);
    lists.entries = space.take<unsigned>(blocks * lists.room);
    for (int level = 1; level < s.levels; ++level) {
      CoarseLevel& coarser = coarse.levels[level];
      coarser.grid = s.grids[level];
      coarser.samples = space.take<uint2>(int64_t(s.frames) * coarser.rows() * coarser.columns());
    }
  }
};

int blocks_for(int64_t threads) { return static_cast<int>((threads + kVisitThreads - 1) / kVisitThreads); }

// `zeroed` bytes from `space` on have to be 0 before.
void make_lists(const PackedScene& s, const BlockLists& lists, void* space, int64_t zeroed, cudaStream_t stream) {
  if (s.frames == 1) {
    const int zeros = static_cast<int>(zeroed / sizeof(int));
    clear<<<blocks_for(zeros), kVisitThreads, 0, stream>>>(static_cast<int*>(space), zeros);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
    launch_after(stream, visit_frame, dim3(std::min(s.chunk_count, kVisits)), kVisitThreads, s, lists);
    return;
  }
  STD_CUDA_CHECK(cudaMemsetAsync(space, 0, zeroed, stream));
  find_living_chunks<<<blocks_for(s.chunk_count), kVisitThreads, 0, stream>>>(s, lists);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  const int64_t most = int64_t(s.chunk_count) * most_parts(std::min(s.frames, kFramesPerVisit));
  const dim3 grid(static_cast<unsigned>(std::min<int64_t>(most, kVisits)),
                  (s.frames + kFramesPerVisit - 1) / kFramesPerVisit);
  launch_after(stream, visit_chunks, grid, kVisitThreads, s, lists);
}

// A thread block for each of a grid's blocks.
dim3 launch_over(const Grid& grid, int frames) { return dim3(grid.blocks_x, grid.blocks_y, frames); }

// All coarse levels; returns the finest of them with the others added to it.
CoarseLevel draw_coarse_levels(const PackedScene& s, const Memory& memory, cudaStream_t stream) {
  if (s.levels == 1) return {};
  const CoarseLevel* levels = memory.coarse.levels;
  const int blocks = s.blocks - s.grids[1].first_block;
  if (int64_t(s.frames) * blocks * kDrawWarps < kFewTiles) {
    const dim3 tiles(blocks * kDrawWarps, 1, s.frames);
    launch_after(stream, draw_coarse<true>, tiles, kDrawThreads, s, memory.lists, memory.coarse);
  } else {
    launch_after(stream, draw_coarse<false>, dim3(blocks, 1, s.frames), kDrawThreads, s, memory.lists, memory.coarse);
  }
  for (int level = s.levels - 2; level > 0; --level) {
    launch_after(stream, merge_levels, launch_over(s.grids[level], s.frames), kDrawThreads, levels[level + 1],
                 levels[level]);
  }
  return levels[1];
}

template <int C, typename Output>
void draw_levels(const PackedScene& s, const Memory& memory, const Window& window, const Output& output,
                 cudaStream_t stream) {
  const CoarseLevel coarser = draw_coarse_levels(s, memory, stream);
  launch_after(stream, draw_image<C, Output>, launch_over(s.grids[0], s.frames), kDrawThreads, s, memory.lists, window,
               coarser, output);
}

PackedScene packed_scene(const Tensor& records, const Tensor& chunks, const Tensor& times, const Tensor& motion,
                         int64_t levels, double tau, const Window& window) {
  STD_TORCH_CHECK(chunks.dim() == 2 && times.dim() == 1, "chunks must be [M, 4] and times [B]");
  STD_TORCH_CHECK(levels >= 1 && levels <= kMaxLevels, "levels must be 1 to ", kMaxLevels, ", got ", levels);
  check_tensor(chunks, ScalarType::Float, {chunks.size(0), 4}, "chunks");
  check_tensor(records, ScalarType::Int, {chunks.size(0) * kChunkSize, kRecordWords}, "records");
  check_tensor(times, ScalarType::Float, {times.size(0)}, "times");
  check_tensor(motion, ScalarType::Float, {motion.size(0) == 0 ? 0 : times.size(0), 6}, "motion");
  STD_TORCH_CHECK(records.size(0) <= 1 << kIdBits, "at most 2^28 Gaussians, got ", records.size(0));
  PackedScene s;
  s.records = static_cast<const int4*>(records.const_data_ptr());
  s.chunks = static_cast<const float4*>(chunks.const_data_ptr());
  s.times = static_cast<const float*>(times.const_data_ptr());
  s.motion = motion.size(0) == 0 ? nullptr : static_cast<const PlaneMap<float>*>(motion.const_data_ptr());
  s.chunk_count = static_cast<int>(chunks.size(0));
  s.frames = static_cast<int>(times.size(0));
  s.levels = static_cast<int>(levels);
  s.log2_scale = static_cast<float>(std::log2(255.0 / tau));
  int64_t blocks = 0;
  for (int level = 0; level < s.levels; ++level) {
    s.grids[level] = grid_of(window, level, static_cast<int>(blocks));
    blocks += int64_t(s.grids[level].blocks_x) * s.grids[level].blocks_y;
    STD_TORCH_CHECK(blocks * std::max(1, s.frames) < INT32_MAX,
                    "frames x blocks of 32x32 pixels must stay below 2^31 in one launch: draw fewer frames at once");
  }
  STD_TORCH_CHECK(s.frames <= 65535 && s.grids[0].blocks_y <= 65535, "at most 65535 frames in one launch");
  s.blocks = static_cast<int>(blocks);
  return s;
}

// Where the device writes what the host is told.
int64_t* checked_missing(const Tensor& missing) {
  STD_TORCH_CHECK(missing.scalar_type() == ScalarType::Long && missing.numel() == 1, "missing must be int64 [1]");
  void* place = missing.mutable_data_ptr();
  if (!missing.is_cuda() && cudaHostGetDevicePointer(&place, place, 0) != cudaSuccess) {
    cudaGetLastError();  // or the next launch would be taken for the one that failed
    STD_TORCH_CHECK(false, "missing must be in pinned memory or on the GPU");
  }
  return static_cast<int64_t*>(place);
}

Tensor draw(const Tensor& records, const Tensor& chunks, int64_t levels, int64_t channels, double tau,
            const Tensor& times, const Tensor& motion, int64_t left, int64_t top, int64_t width, int64_t height,
            int64_t room, bool as_float, const Tensor& missing) {
  const Window window = checked_window(left, top, width, height);
  const PackedScene s = packed_scene(records, chunks, times, motion, levels, tau, window);
  STD_TORCH_CHECK(channels >= 1 && channels <= kRecordChannels, "channels must be 1 to 4, got ", channels);
  STD_TORCH_CHECK(room >= 0 && room <= INT32_MAX, "room must be 0 to 2^31, got ", room);
  const DeviceGuard guard(records.get_device_index());
  const std::initializer_list<int64_t> shape = {s.frames, height, width, channels};
  const auto zeros = [&] {
    return torch::stable::new_zeros(records, shape, as_float ? ScalarType::Float : ScalarType::Byte);
  };
  if (s.chunk_count == 0 || s.frames == 0) return zeros();
  Workspace space;
  Memory(space, s, room);
  Tensor workspace = new_tensor(records, {space.bytes()}, aoti_torch_dtype_uint8());
  space.start(workspace.mutable_data_ptr());
  Memory memory(space, s, room);

  const cudaStream_t stream = stream_of(records);
  make_lists(s, memory.lists, workspace.mutable_data_ptr(), memory.zeroed, stream);
  memory.lists.missing = checked_missing(missing);  // asks the driver, while the lists are made
  if (room == 0) {
    STD_CUDA_CHECK(cudaMemcpyAsync(memory.lists.missing, memory.lists.longest, sizeof(*memory.lists.missing),
                                   cudaMemcpyDefault, stream));
    return zeros();
  }
  // While the lists are made.
  Tensor image = new_tensor(records, shape, as_float ? aoti_torch_dtype_float32() : aoti_torch_dtype_uint8());
  const auto run = [&](auto c, const auto& output) { draw_levels<c>(s, memory, window, output, stream); };
  void* const pixels = image.mutable_data_ptr();
  dispatch_channels<kRecordChannels>(static_cast<int>(channels), [&](auto c) {
    if (as_float) {
      run(c, FloatOutput{static_cast<float*>(pixels)});
    } else {
      run(c, ByteOutput{static_cast<uint8_t*>(pixels)});
    }
  });
  return image;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(garv, CUDA, m) { m.impl("draw", TORCH_BOX(&draw)); }

}  // namespace garv
