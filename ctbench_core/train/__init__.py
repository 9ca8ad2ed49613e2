"""Training: heads in stacks on whole tensors, with every epoch on disk. Most files load torch: import them in functions."""
