"""Training: heads in banks, on whole tensors, with every epoch on disk."""
