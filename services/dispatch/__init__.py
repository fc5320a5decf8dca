"""dispatch: who handles a case, and the life of its work order (domain.md, Dispatch)."""
