"""Between which two kernels an ending changes. Pure."""
