"""`python -m services.journal`."""

from shared.service.cli import cli

app = cli("journal")

if __name__ == "__main__":
    app()
