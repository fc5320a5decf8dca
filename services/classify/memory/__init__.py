"""What persons decided, found again by the wording: in PostgreSQL for all replicas, in each process for speed."""
