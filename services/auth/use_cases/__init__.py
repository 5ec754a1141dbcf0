"""What auth does, one callable each."""
