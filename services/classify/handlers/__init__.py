"""What classify does, by whom it serves: appeals, reviewers, and those who keep catalogue, tags and models."""
