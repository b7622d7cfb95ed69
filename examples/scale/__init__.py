"""`Captioner` mapped by others: Dask, Daft, Ray Data, Spark. docs/scale.md says how each is run."""
