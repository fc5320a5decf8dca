"""Months whose truth is known beforehand, and what evaluate makes of their events."""
