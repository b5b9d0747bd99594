"""The parts of `WarpEngine`: kernels of its own, captured graphs, room for contacts."""
