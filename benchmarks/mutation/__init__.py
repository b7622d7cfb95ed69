"""Whether the tests notice when the code is wrong: single mistakes, made in a copy of the tree one after another."""
