// A device "cuda" for a torch without one: it keeps its tensors in the host's memory and runs its
// operators by the CPU's kernels. It counts where a program would wait for a GPU.
//
// What torch asks of a device stands here, in this order: memory, a guard, answers to "is there a
// GPU?", kernels. cuDNN's part is written in Python, in cudnn.py.

#include <ATen/EmptyTensor.h>
#include <ATen/core/List.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <array>
#include <atomic>
#include <cstdlib>

namespace {

constexpr auto TYPE = c10::DeviceType::CUDA;
const c10::Device DEVICE{TYPE, 0};
const c10::DispatchKeySet KEY{c10::DispatchKey::CUDA};

// Whether the device refuses float64, as Apple's does.
const bool HAS_FLOAT64 = std::getenv("RNNKIT_DEVICE_WITHOUT_FLOAT64") == nullptr;

// ---- Waits, in the order of KINDS in simulated.py.

enum Kind { TO_HOST, TO_DEVICE, VALUE, UNKNOWN_SIZE };
std::array<std::atomic<long>, UNKNOWN_SIZE + 1> waits{};

// What a kernel does on the host to do its work is not the program's doing.
thread_local bool inside_kernel = false;

struct InsideKernel {
  bool before = inside_kernel;
  InsideKernel() { inside_kernel = true; }
  ~InsideKernel() { inside_kernel = before; }
};

void count(Kind kind) {
  if (!inside_kernel) ++waits[kind];
}

// ---- Memory.

struct HostMemory final : c10::Allocator {
  c10::DataPtr allocate(size_t size) override {
    void* data = size == 0 ? nullptr : std::malloc(size);
    return {data, data, &std::free, DEVICE};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &std::free; }
  void copy_data(void* to, const void* from, size_t size) const override {
    default_copy_data(to, from, size);
  }
};
HostMemory memory;

// ---- A guard: one device with one stream, on which all is done at once.

struct OneDevice final : c10::impl::DeviceGuardImplInterface {
  c10::Stream stream{c10::Stream::DEFAULT, DEVICE};
  c10::DeviceType type() const override { return TYPE; }
  c10::Device exchangeDevice(c10::Device) const override { return DEVICE; }
  c10::Device getDevice() const override { return DEVICE; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const override { return stream; }
  c10::Stream exchangeStream(c10::Stream) const override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  // Autograd's threads leave notes of how far each stream is.
  void record(void**, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  void destroyEvent(void*, c10::DeviceIndex) const noexcept override {}
  bool queryStream(const c10::Stream&) const override { return true; }
};
OneDevice one_device;

// ---- Answers: there is a GPU, and cuDNN.

struct Answers final : at::CUDAHooksInterface {
  explicit Answers(at::CUDAHooksArgs) {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasCUDA() const override { return true; }
  bool hasCuDNN() const override { return true; }
  bool compiledWithCuDNN() const override { return true; }
  bool supportsBFloat16RNNWithCuDNN() const override { return true; }
  long versionCuDNN() const override { return 91000; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex current_device() const override { return 0; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  int getNumGPUs() const override { return 1; }
  void init() const override {}
};

// ---- Kernels.

c10::ScalarType checked(std::optional<c10::ScalarType> given) {
  auto dtype = c10::dtype_or_default(given);
  TORCH_CHECK_TYPE(HAS_FLOAT64 || dtype != at::kDouble, "this device has no float64");
  return dtype;
}

at::Tensor empty(
    at::IntArrayRef size, std::optional<c10::ScalarType> dtype, std::optional<c10::Layout>,
    std::optional<c10::Device>, std::optional<bool>, std::optional<c10::MemoryFormat> format) {
  return at::detail::empty_generic(size, &memory, KEY, checked(dtype), format);
}

at::Tensor empty_strided(
    at::IntArrayRef size, at::IntArrayRef stride, std::optional<c10::ScalarType> dtype,
    std::optional<c10::Layout>, std::optional<c10::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &memory, KEY, checked(dtype));
}

// The same memory as a tensor of the CPU's.
at::Tensor on_host(const at::Tensor& tensor) {
  auto options = at::TensorOptions().dtype(tensor.scalar_type()).device(at::kCPU);
  return at::from_blob(tensor.data_ptr(), tensor.sizes(), tensor.strides(), options);
}

at::Tensor& copy_(at::Tensor& self, const at::Tensor& source, bool non_blocking) {
  if (self.is_cpu() && !source.is_cpu()) count(TO_HOST);
  // A small copy from memory that is not pinned goes at once if the caller does not wait.
  if (!self.is_cpu() && source.is_cpu() && !non_blocking) count(TO_DEVICE);
  on_host(self).copy_(on_host(source));
  return self;
}

// How the fallback writes back what an operator has changed.
at::Tensor copy_and_resize(const at::Tensor& source, const at::Tensor& self) {
  at::native::resize_(self, source.sizes());
  on_host(self).copy_(on_host(source));
  return self;
}

at::Scalar read_value(const at::Tensor& self) {
  count(VALUE);
  return on_host(self).item();
}

// Whether an index is a mask: how many places it picks is known when it has been read.
bool picks_by_mask(const torch::jit::Stack& stack) {
  for (const auto& argument : stack) {
    if (!argument.isList()) continue;
    for (const c10::IValue& each : argument.toListRef()) {
      if (!each.isTensor() || !each.toTensor().defined()) continue;
      if (each.toTensor().scalar_type() == at::kBool) return true;
    }
  }
  return false;
}

void run_on_host(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& name = op.schema().name();
  bool waits_for_size = op.hasTag(at::Tag::dynamic_output_shape);
  if (name.rfind("aten::index", 0) == 0 || name == "aten::_index_put_impl_")
    waits_for_size = picks_by_mask(*stack);
  if (name == "aten::repeat_interleave") waits_for_size = stack->back().isNone();  // output_size
  if (waits_for_size) count(UNKNOWN_SIZE);
  if (op.hasTag(at::Tag::data_dependent_output)) count(VALUE);
  InsideKernel inside;
  at::native::cpu_fallback(op, stack);
}

const bool is_registered = [] {
  c10::SetAllocator(TYPE, &memory, /*priority=*/255);
  c10::impl::device_guard_impl_registry[static_cast<size_t>(TYPE)].store(&one_device);
  return true;
}();

}  // namespace

namespace at {
C10_REGISTER_CLASS(CUDAHooksRegistry, CUDAHooks, Answers)
}

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  library.impl("empty.memory_format", empty);
  library.impl("empty_strided", empty_strided);
  library.impl("copy_", copy_);
  library.impl("_copy_from_and_resize", copy_and_resize);
  library.impl("_local_scalar_dense", read_value);
  // Of these the CPU's kernels look at no memory, or at memory that is the host's here, too.
  library.impl("resize_", at::native::resize_);
  library.impl("set_.source_Storage", [](at::Tensor& self, at::Storage source) -> at::Tensor& {
    return at::native::set_(self, source);
  });
  library.impl("set_.source_Storage_storage_offset", at::native::set_storage_cpu_);
  library.impl("set_.source_Tensor", at::native::set_tensor_);
  library.impl("as_strided", at::native::as_strided_tensorimpl);
  library.impl("view", at::native::view);
  library.impl("_reshape_alias", at::native::_reshape_alias);
  library.impl("unfold", at::native::unfold);
  library.impl("view_as_real", at::native::view_as_real);
}

TORCH_LIBRARY_IMPL(_, CUDA, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
}

extern "C" {
long waits_of_kind(int kind) { return waits[kind]; }
void forget_waits() {
  for (auto& each : waits) each = 0;
}
// A thread that runs kernels written in Python.
void count_no_waits_here() { inside_kernel = true; }
}
