"""The benchmarks by name, and what each needs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Benchmark(StrEnum):
    """By the name that the command line takes."""

    MME = "mme"
    MMBENCH = "mmbench"
    MMMU = "mmmu"
    MMHAL = "mmhal"
    OBJHAL = "objhal"
    SEEDBENCH = "seedbench"
    MATHVISTA = "mathvista"
    LLAVABENCH = "llavabench"
    EASYVQA = "easyvqa"


class Profile(StrEnum):
    """Whose prompts and rules: the kit of the card's numbers, or the benchmark's own authors."""

    VEK2402 = "vek2402"  # VLMEvalKit of February 2024, commit 293aefb1
    OFFICIAL = "official"


class Judge(StrEnum):
    """Whether a benchmark's published score takes a second model that reads the answers."""

    NEVER = "never"
    OPTIONAL = "optional"
    ALWAYS = "always"


NOT_KNOWN = "not known here"


@dataclass(frozen=True)
class Requirement:
    """What a benchmark is made of, for people who haven't met it. `size` and `licence` say NOT_KNOWN rather than what
    nobody could look up where this was written."""

    title: str
    data: str  # the files, as their authors publish them
    rows: int | None  # a full data file's; None where the published number isn't known for sure
    questions: int  # what the score is taken over, where several rows are one question
    judge: Judge
    score: str
    card: str  # OmniLMM-12B's, as its model card prints it
    source: str  # where its authors publish it
    size: str  # of the files as published, in bytes
    licence: str  # of the data


REQUIREMENTS = {
    Benchmark.MME: Requirement(
        "MME", "MME.tsv, or the official folder: a folder a task with pictures and .txt files", 2374, 2374,
        Judge.NEVER, "sum over 14 tasks of accuracy and accuracy of pairs, 2800 at most", "1935.8",
        "BradyFU/Awesome-Multimodal-Large-Language-Models", NOT_KNOWN, NOT_KNOWN,
    ),
    Benchmark.MMBENCH: Requirement(
        "MMBench dev (en)", "MMBench_DEV_EN.tsv, version 1.0", 4329, 1164,
        Judge.OPTIONAL, "circular accuracy, %", "71.6",
        "open-compass/MMBench", NOT_KNOWN, f"that of its repository; {NOT_KNOWN}",
    ),
    Benchmark.MMMU: Requirement(
        "MMMU val", "MMMU_DEV_VAL.tsv, or the official parquet files", None, 900,
        Judge.OPTIONAL, "accuracy, %", "40.7",
        "MMMU-Benchmark/MMMU", NOT_KNOWN, "Apache 2.0, its repository's",
    ),
    Benchmark.MMHAL: Requirement(
        "MMHal-Bench", "response_template.json and the pictures' folder", 96, 96,
        Judge.ALWAYS, "mean rating, 0 to 6, and answers without hallucination, %", "3.45 / 68.8",
        "Shengcao1006/MMHal-Bench on Hugging Face", NOT_KNOWN, NOT_KNOWN,
    ),
    Benchmark.OBJHAL: Requirement(
        "Object HalBench", "obj_halbench_300_with_image.jsonl; to score: COCO 2014 annotations and a synonym list", 300,
        300, Judge.OPTIONAL, "100 - CHAIRs and 100 - CHAIRi, %", "90.3 / 95.5",
        "RLHF-V/RLHF-V; annotations: COCO 2014", f"{NOT_KNOWN}; synonyms_refine.txt 3,594 bytes",
        "CC BY-NC 4.0, for research alone; COCO's own for the annotations",
    ),
    Benchmark.SEEDBENCH: Requirement(
        "SEED-Bench (images)", "SEEDBench_IMG.tsv, or SEED-Bench.json and the pictures' folder", 14232, 14232,
        Judge.OPTIONAL, "accuracy, %", "71.1",
        "AILab-CVC/SEED-Bench", NOT_KNOWN, "Apache 2.0; its pictures have their sources' licences",
    ),
    Benchmark.MATHVISTA: Requirement(
        "MathVista testmini", "MathVista_MINI.tsv, or testmini.json (query.json beside it) and images/", 1000, 1000,
        Judge.OPTIONAL, "accuracy, %", "34.9",
        "lupantech/MathVista",
        f"testmini.json 871,725 bytes, query.json 1,615,721 bytes; pictures and TSV file: {NOT_KNOWN}",
        "CC BY-SA 4.0, to test and not to train; pictures and questions are their authors'",
    ),
    Benchmark.LLAVABENCH: Requirement(
        "LLaVA-Bench (in the wild)", "LLaVABench.tsv, or the official folder: questions.jsonl, context.jsonl, "
        "answers_gpt4.jsonl, images/", 60, 60,
        Judge.ALWAYS, "mean score as a share of GPT-4's, %", "72.0",
        "haotian-liu/LLaVA", NOT_KNOWN,
        f"{NOT_KNOWN}; the repository's code is under Apache 2.0, data under its sources' terms",
    ),
    Benchmark.EASYVQA: Requirement(
        "easy-VQA test", "the easy-vqa package's folder data/test: questions.json, images/", 9673, 9673,
        Judge.NEVER, "accuracy, %", "-",
        "pip install easy-vqa", "898,339 bytes", "MIT",
    ),
}  # fmt: skip
