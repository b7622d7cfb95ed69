"""Questions about many pictures: read, encoded, prefilled and decoded as one pipeline, with as many answers at once as
the model has slots for."""
