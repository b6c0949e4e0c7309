"""The layer's benchmark: ours against its peers and against the limit, on one input at a time."""
