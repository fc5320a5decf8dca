"""`python -m services.feedback`: serve (default), migrate, setup."""

from shared.service.cli import cli

app = cli("feedback")

if __name__ == "__main__":
    app()
