"""simex: a sandbox exchange that speaks Binance's spot API, offline and repeatable."""
