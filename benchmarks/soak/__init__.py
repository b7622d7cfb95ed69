"""A server under clients of every kind, for as long as one likes: is each answer right, and does it stay as small?"""
