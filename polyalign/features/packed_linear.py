"""Linear layers of a frozen float32 model on a CPU, with their weights packed for oneDNN.

PyTorch multiplies float32 matrices with MKL, which on many processors leaves half of the vector width unused; oneDNN's
operator, the one that torch.compile uses for frozen models, takes about half the time. The products are the same up to
the rounding of float32.
"""

import torch


def can_pack() -> bool:
    """Whether this build of PyTorch has the operator."""
    operators = torch.ops.mkldnn
    return torch.backends.mkldnn.is_available() and all(
        hasattr(operators, name) for name in ("_linear_pointwise", "_reorder_linear_weight")
    )


class PackedLinear(torch.nn.Module):
    """A linear layer [..., in] -> [..., out] that cannot be trained or saved.

    Args:
        linear: the layer that it stands for, float32 on the CPU.
        rows: rows of a typical input, which the layout of the packed weights is chosen for.
        activation: oneDNN's name of a function to apply to the products, such as `swish`; `none`: none.
    """

    def __init__(self, linear: torch.nn.Linear, rows: int, activation: str = "none") -> None:
        super().__init__()
        self._activation = activation
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
        self._bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(states, self._weight, self._bias, self._activation, [], "")


def pack_linears(model: torch.nn.Module, rows: int) -> int:
    """Replace the float32 linear layers of a model in place; returns their number, 0 where nothing can be packed."""
    if not can_pack():
        return 0
    found = [
        (name, module)
        for name, module in model.named_modules()
        if type(module) is torch.nn.Linear and module.weight.dtype == torch.float32
    ]
    for name, module in found:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, PackedLinear(module, rows))
    return len(found)
