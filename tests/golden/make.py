"""Records what the public OmniLMM code says about the small checkpoint: `python -m tests.golden.make CHECKOUT`.

CHECKOUT is a folder with chat.py and omnilmm/ of github.com/OpenBMB/MiniCPM-V. That code wants versions that this
project does not: run it in an environment with transformers 4.36.0, timm 0.9.10, numpy < 2, sentencepiece and
mistral-common. It runs as it stands, through its own chat.OmniLMM12B, with four changes from outside: the tower's
sizes, float32 instead of bfloat16, the CPU instead of "cuda", and empty modules for what it imports without use here.

omnilmm_small.npz holds:
    versions                json: which packages made it
    ids/CONVERSATION        int32 (tokens,): the prompt
    decoded                 json: [[ids, text], ...] of tokenizer.decode(skip_special_tokens=True)
    pixels/PICTURE          float16 (3, rows, columns): the network's input, every PIXEL_STEP-th
    patches/wide            float32: the tower's output, every PATCH_STEP-th patch
    features/wide, /tall    float32: the resampler's output, all and every FEATURE_STEP-th query
    logits/CONVERSATION     float32 (tokens, 48): teacher-forced, at VOCAB_IDS
    logsumexp, argmax/...   float32 and int32 (tokens,): over the whole vocabulary
    answer/CONVERSATION     int32: greedy ids, repetition penalty 1.1, from embeddings only
    plain_answer/...        int32: greedy ids without a penalty
    margin/CONVERSATION     float32: the smallest lead of the chosen token over the second in the two answers
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tests.export import torchvision_operators
from tests.golden_reference import (
    CONVERSATIONS,
    FEATURE_STEP,
    GOLDEN_FILE,
    GREEDY,
    NEW_TOKENS,
    PATCH_STEP,
    PICTURE_SIZES,
    PIXEL_STEP,
    SEED,
    VOCAB_IDS,
    seeded_picture,
)
from tests.small_checkpoint import SMALL, Form, write_checkpoint

TEXTS = (" The cat", "Hello,  world \n", "图片 🦙", "é▁x", "a\n\nb")


def load_reference(checkout: Path, checkpoint: Path) -> tuple[Any, Any]:
    """The reference's own chat.OmniLMM12B, shrunk to the small tower, in float32 on the CPU; and module chat."""
    importlib.import_module("transformers")  # looks for accelerate itself, so before the empty module
    sys.modules["cv2"] = ModuleType("cv2")
    accelerate = ModuleType("accelerate")
    accelerate.init_empty_weights = accelerate.load_checkpoint_and_dispatch = None  # type: ignore[attr-defined]
    sys.modules["accelerate"] = accelerate
    torchvision_operators.define()
    sys.path.insert(0, str(checkout))
    timm = importlib.import_module("timm")
    vision = SMALL.vision
    tower = {
        "embed_dim": vision.hidden_size,
        "depth": vision.num_hidden_layers + 1,  # the reference replaces the last block
        "num_heads": vision.num_attention_heads,
        "mlp_ratio": vision.intermediate_size / vision.hidden_size,
    }
    timm.create_model = partial(timm.create_model, **tower)  # type: ignore[attr-defined]
    torch.Tensor.cuda = lambda self, *_: self  # type: ignore[method-assign]
    chat = importlib.import_module("chat")
    model = chat.OmniLMMForCausalLM
    from_pretrained = model.from_pretrained
    # Not only the weights: under bfloat16 the rotary tables would be rounded as well.
    model.from_pretrained = lambda path, **options: from_pretrained(path, **{**options, "torch_dtype": torch.float32})
    model.to = lambda self, **_: self
    return chat.OmniLMM12B(str(checkpoint)), chat


