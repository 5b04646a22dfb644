"""What holds for all tests."""

import torch

# Tests run in several processes, and each of them would take all the cores.
torch.set_num_threads(1)
