"""What can be asked of marketdata, one class for each command or query."""
