"""`python -m services.evaluate`: serve (default), migrate, setup."""

from shared.service.cli import cli

app = cli("evaluate")

if __name__ == "__main__":
    app()
