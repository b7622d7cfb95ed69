"""In a process of its own: a bundle's answers to one picture and question, as arrays. Arguments: BUNDLE OUT.npz"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from omnilmm_lite import load
from omnilmm_lite.text.conversations import seeded_picture

ANSWERED = 6  # of the tokens: they go through the graph for answers


def main(bundle: str, out: str) -> None:
    model = load(Path(bundle), device="cpu", threads=1)
    features = model.encode_image(seeded_picture(model.config.vision.image_size))
    ids = model.encode_chat([{"role": "user", "content": "What is this?"}], image=True)
    prompt = model.logits(ids, features)
    both = model.logits(ids, features, answer_start=len(ids) - ANSWERED)
    np.savez(out, features=features, prompt=prompt, answer=both[-ANSWERED:])


if __name__ == "__main__":
    main(*sys.argv[1:])
