"""journal: every event of the platform, kept for ever, in one order."""
