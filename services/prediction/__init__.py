"""Features, models, predictions and signals."""
