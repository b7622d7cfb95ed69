"""A decoder to quantize and how: what the result depends on, what it takes on disk, what can't be done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from export.torch_device import TorchDevice
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.errors import InputError
from quantize.calibration.decoder_source import DecoderSource
from quantize.calibration.embedded_sequences import Calibration
from quantize.disk import checkpoint_bytes, spool_bytes
from quantize.folder.packing import Layout
from quantize.gptq.group_sizes import GROUP_SIZES
from quantize.gptq.settings import GPTQSettings

WORK_FORMAT = 4  # raise it when the same arguments come to give other files


@dataclass(frozen=True)
class QuantizationJob:
    """A decoder to quantize, and how. `layouts` names the linear layers that are to be finer than `settings` say."""

    source: DecoderSource
    calibration: Calibration
    settings: GPTQSettings
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    device: TorchDevice = TorchDevice()  # noqa: RUF009  # immutable

    @property
    def decoder(self) -> DecoderConfig:
        return self.source.config.decoder

    def layout(self, name: str) -> Layout:
        """How finely the linear layer `name` is quantized."""
        return self.layouts.get(name, Layout(self.settings.bits, self.settings.group_size))

    def needed_bytes(self) -> int:
        """Bytes that the work folder takes at most."""
        default = Layout(self.settings.bits, self.settings.group_size)
        tokens = sum(len(sample.is_image) for sample in self.calibration.sequences)
        return checkpoint_bytes(self.decoder, self.layouts, default) + 2 * spool_bytes(self.decoder, tokens)

    def arguments(self) -> dict[str, Any]:
        """All that the result depends on, but for the order of sums, which the device decides."""
        return {
            "work_format": WORK_FORMAT,
            "checkpoint": self.source.fingerprint(),
            "calibration": self.calibration.fingerprint,
            "mixed": {name: f"{layout.bits} bits / {layout.group_size}" for name, layout in self.layouts.items()},
            **self.settings.to_dict(),
        }


def check_job(job: QuantizationJob) -> None:
    """InputError for what would stop the quantization and can be seen before any work."""
    if not job.calibration.sequences:
        raise InputError("there is nothing to calibrate on; give at least one picture or text")
    check_group_sizes(job.decoder, [job.settings.group_size, *(layout.group_size for layout in job.layouts.values())])


def check_group_sizes(config: DecoderConfig, group_sizes: Iterable[int]) -> None:
    """InputError, naming those that can be chosen, where groups don't divide the decoder's rows."""
    sizes = {"hidden_size": config.hidden_size, "intermediate_size": config.intermediate_size, "q_dim": config.q_dim}
    fitting = [str(size) for size in GROUP_SIZES if not any(row % size for row in sizes.values())]
    for group_size in set(group_sizes) - {-1}:  # the whole row
        for name, size in sizes.items():
            if group_size < 1 or size % group_size:
                raise InputError(
                    f"groups of {group_size} don't divide the decoder's {name} of {size}; "
                    + (f"--group-size can be {', '.join(fitting)}" if fitting else "no --group-size does")
                )
