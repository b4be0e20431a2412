"""How a network is trained: optimizers, the order of batches, the loop."""
