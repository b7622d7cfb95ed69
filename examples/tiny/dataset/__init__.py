"""What `tiny` is trained on: pictures made by a program, and questions about them."""
