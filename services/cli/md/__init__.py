"""``levimesh md``: where market data comes from, what is missing in it, and how it is repaired."""

import typer

from services.cli.md import quality, quarantine, repairs, sources, symbols, watch

app = typer.Typer()
md = typer.Typer(name="md", help="Market data: sources, symbols, gaps, backfills, quality, live.", no_args_is_help=True)
for module in (sources, symbols, repairs, quarantine, quality, watch):
    md.add_typer(module.app)
app.add_typer(md)
