"""What is known of the model whether it is in memory or not: all that checking a request needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.engine.device import DeviceChoice
from omnilmm_lite.keys import expected_keys
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.text.prompt import encode_chat
from omnilmm_lite.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from omnilmm_lite.model import Model


@dataclass(frozen=True)
class ModelFacts:
    """A model without its weights. `context`: tokens that prompt and answer may have together. `device`: where it was
    loaded first. `size_bytes`: of its files, None where a checkpoint is quantized while it is loaded."""

    name: str
    identity: str
    form: str
    config: OmniLMMConfig
    sampling: SamplingParams
    context: int
    device: DeviceChoice
    tokenizer: Tokenizer
    tokenizer_file: Path
    quantization: Mapping[str, Any] | None
    size_bytes: int | None

    @classmethod
    def of(cls, model: Model) -> ModelFacts:
        from omnilmm_lite.model import BundleModel

        parts = model.parts
        files = model.bundle.manifest.files if isinstance(model, BundleModel) else ()
        return cls(
            name=model.name,
            identity=parts.identity,
            form=parts.form,
            config=model.config,
            sampling=model.sampling,
            context=model.text.decoder.context,
            device=model.device,
            tokenizer=model.text.tokenizer,
            tokenizer_file=parts.tokenizer_file,
            quantization=parts.quantization,
            size_bytes=sum(file.size for file in files) or None,
        )

    @property
    def parameter_count(self) -> int:
        """As the checkpoint has them."""
        return sum(math.prod(shape) for shape in expected_keys(self.config).values())

    def encode_chat(self, messages: Sequence[Mapping[str, str]], *, image: bool) -> list[int]:
        """Token ids of a conversation; see `omnilmm_lite.text.prompt.encode_chat`."""
        return encode_chat(self.tokenizer, messages, self.config, image=image)

    def encode_plain(self, prompt: str | Sequence[int]) -> list[int]:
        """Token ids of a text that the model goes on with, without a conversation's form; given ids as they are.
        InputError for a text that can't be tokenized."""
        if isinstance(prompt, str):
            return [self.config.tokens.bos, *(self.tokenizer.encode_text(prompt) if prompt else [])]
        return list(prompt)
