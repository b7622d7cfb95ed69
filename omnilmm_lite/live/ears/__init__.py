"""From a microphone to a question: sound, utterances, words. Each recogniser is an optional package."""
