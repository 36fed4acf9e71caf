"""Benchmarks: `make bench`. Not tests: they print figures and assert nothing about time."""
