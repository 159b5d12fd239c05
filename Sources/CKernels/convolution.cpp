// Convolutions of inference: oneDNN's with what follows them in the same pass, over weights that it has laid out once.
// libtorch has these for its compiler, which Python reaches as `torch.ops.mkldnn`; no header declares them.
#include "levels.hpp"
#include "products.hpp"

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>

using namespace ct;

namespace {

using Sizes = at::IntArrayRef;
using Name = std::string_view;
using Scalars = c10::List<std::optional<at::Scalar>>;

using Layout = at::Tensor(const at::Tensor &, Sizes padding, Sizes stride, Sizes dilation, int64_t groups,
                          at::OptionalIntArrayRef input);
using Pointwise = at::Tensor(const at::Tensor &x, const at::Tensor &weight, const std::optional<at::Tensor> &bias,
                             Sizes padding, Sizes stride, Sizes dilation, int64_t groups, Name after, Scalars scalars,
                             std::optional<Name> algorithm);
using Binary = at::Tensor(const at::Tensor &x, const at::Tensor &other, const at::Tensor &weight,
                          const std::optional<at::Tensor> &bias, Sizes padding, Sizes stride, Sizes dilation,
                          int64_t groups, Name binary, std::optional<at::Scalar> alpha, std::optional<Name> unary,
                          Scalars scalars, std::optional<Name> algorithm);

/// The three operations, or nothing where this libtorch was built without them.
struct Fused {
    c10::TypedOperatorHandle<Layout> layout;
    c10::TypedOperatorHandle<Pointwise> pointwise;
    c10::TypedOperatorHandle<Binary> binary;

    static const std::optional<Fused> &shared() {
        static const std::optional<Fused> fused = []() -> std::optional<Fused> {
            auto &dispatcher = c10::Dispatcher::singleton();
            const auto layout = dispatcher.findSchema({"mkldnn::_reorder_convolution_weight", ""});
            const auto pointwise = dispatcher.findSchema({"mkldnn::_convolution_pointwise", ""});
            const auto binary = dispatcher.findSchema({"mkldnn::_convolution_pointwise", "binary"});
            if (!layout || !pointwise || !binary || !at::hasMKLDNN()) return std::nullopt;
            return Fused{layout->typed<Layout>(), pointwise->typed<Pointwise>(), binary->typed<Binary>()};
        }();
        return fused;
    }
};

bool is_fused(const at::Tensor &tensor) {
    const bool is_known = tensor.scalar_type() == at::kFloat ||
                          (tensor.scalar_type() == at::kBFloat16 && has_narrow_products());
    return tensor.is_cpu() && is_known && level() > Level::libtorch && Fused::shared().has_value();
}

}  // namespace

at::Tensor ct::inference_weight(const at::Tensor &weight, int64_t stride, int64_t padding, int64_t groups,
                                at::IntArrayRef input) {
    const at::Tensor dense = weight.contiguous(at::MemoryFormat::ChannelsLast);
    if (!is_fused(weight)) return dense;
    const int64_t strides[2] = {stride, stride}, zeroes[2] = {padding, padding}, dilation[2] = {1, 1};
    return Fused::shared()->layout.call(dense, zeroes, strides, dilation, groups, input);
}

at::Tensor ct::inference_conv2d(const at::Tensor &x, const at::Tensor &weight, const std::optional<at::Tensor> &bias,
                                int64_t stride, int64_t padding, int64_t groups, const std::optional<at::Tensor> &added,
                                bool relu6) {
    if (!weight.is_mkldnn()) {
        at::Tensor y = ct::conv2d(x, weight, bias, stride, padding, groups);
        if (added) y.add_(*added);
        return relu6 ? at::hardtanh_(y, 0, 6) : y;
    }
    const int64_t strides[2] = {stride, stride}, zeroes[2] = {padding, padding}, dilation[2] = {1, 1};
    Scalars limits;
    if (relu6) limits = {std::optional<at::Scalar>(0.0), std::optional<at::Scalar>(6.0)};
    if (added) {
        TORCH_CHECK(!relu6, "a sum is not clamped");
        return Fused::shared()->binary.call(x, *added, weight, bias, zeroes, strides, dilation, groups, "add", 1.0,
                                            std::nullopt, limits, std::nullopt);
    }
    return Fused::shared()->pointwise.call(x, weight, bias, zeroes, strides, dilation, groups,
                                           relu6 ? "hardtanh" : "none", limits, "");
}
