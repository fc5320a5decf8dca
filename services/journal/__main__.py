"""`python -m services.journal`."""

from shared.service.process import cli

app = cli("journal")

if __name__ == "__main__":
    app()
