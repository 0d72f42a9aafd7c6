"""The table of kernels, and what it says about the kernel builds of a run. Pure."""
