"""Several processes: the only package that imports torch.distributed."""
