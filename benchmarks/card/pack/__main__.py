"""Packs what a machine with an NVIDIA card and no network lacks, on one that has a package index:

    python -m benchmarks.card.pack OUT                  # onnxruntime-gpu cut to one architecture, the project, bundles
    python -m benchmarks.card.pack OUT --arch 89        # for an RTX 40; 90 (the default): H100, H200; 120: RTX 50

Carry OUT there and source OUT/stage.sh in bash. What it needs there: Linux on x86-64, Python 3.12, torch for CUDA 13,
whose packages bring CUDA's libraries and cuDNN; stage.sh says what else is missing, and `--bring` packs it.
Needs zstandard here, to see which kernels a container holds; `--all-kernels` doesn't.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.card.pack.fatbin import slim
from benchmarks.card.pack.parts import MIB, write_parts
from benchmarks.card.run import PACKED, ROOT
from benchmarks.card.stages.agreement import convert_tiny
from benchmarks.card.synthetic import TOKENIZER, write_tokenizer
from omnilmm_lite.errors import InputError, OmniLMMError

FAILURE, USAGE = 1, 2
ENGINE = "onnxruntime-gpu==1.31.1"
PYTHON = "3.12"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64")
# Of the engine: no TensorRT, no C library (the Python module has the engine in it), no tools.
KEPT = ("onnxruntime/__init__.py", "onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt", "onnxruntime/capi/")
LEFT_OUT = ("libonnxruntime_providers_tensorrt.so", "capi/libonnxruntime.so.")
CUDA_LIBRARY = "onnxruntime/capi/libonnxruntime_providers_cuda.so"
PROJECT = ("omnilmm_lite", "export", "quantize", "benchmarks", "cli.py", "pyproject.toml", "LICENSE",
           "tests/__init__.py", "tests/small_checkpoint.py")  # fmt: skip
PART_MIB = 32


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        pack(args)
    except InputError as error:
        return _complain(error, USAGE)
    except OmniLMMError as error:
        return _complain(error, FAILURE)
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.card.pack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the parts")
    parser.add_argument("--wheel", type=Path, help=f"of {ENGINE}, fetched before (default: pip fetches it, 256 MB)")
    parser.add_argument("--arch", type=int, default=90, help="compute capability without its point (%(default)s)")
    parser.add_argument("--all-kernels", action="store_true", help="of that architecture: 60 MB more")
    parser.add_argument("--whole-library", action="store_true", help="every architecture: 160 MB more")
    parser.add_argument("--bring", default="", metavar="P,P", help="other packages to bring, with pip's words")
    parser.add_argument("--part-mib", type=float, default=PART_MIB, metavar="N", help="of each part (%(default)s)")
    return parser


def pack(args: argparse.Namespace) -> None:
    """The parts, SHA256SUMS and stage.sh in OUT. InputError for what can't be; OmniLMMError where a step failed."""
    if args.part_mib <= 0:
        raise InputError(f"--part-mib: {args.part_mib:g} is out of range; give more than 0")
    if args.wheel is not None and not args.wheel.is_file():
        raise InputError(f"--wheel: {args.wheel}: there is no such file; leave it out, and pip fetches it")
    out = args.out.resolve()
    wheels = out / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    root = out / "root"
    shutil.rmtree(root, ignore_errors=True)
    site = root / "site"
    unpack_engine(args.wheel or fetch(ENGINE, wheels), site)
    if not args.whole_library:
        found = slim(site / CUDA_LIBRARY, args.arch, all_kernels=args.all_kernels)
        kept, unused, others = (size / 1e6 for size in (found.kept, found.unused, found.others))
        say(f"sm_{args.arch}: {kept:.1f} MB kept; {unused:.1f} MB of kernels that aren't used and {others:.1f} MB of "
            "other architectures left out")  # fmt: skip
    for package in filter(None, args.bring.split(",")):
        with zipfile.ZipFile(fetch(package, wheels)) as archive:
            archive.extractall(site)
    copy_project(root / "project")
    bring_models(root / "project" / PACKED.relative_to(ROOT), out / "made")
    say("packing")
    for part in write_parts(root, out, round(args.part_mib * MIB)):
        say(f"{part.name}: {part.stat().st_size / MIB:.1f} MiB")
    shutil.rmtree(root)
    shutil.copyfile(Path(__file__).parent / "stage.sh", out / "stage.sh")
    say(f"carry part-*, SHA256SUMS and stage.sh of {out} there, then: . stage.sh")


def fetch(package: str, folder: Path) -> Path:
    """The package's wheel for the machine with the card, through pip; the one that lies there already if it does."""
    stem = package.partition("==")[0].replace("-", "_").lower()
    if found := _wheels(folder, stem):
        return found[-1]
    say(f"fetching {package}")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(folder)]
    command += ["--implementation", "cp", "--python-version", PYTHON, package]
    for platform in PLATFORMS:
        command += ["--platform", platform]
    if subprocess.run(command).returncode or not (found := _wheels(folder, stem)):
        raise OmniLMMError(f"{package}: pip could not fetch its wheel: see above, or bring it with --wheel")
    return found[-1]


def _wheels(folder: Path, stem: str) -> list[Path]:
    return sorted(path for path in folder.glob("*.whl") if path.name.lower().startswith(f"{stem}-"))


def unpack_engine(wheel: Path, site: Path) -> None:
    """What of onnxruntime runs on a card. InputError where the wheel has no CUDA library."""
    with zipfile.ZipFile(wheel) as archive:
        if CUDA_LIBRARY not in archive.namelist():
            raise InputError(f"{wheel}: it has no {CUDA_LIBRARY}; give the wheel of onnxruntime-gpu for Linux")
        for name in wanted(archive.namelist()):
            archive.extract(name, site)


def wanted(names: Sequence[str]) -> Iterator[str]:
    """Of the wheel's files, those that are needed."""
    for name in names:
        if (name.startswith(KEPT) or ".dist-info/" in name) and not any(part in name for part in LEFT_OUT):
            yield name


def copy_project(target: Path) -> None:
    """The sources that the check runs, without what a build or a run has left there."""
    for name in PROJECT:
        source = ROOT / name
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__", PACKED.name))
        else:
            shutil.copyfile(source, target / name)


def bring_models(target: Path, work: Path) -> None:
    """The built-in model in the presets for cards, and the full vocabulary's tokenizer; `work` keeps what was made."""
    work.mkdir(parents=True, exist_ok=True)
    for bundle in convert_tiny(work / "tiny"):
        shutil.copytree(bundle, target / "tiny" / bundle.name)
    write_tokenizer(work / TOKENIZER)
    shutil.copyfile(work / TOKENIZER, target / TOKENIZER)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _complain(error: object, code: int) -> int:
    say(f"benchmarks.card.pack: {error}")
    return code


if __name__ == "__main__":
    sys.exit(main())
