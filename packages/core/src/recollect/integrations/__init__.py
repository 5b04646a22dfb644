"""Integrations: how a memory joins a network."""

from recollect.integrations.base import Integration
from recollect.integrations.concatenation import Concatenation
from recollect.integrations.fusion import Fusion
from recollect.integrations.interpolation import Interpolation
from recollect.integrations.parallel import Parallel

__all__ = ["Concatenation", "Fusion", "Integration", "Interpolation", "Parallel"]
