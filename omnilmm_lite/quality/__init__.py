"""How far one model's next-token distributions are from another's, on the same tokens and pictures."""