def prompt_ids(reference: Any, chat: Any, messages: list[dict[str, str]]) -> torch.Tensor:
    turns = json.loads(json.dumps(messages))  # the reference writes the image's tokens into what it is given
    ids = chat.wrap_question_for_omni_lmm(turns, reference.image_token_len, reference.tokenizer)["input_ids"]
    return torch.as_tensor(ids)


def greedy(reference: Any, ids: torch.Tensor, pixels: torch.Tensor, penalty: float) -> tuple[list[int], float]:
    """Answer ids, and the smallest lead that a chosen token had."""
    output = reference.model.generate_vllm(
        input_ids=ids[None],
        images=pixels[None].half(),
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        repetition_penalty=penalty,
        output_scores=True,
        return_dict_in_generate=True,
    )
    leads = [scores[0].topk(2).values for scores in output.scores]
    answer = output.sequences[0, -len(output.scores) :]  # transformers 4.36 puts a BOS before it
    return answer.tolist(), min(float(lead[0] - lead[1]) for lead in leads)


@torch.inference_mode()
def record(reference: Any, chat: Any) -> dict[str, NDArray[Any]]:
    model, arrays = reference.model, {}
    pixels = {name: reference.image_transform(seeded_picture(name)) for name in PICTURE_SIZES}
    for name, picture in pixels.items():
        arrays[f"pixels/{name}"] = picture.half()[:, ::PIXEL_STEP, ::PIXEL_STEP].numpy()
    patches = model.model.vision_tower.forward_features(pixels["wide"][None].half().float())[0, 1:]
    arrays["patches/wide"] = patches[::PATCH_STEP].numpy()
    for name, step in (("wide", 1), ("tall", FEATURE_STEP)):
        features = model.model.get_vision_embedding(pixels[name][None].half())[0]
        arrays[f"features/{name}"] = features[::step].numpy()
    for name, messages in CONVERSATIONS.items():
        arrays[f"ids/{name}"] = prompt_ids(reference, chat, messages).numpy().astype(np.int32)
    for name, picture_name in GREEDY.items():
        ids = prompt_ids(reference, chat, CONVERSATIONS[name])
        logits = model(input_ids=ids[None], images=pixels[picture_name][None].half(), use_cache=False).logits[0]
        arrays[f"logits/{name}"] = logits[:, list(VOCAB_IDS)].numpy()
        arrays[f"logsumexp/{name}"] = logits.logsumexp(-1).numpy()
        arrays[f"argmax/{name}"] = logits.argmax(-1).numpy().astype(np.int32)
        answer, lead = greedy(reference, ids, pixels[picture_name], 1.1)
        plain, plain_lead = greedy(reference, ids, pixels[picture_name], 1.0)
        arrays[f"answer/{name}"] = np.array(answer, np.int32)
        arrays[f"plain_answer/{name}"] = np.array(plain, np.int32)
        arrays[f"margin/{name}"] = np.array([lead, plain_lead], np.float32)
    lists = [reference.tokenizer.encode(text) for text in TEXTS]
    lists += [arrays[f"answer/{name}"].tolist() for name in GREEDY]
    lists += [[28705, 13, 1], [32001, 32000, 32002, 415, 5255], [230, 188], [415, 229, 142, 174, 5255], []]
    decoded = [(ids, reference.tokenizer.decode(ids, skip_special_tokens=True)) for ids in lists]
    arrays["decoded"] = np.array(json.dumps(decoded, ensure_ascii=False))
    return arrays


def main(checkout: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        reference, chat = load_reference(checkout, write_checkpoint(folder, form=Form.BIN, seed=SEED))
        arrays = record(reference, chat)
    packages = ("torch", "torchvision", "transformers", "tokenizers", "timm", "numpy", "pillow", "sentencepiece")
    versions = {package: importlib.metadata.version(package) for package in packages}
    versions["source"] = "github.com/OpenBMB/MiniCPM-V, chat.py and omnilmm/"
    arrays["versions"] = np.array(json.dumps(versions))
    np.savez_compressed(GOLDEN_FILE, **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
