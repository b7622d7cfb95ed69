"""What a shell is told of the commands."""
