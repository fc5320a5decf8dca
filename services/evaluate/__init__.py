"""Evaluation: rates per unit and month from every stream of the loop (README.md)."""
