"""Making models, in a process of its own: ``python -m services.prediction.learning``."""
