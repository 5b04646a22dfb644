"""Parts that integrations share: a gate and maps between widths."""

from torch import Tensor, nn


def width_projection(in_size: int, out_size: int) -> nn.Module:
    """Make a linear map between two widths, or the identity if they are equal."""
    return nn.Identity() if in_size == out_size else nn.Linear(in_size, out_size, bias=False)


class Gate(nn.Module):
    """g(x) = tanh(G x + b), zero at initialisation (as in Flamingo, Alayrac et al. 2022, arXiv:2204.14198).

    Args:
        in_size: Width of x.
        out_size: Width of the gate.
    """

    def __init__(self, in_size: int, out_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_size, out_size)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Gate ``(…, out_size)`` in (−1, 1) for x ``(…, in_size)``."""
        gate: Tensor = self.linear(x)
        return gate.tanh()
