"""Deterministic simulation of the runtime: the real workers, relays and timers on the real PostgreSQL, every step
chosen by a seed (docs/adr/0009-the-runtime-is-simulated.md)."""
