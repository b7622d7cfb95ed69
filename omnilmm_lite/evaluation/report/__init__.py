"""Results as JSON and as tables, beside what others have published."""
