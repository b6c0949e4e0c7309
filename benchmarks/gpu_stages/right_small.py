"""One small forward and backward pass of the kernels, for compute-sanitizer to look at."""

import torch

from moe_lessons.kernels import moe_triton


def main() -> None:
    """Run bf16 and fp32 at odd sizes, so that masks are needed everywhere."""
    for dtype in (torch.bfloat16, torch.float32):
        hidden_TD = torch.randn(37, 40, device="cuda", dtype=dtype, requires_grad=True)
        ids_TK = torch.rand(37, 5, device="cuda").topk(2).indices
        weights_TK = torch.rand(37, 2, device="cuda", requires_grad=True)
        gate_up = torch.randn(5, 66, 40, device="cuda", dtype=dtype, requires_grad=True)
        down = torch.randn(5, 40, 33, device="cuda", dtype=dtype, requires_grad=True)
        output_TD = moe_triton(hidden_TD, ids_TK, weights_TK, gate_up, down)
        output_TD.sum().backward()
        assert output_TD.isfinite().all()
    torch.cuda.synchronize()
    print("small run done")


if __name__ == "__main__":
    main()
