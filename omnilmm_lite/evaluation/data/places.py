"""Where a benchmark's files lie in a folder that holds several."""

from __future__ import annotations

from pathlib import Path

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import REQUIREMENTS, Benchmark

# The names under which the data is published; a file or folder with the benchmark's own name does, too.
NAMES = {
    Benchmark.MME: ("MME.tsv", "MME_Benchmark_release_version/MME_Benchmark", "MME_Benchmark_release_version"),
    Benchmark.MMBENCH: ("MMBench_DEV_EN.tsv",),
    Benchmark.MMMU: ("MMMU_DEV_VAL.tsv", "MMMU"),
    Benchmark.MMHAL: ("response_template.json", "MMHal-Bench/response_template.json"),
    Benchmark.OBJHAL: ("obj_halbench_300_with_image.jsonl",),
    Benchmark.SEEDBENCH: ("SEEDBench_IMG.tsv", "SEED-Bench.json", "SEED-Bench/SEED-Bench.json"),
    Benchmark.MATHVISTA: ("MathVista_MINI.tsv", "testmini.json", "data/testmini.json", "MathVista/data/testmini.json"),
    Benchmark.LLAVABENCH: ("LLaVABench.tsv", "llava-bench-in-the-wild"),
    Benchmark.EASYVQA: ("data/test", "easy_vqa/data/test", "easy-vqa/data/test"),  # in the package, or beside it
}
COCO = "annotations"  # COCO's own name for the folder that its annotations unpack to
SYNONYMS = "synonyms_refine.txt"
MMHAL_RUBRICS = ("eval_gpt4.py", "template.txt")
LLAVA_RUBRICS = ("rule.json", "llavabench.py")
MATCHING_RUBRICS = ("multiple_choice.py",)
KIT_EXTRACTION_RUBRICS, AUTHORS_EXTRACTION_RUBRICS = ("mathvista_eval.py",), ("ext_ans.py",)
OBJECTS_RUBRICS = ("eval_gpt_obj_halbench.py",)


def find_data(benchmark: Benchmark, given: Path, *, alone: bool) -> Path | None:
    """The benchmark's own file or folder; None where `given`, a folder of several, hasn't got it.

    `alone`: no other benchmark is asked for, so `given` may be the data itself. InputError where it doesn't exist, or
    is one file for several benchmarks.
    """
    try:
        return _find(benchmark, given, alone)
    except OSError as error:
        raise InputError(f"--data: {given} can't be read: {error.strerror}; check its name and its rights") from None


def _find(benchmark: Benchmark, given: Path, alone: bool) -> Path | None:
    if not given.exists():
        raise InputError(f"--data: {given} doesn't exist; give {REQUIREMENTS[benchmark].data}")
    if not given.is_dir():
        if alone:
            return given
        raise InputError(f"--data: {given} is one file, and several benchmarks were named; give a folder with all data")
    names = (*NAMES[benchmark], benchmark.value, f"{benchmark.value}.tsv")
    found = next((given / name for name in names if (given / name).exists()), None)
    return given if found is None and alone else found


def find_beside(data: Path, *names: str) -> Path | None:
    """The first of these that lies in the data's folder; None where none does."""
    folder = data if data.is_dir() else data.parent
    return next((folder / name for name in names if (folder / name).exists()), None)
