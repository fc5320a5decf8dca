"""`python -m services.classify`."""

from shared.service.process import cli

app = cli("classify")

if __name__ == "__main__":
    app()
