"""classify: what an appeal is about (README.md)."""
