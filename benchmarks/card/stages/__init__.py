"""What is measured, a file a stage; `benchmarks.card.stage` lists them in their order."""
