"""From a question to an answer: what is remembered, what the text model is told, and who that is."""
