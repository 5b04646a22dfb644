"""Pure functions on tensors that storages and memories are made of."""
