"""Text that others wrote: YAML with line numbers, bounded files, host ranges, JSON Schemas."""
