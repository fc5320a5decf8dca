"""The demo stream: an invented city's citizens, handlers and reviewers, who use the hub's HTTP like anybody else."""
