"""Feedback: was it solved? Asks every citizen after completion (README.md)."""
