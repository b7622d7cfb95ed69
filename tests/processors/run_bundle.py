"""In a process of its own: a bundle's answers about a few pictures, as arrays. Arguments: BUNDLE OUT.npz"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from omnilmm_lite import load
from omnilmm_lite.picture.noise import noise_picture

PICTURES = 8
ANSWERED = 6  # of the tokens: they go through the graph for answers


def main(bundle: str, out: str) -> None:
    model = load(Path(bundle), device="cpu", threads=1)
    side = model.config.vision.image_size
    ids = model.encode_chat([{"role": "user", "content": "What is this?"}], image=True)
    features = [model.encode_image(noise_picture(side, side, seed)) for seed in range(PICTURES)]
    prompts = [model.logits(ids, each) for each in features]
    answers = [model.logits(ids, each, answer_start=len(ids) - ANSWERED)[-ANSWERED:] for each in features]
    np.savez(out, features=np.stack(features), prompt=np.stack(prompts), answer=np.stack(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
