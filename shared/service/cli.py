"""`python -m services.<name>`: the command line of one service.

serve      (default) run it: consumer, relay, timers, HTTP on SUSHU_SERVICE_HOST:SUSHU_SERVICE_PORT
migrate    bring its schema to the newest revision
setup      import what a fresh database needs (demo or city folder); safe to repeat

What runs a service is imported when it is run: a command that computes something starts in a fraction of the time.
"""

import typer


def cli(name: str) -> typer.Typer:
    """The commands above; a service may add its own."""
    app = typer.Typer(help=f"Sushu service {name}", no_args_is_help=False, add_completion=False)

    @app.callback(invoke_without_command=True)
    def default(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            serve()

    @app.command()
    def serve() -> None:
        """Run the service until SIGTERM or Ctrl-C."""
        from shared.service import process

        process.serve(name)

    @app.command()
    def migrate() -> None:
        """Bring the schema to the newest revision."""
        from shared.service import process

        process.bring_up_to_date(name)

    @app.command()
    def setup() -> None:
        """Import what a fresh database needs; safe to repeat."""
        from shared.service import process

        process.set_up(name)

    return app
