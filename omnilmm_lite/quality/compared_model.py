"""What can be compared: a thing that gives logits for tokens and pictures. A bundle is one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.answer.generation import Answer, FinishReason, Prompt
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.engine.vision import ImageFeatures
from omnilmm_lite.errors import InputError
from omnilmm_lite.model import Model
from omnilmm_lite.picture.reading import load_image
from omnilmm_lite.progress import Progress
from omnilmm_lite.quality.data import EvaluationSequence
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.text.tokenizer import Tokenizer

ANSWER_TOKENS = 64  # of a written answer at most


class ModelForm(Protocol):
    """A form of a model: what says whether two of them give the same meaning to tokens and logits."""

    @property
    def name(self) -> str: ...

    @property
    def config(self) -> OmniLMMConfig: ...

    @property
    def tokenizer(self) -> Tokenizer: ...


class ComparedModel(ModelForm, Protocol):
    """One of the two models. Any thing that predicts may stand behind it, loaded whole or layer by layer."""

    def predict(self, samples: Sequence[EvaluationSequence], progress: Progress) -> Iterator[NDArray[np.float32]]:
        """Each sample's teacher-forced logits (tokens, vocab), in order.

        What is done for all samples at once, such as encoding pictures, happens in this call; logits come one sample
        at a time, since nobody can hold them all.
        """
        ...


class ComparedBundle:
    """A loaded bundle."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._features: dict[Path, ImageFeatures] = {}

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def config(self) -> OmniLMMConfig:
        return self._model.config

    @property
    def tokenizer(self) -> Tokenizer:
        return self._model.text.tokenizer

    def predict(self, samples: Sequence[EvaluationSequence], progress: Progress) -> Iterator[NDArray[np.float32]]:
        context = self._model.text.decoder.context
        for sample in samples:
            if len(sample.ids) > context:
                raise InputError(
                    f"the data has a sequence of {len(sample.ids)} tokens, {self.name} takes {context}; cut it"
                )
        self._encode_pictures(samples, progress)
        return (self._logits(sample) for sample in samples)

    def write_answers(self, samples: Sequence[EvaluationSequence], progress: Progress) -> list[EvaluationSequence]:
        """The samples, each open question followed by this model's greedy answer."""
        self._encode_pictures(samples, progress)
        progress.stage(f"answers by {self.name}", sum(sample.is_unanswered for sample in samples))
        answered = []
        for sample in samples:
            if sample.is_unanswered:
                sample = self._write_answer(sample)
                progress.step(f"{len(sample.ids)} tokens")
            answered.append(sample)
        return answered

    def _write_answer(self, sample: EvaluationSequence) -> EvaluationSequence:
        prompt = Prompt(list(sample.ids), None if sample.image is None else self._features[sample.image])
        answer = Answer(self._model.text, prompt, SamplingParams.greedy(max_new_tokens=ANSWER_TOKENS))
        for _ in answer:
            pass
        end = [self.config.tokens.eos] if answer.finish_reason is FinishReason.STOP else []
        return dataclasses.replace(sample, ids=(*sample.ids, *answer.tokens, *end))

    def _logits(self, sample: EvaluationSequence) -> NDArray[np.float32]:
        features = None if sample.image is None else self._features[sample.image].values
        return self._model.logits(sample.ids, features, answer_start=sample.answer_start)

    def _encode_pictures(self, samples: Sequence[EvaluationSequence], progress: Progress) -> None:
        """Keeps the features and lets go of the tower, which may be most of the bundle, before tokens are run."""
        images = dict.fromkeys(sample.image for sample in samples if sample.image is not None)
        new = [image for image in images if image not in self._features]
        if not new:
            return
        vision = self._model.new_vision(release_after=True)
        progress.stage(f"pictures, {self.name}", len(new))
        with vision.kept_open():
            for image in new:
                self._features[image] = vision.encode(load_image(image))
                progress.step("")


def check_comparable(subject: ModelForm, base: ModelForm) -> None:
    """InputError where the two give different ids to the same text, or their logits different meanings."""
    names = f"{subject.name} and {base.name} can't be compared"
    one, other = subject.config, base.config
    pairs = {
        "vocab_size": (one.decoder.vocab_size, other.decoder.vocab_size),
        "image tokens a picture": (one.resampler.num_queries, other.resampler.num_queries),
        "special token ids": (one.tokens, other.tokens),
    }
    for what, (found, expected) in pairs.items():
        if found != expected:
            raise InputError(f"{names}: {what}: {found} and {expected}; give two forms of one model")
    if _tokens(subject.tokenizer, one) != _tokens(base.tokenizer, one):
        raise InputError(f"{names}: their tokenizers differ; give two forms of one model")


def _tokens(tokenizer: Tokenizer, config: OmniLMMConfig) -> tuple[int, frozenset[int], list[bytes]]:
    pieces = [tokenizer.token_bytes(token) for token in range(config.decoder.vocab_size)]
    return tokenizer.vocab_size, tokenizer.special_ids, pieces
