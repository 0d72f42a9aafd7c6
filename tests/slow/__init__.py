"""Tests that take more than a second: large inputs, many hosts."""
