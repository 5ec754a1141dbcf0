"""What marketdata needs from outside: sources, a store and somewhere to publish."""
