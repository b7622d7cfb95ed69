"""The real-time assistant: watches, describes, answers, and says the answer; offline."""
