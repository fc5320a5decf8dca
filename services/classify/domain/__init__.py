"""What classify knows about appeals: catalogue, labels, safety, policy. Standard library only; no clock, no I/O."""
