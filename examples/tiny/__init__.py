"""How the built-in model `tiny` is made: pictures, questions, tokenizer, training, evaluation."""
