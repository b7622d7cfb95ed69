"""`omnilmm-lite plan`: what a model will need, before anything is loaded or downloaded."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from omnilmm_lite.bundle.packing import Packing
from omnilmm_lite.errors import InputError

if TYPE_CHECKING:
    from omnilmm_lite.bundle.presets import Preset
    from omnilmm_lite.config import OmniLMMConfig
    from omnilmm_lite.plan.memory import Plan
    from omnilmm_lite.plan.planned_model import PlannedModel
    from omnilmm_lite.plan.torch_sizes import TorchSizes

DEFAULT_PRESET = "cpu"  # convert's
DEFAULT_SIZE = 24.0  # GB, of the bar
LARGEST_SIZE = 1024.0

ReadConfig = Callable[[Path], "OmniLMMConfig"]  # a checkpoint's folder -> its config


def add_plan(parser: argparse.ArgumentParser, read_config: ReadConfig) -> None:
    """`read_config` knows checkpoints, which the runtime does not."""
    parser.description = (
        "Memory and disk that a model takes, part by part, computed before anything is loaded. MODEL: a checkpoint's "
        "folder, of which config.json is enough; a bundle's; or openbmb/OmniLMM-12B, openbmb/RLAIF-V-12B or tiny."
    )
    parser.add_argument("model", metavar="MODEL", help="checkpoint, bundle, or a published model's name")
    presets = "what to convert it to (default: a bundle's own; with --vram, the best that fits; else cpu)"
    parser.add_argument("--preset", metavar="P", help=presets)
    packings = "a card's decoder in another format; see docs/gpu-kernels.md (a bundle's own; else blockwise)"
    parser.add_argument("--packing", choices=[packing.value for packing in Packing], help=packings)
    parser.add_argument("--vram", type=float, metavar="GB", help="the card's memory; for CPU presets, the RAM")
    parser.add_argument("--context", type=int, metavar="N", help="tokens that prompt and answers may have together")
    parser.add_argument("--parallel", type=int, metavar="N", default=1, help="answers at once (default: 1)")
    resident = "as a CPU runs it with --resident: all graphs in memory, none taking turns"
    parser.add_argument("--resident", action="store_true", help=resident)
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print one JSON object, in bytes")
    shown.add_argument("--markdown", action="store_true", help="print the table of all presets as Markdown")
    parser.set_defaults(command=lambda args: plan(args, read_config), model_words=("model",))


def plan(args: argparse.Namespace, read_config: ReadConfig) -> None:
    """Computes and prints the plan of one preset, and the table of all where none was asked for."""
    if args.vram is not None and not 0 < args.vram <= LARGEST_SIZE:
        raise InputError(f"--vram: {args.vram:g} is out of range; give a card's memory in GB, such as 24")
    from omnilmm_lite.machine.memory import machine_bytes, memory_limit, total_bytes
    from omnilmm_lite.plan.here import describe_here, judge_here
    from omnilmm_lite.plan.report import plan_object, torch_object, verdicts
    from omnilmm_lite.plan.show import markdown, print_plan, print_presets, print_torch

    chosen, plans = _plans(args, read_config)
    judged = verdicts(chosen, args.vram)
    unconverted = _unconverted(chosen)
    if args.json:
        planned = plan_object(chosen, judged, total_bytes()) | torch_object(unconverted)
        print(json.dumps(planned, ensure_ascii=False))
    elif args.markdown:
        print(markdown(plans))
    else:
        limit = memory_limit()
        here = judge_here(chosen, machine_bytes(), limit)
        line = "" if here is None else describe_here(here, limit)
        print_plan(chosen, judged, args.vram or DEFAULT_SIZE, line)
        if len(plans) > 1:
            print_presets(plans)
            print_torch(unconverted)


def _unconverted(chosen: Plan) -> list[TorchSizes]:
    """What the torch engine takes for the same model; of a bundle, nothing: it isn't for bundles."""
    from omnilmm_lite.machine.processor import has_bf16_products, instruction_sets
    from omnilmm_lite.plan.torch_sizes import all_sizes

    if chosen.model.is_bundle:
        return []
    return all_sizes(chosen.model.config, chosen.context, bf16=has_bf16_products(instruction_sets()))


def _plans(args: argparse.Namespace, read_config: ReadConfig) -> tuple[Plan, list[Plan]]:
    """The plan to show, and those for the table."""
    from omnilmm_lite.bundle.presets import PRESETS, find_preset
    from omnilmm_lite.bundle.target import Device
    from omnilmm_lite.model import DEFAULT_CONTEXT
    from omnilmm_lite.plan.memory import make_plan
    from omnilmm_lite.plan.planned_model import PlannedModel
    from omnilmm_lite.plan.verdict import suited

    wanted = None if args.preset is None else find_preset(args.preset)
    finished, name, config = _find(args.model, read_config)
    context = args.context
    if context is None:
        context = min(DEFAULT_CONTEXT, config.decoder.max_position_embeddings)

    def as_run(model: PlannedModel) -> Plan:
        is_resident = args.resident and model.preset.target is Device.CPU
        return make_plan(model.resident() if is_resident else model, context, args.parallel)

    packing = Packing.BLOCKWISE if args.packing is None else Packing(args.packing)
    if finished is not None and wanted is None:
        if packing is not finished.preset.packing and args.packing is not None:
            raise InputError(f"--packing {packing.value}: {name} is packed already; leave it out, or give a --preset")
        own = as_run(finished)
        return own, [own]

    def planned(preset: Preset) -> Plan:
        return as_run(PlannedModel.planned(name, config, preset))

    if wanted is not None:
        asked = planned(wanted.packed(packing))
        return asked, [asked]
    presets = PRESETS.values()
    plans = [planned(each.packed(packing) if each.target is Device.CUDA else each) for each in presets]
    default = next(each for each in plans if each.model.preset.name == DEFAULT_PRESET)
    return (suited(plans, args.vram) if args.vram is not None else None) or default, plans


def _find(model: str, read_config: ReadConfig) -> tuple[PlannedModel | None, str, OmniLMMConfig]:
    """The bundle, if it is one; the model's name and config. A folder goes before a name."""
    from omnilmm_lite.bundle.folder import BUILTIN_NAME, Bundle
    from omnilmm_lite.bundle.manifest import MANIFEST
    from omnilmm_lite.home.snapshot import folder_name
    from omnilmm_lite.plan.planned_model import KNOWN, PlannedModel

    folder = Path(model)
    exists = _is_folder(folder)
    if not exists and model in KNOWN:
        return None, model, KNOWN[model]
    if (model == BUILTIN_NAME and not exists) or (exists and (folder / MANIFEST).is_file()):
        bundle = Bundle.find(model)
        return PlannedModel.bundle(bundle.manifest.name, bundle), bundle.manifest.name, bundle.manifest.config
    known = ", ".join([*KNOWN, BUILTIN_NAME])
    if not exists:
        raise InputError(f"{model}: there is no such folder, and no such name: {known} are known")
    if not (folder / "config.json").is_file():
        raise InputError(f"{model}: neither a checkpoint (config.json) nor a bundle ({MANIFEST}) is there; name one")
    return None, folder_name(folder), read_config(folder)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # too long a name, or one with a zero character
        return False
