"""Orders, accounts and their money: plain values and exact rules. Imports the standard library only."""
