"""A Ray cluster whose nodes have the model: reached, told what to do, and held to it whatever is lost."""
