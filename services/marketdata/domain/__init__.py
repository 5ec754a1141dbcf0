"""What market data is, and the rules by which trades become candles. Standard library only."""
