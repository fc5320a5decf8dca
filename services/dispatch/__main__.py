"""`python -m services.dispatch`: serve (default), migrate, setup."""

from shared.service.cli import cli

app = cli("dispatch")

if __name__ == "__main__":
    app()
