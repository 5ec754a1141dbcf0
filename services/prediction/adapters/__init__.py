"""What the service stands on: database, market data, models."""
