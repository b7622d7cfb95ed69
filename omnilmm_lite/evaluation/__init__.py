"""The model card's benchmarks on the user's own data files, from the rows to a report:

`data/` reads a benchmark's files into items (`item.py`), `checks.py` says what is wrong with them, `selection.py` takes
a part, `prompts.py` makes each item's prompt, `predictions.py` keeps the answers, `scoring/` scores them by
`scorers.py`'s names, `judge/` asks whoever has to read them, `comparison.py` pairs two models, `report/` writes it
down. `benchmark.py` has the names, `statistics.py` the errors. Only `running/`, which goes from questions to results,
knows the model.
"""
