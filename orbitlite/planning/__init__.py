"""What a fit takes on a layout of processes, predicted: memory, exchanges, time."""
