"""Which reader a path is for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import REQUIREMENTS, Benchmark
from omnilmm_lite.evaluation.data.data_set import DataSet
from omnilmm_lite.evaluation.data.official.easyvqa import read_easyvqa
from omnilmm_lite.evaluation.data.official.llavabench import read_llavabench
from omnilmm_lite.evaluation.data.official.mathvista import read_mathvista
from omnilmm_lite.evaluation.data.official.mme import read_mme
from omnilmm_lite.evaluation.data.official.mmhal import read_mmhal
from omnilmm_lite.evaluation.data.official.mmmu import read_mmmu
from omnilmm_lite.evaluation.data.official.objhal import read_objhal
from omnilmm_lite.evaluation.data.official.seedbench import read_seedbench
from omnilmm_lite.evaluation.data.tsv_items import read_tsv

TSV = frozenset(
    {
        Benchmark.MME, Benchmark.MMBENCH, Benchmark.MMMU, Benchmark.SEEDBENCH, Benchmark.MATHVISTA,
        Benchmark.LLAVABENCH,
    }
)  # fmt: skip
# The authors' layouts, by what a path ends in; "" is a folder.
OFFICIAL: dict[tuple[Benchmark, str], Callable[[Path], DataSet]] = {
    (Benchmark.MME, ""): read_mme,
    (Benchmark.MMMU, ""): read_mmmu,
    (Benchmark.MMMU, ".parquet"): read_mmmu,
    (Benchmark.MMHAL, ".json"): read_mmhal,
    (Benchmark.OBJHAL, ".jsonl"): read_objhal,
    (Benchmark.SEEDBENCH, ".json"): read_seedbench,
    (Benchmark.MATHVISTA, ".json"): read_mathvista,
    (Benchmark.LLAVABENCH, ""): read_llavabench,
    (Benchmark.EASYVQA, ""): read_easyvqa,
}


def open_data(benchmark: Benchmark, path: Path) -> DataSet:
    """The benchmark's questions from its file or folder. Pictures stay where they are.

    InputError where the path is none of the layouts in which the benchmark is published, or can't be read.
    """
    try:
        return _open(benchmark, path)
    except OSError as error:
        raise InputError(f"{error.filename or path} can't be read: {error.strerror}; check its rights") from None


def _open(benchmark: Benchmark, path: Path) -> DataSet:
    if not path.exists():
        raise InputError(f"{path} doesn't exist; {_wanted(benchmark)}")
    if not path.is_dir() and not path.is_file():
        raise InputError(f"{path} is neither a file nor a folder; {_wanted(benchmark)}")
    ending = "" if path.is_dir() else path.suffix.lower()
    if ending == ".tsv" and benchmark in TSV:
        return read_tsv(path, benchmark)
    reader = OFFICIAL.get((benchmark, ending))
    if reader is None:
        raise InputError(
            f"{path}: {benchmark} isn't read from {'a folder' if not ending else ending + ' files'}; "
            f"{_wanted(benchmark)}"
        )
    return reader(path)


def _wanted(benchmark: Benchmark) -> str:
    return f"give {REQUIREMENTS[benchmark].data}"
