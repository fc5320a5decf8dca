"""A language model's advice at the review queue: an optional plug-in that may fail in any way (ADR 0012)."""
