"""Fixtures and rules for every test: no leaked tasks, no blocking calls in a loop, services started once."""
