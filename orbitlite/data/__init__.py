"""xarray to tensors."""
