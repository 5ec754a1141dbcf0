"""Candles, predictions, signals, models and trainings, and the rules that connect them."""
