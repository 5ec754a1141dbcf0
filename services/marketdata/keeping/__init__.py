"""How what is stored is kept complete: candles, gaps, backfills, retention."""
