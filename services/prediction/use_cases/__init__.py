"""One callable for each thing that the service does."""
