"""What a model will need, part by part, before anything is loaded or even downloaded."""
