"""What else can be chosen for each token: depth, keys of a memory, doing nothing, a state."""
