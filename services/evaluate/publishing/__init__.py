"""Publishing a month from the journal, and rebuilding what was published (docs/evaluation.md, "Publication")."""
