"""From an answer to a loudspeaker: sentences, speech, sound. Each voice is an optional package."""
