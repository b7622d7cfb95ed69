"""Small data files of every benchmark, in the layouts in which they are published, made from real pictures."""

from __future__ import annotations

import base64
import io
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import easy_vqa
import skimage.data
from PIL import Image

from omnilmm_lite.evaluation.scoring.easyvqa import COLORS
from omnilmm_lite.evaluation.scoring.mme import COGNITION, PERCEPTION
from omnilmm_lite.evaluation.scoring.mmhal import TYPES
from tests.evaluation.golden import write_tsv
from tests.paths import ROOT

EXAMPLES = ROOT / "examples" / "pictures"
SIDE = 64
EASY_PICTURES = 6
EASY = Path(easy_vqa.__file__).parent / "data" / "test"
SYNONYMS = "person, man, woman\ncat, kitten\ncup, mug\nclock\ncar\n"
RUBRICS = {  # in the shapes of the published scripts, with other words
    "multiple_choice.py": """
def build_prompt(question, options, prediction):
    tmpl = ("Match: {}? Of: "
            "{} Said: {}")
    return tmpl.format(question, options, prediction)
def build_prompt_cn(question, options, prediction):
    tmpl = "\u5339\u914d {} {} {}"
""",
    "mathvista_eval.py": """
def get_gpt4_ICE():
    example_1 = "one"
    example_2 = "two"
    example_3 = "three"
    example_4 = "four"
    example_5 = "five"
def build_mathvista_gpt4_prompt(line):
    task_description = "Extract.\\n"
""",
    "ext_ans.py": 'demo_prompt = """\nExtract it.\n"""\n',
    "eval_gpt_obj_halbench.py": "prompt_template = 'Q {question} A {answer}'\n",
}
RULES = {f"llava_bench_{name}": {"role": "Assistant", "prompt": "Rate both."} for name in ("conv", "detail", "complex")}


def pictures() -> list[bytes]:
    """Six small PNG files."""
    images: list[Image.Image] = [Image.open(path) for path in sorted(EXAMPLES.glob("*.png"))]
    images += [Image.fromarray(skimage.data.chelsea()), Image.fromarray(skimage.data.coffee())]
    return [_png(image.convert("RGB").resize((SIDE, SIDE))) for image in images]


def write_rubrics(folder: Path) -> Path:
    """What the judges of those benchmarks are asked that can be scored without one."""
    for name, script in RUBRICS.items():
        (folder / name).write_text(script, encoding="utf-8")
    return folder


def write_all(folder: Path) -> Path:
    """All nine, with what scoring them needs."""
    write_rubrics(folder)
    for write in (_mme, _mmbench, _mmmu, _mmhal, _objhal, _seedbench, _mathvista, _llavabench, write_easyvqa):
        write(folder)
    return folder


def write_easyvqa(folder: Path) -> Path:
    """Real questions about some of the package's real pictures. Gives the benchmark's own folder."""
    target = folder / "easyvqa"
    (target / "images").mkdir(parents=True)
    questions = json.loads((EASY / "questions.json").read_text(encoding="utf-8"))
    kept = [each for each in questions if each[2] < EASY_PICTURES]
    (target / "questions.json").write_text(json.dumps(kept), encoding="utf-8")
    for number in range(EASY_PICTURES):
        shutil.copyfile(EASY / "images" / f"{number}.png", target / "images" / f"{number}.png")
    return target


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _cell(number: int) -> str:
    found = pictures()
    return base64.b64encode(found[number % len(found)]).decode()


def _mme(folder: Path) -> None:
    """Two of easy-VQA's own yes/no questions about each of two of its pictures, for every task."""
    rows = [
        {
            "index": str(100 * task + 10 * place + number), "image": _easy_cell(picture),
            "image_path": f"{name}/{picture}.png", "question": question, "answer": answer.capitalize(),
            "category": name,
        }
        for task, name in enumerate((*PERCEPTION, *COGNITION))
        for place, picture in enumerate((task, task + 1))
        for number, (question, answer) in enumerate(_easy(picture, "yes", "no")[:2])
    ]  # fmt: skip
    write_tsv(folder / "MME.tsv", rows)


def _easy(picture: int, *answers: str) -> list[tuple[str, str]]:
    """easy-VQA's questions about one picture that have one of these answers, each with its own."""
    questions = json.loads((EASY / "questions.json").read_text(encoding="utf-8"))
    return [(question, answer) for question, answer, of in questions if of == picture and answer in answers]


def _easy_cell(picture: int) -> str:
    return base64.b64encode((EASY / "images" / f"{picture}.png").read_bytes()).decode()


def _mmbench(folder: Path) -> None:
    write_tsv(folder / "MMBench_DEV_EN.tsv", list(_rotations(("red", "blue", "None", "green"))))


def _rotations(options: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Questions 1 to 4, each with every rotation of its options; the rotated rows refer to the first one's picture."""
    for turn in range(len(options)):
        turned = options[turn:] + options[:turn]
        for question in range(1, 5):
            yield {
                "index": str(1_000_000 * turn + question), "image": str(question) if turn else _cell(question),
                "question": "Which colour is it?", "hint": "Look." if question == 2 else "",
                **dict(zip("ABCD", turned, strict=True)), "answer": "ABCD"[turned.index("red")],
                "category": f"kind {question % 2}", "l2-category": "colours", "split": "dev",
            }  # fmt: skip


def _mmmu(folder: Path) -> None:
    rows = [
        {
            "index": str(number), "image": str([_cell(number)] if number else [_cell(0), _cell(1)]),
            "question": "<image 1> What is it?", "A": "" if number == 3 else "cat", "B": "" if number == 3 else "dog",
            "answer": "12" if number == 3 else "A", "category": f"subject {number % 2}", "l2-category": "Art",
            "split": "dev" if number == 5 else "validation",
        }
        for number in range(6)
    ]  # fmt: skip
    write_tsv(folder / "MMMU_DEV_VAL.tsv", rows)


def _mmhal(folder: Path) -> None:
    (folder / "images").mkdir(exist_ok=True)
    entries = []
    for number, kind in enumerate(TYPES):
        (folder / "images" / f"{number}.png").write_bytes(pictures()[number % 6])
        entries.append({
            "question_type": kind, "question_topic": "x", "image_id": str(number), "gt_answer": "A cat.",
            "image_src": f"https://example.org/{number}.png", "image_content": ["Cat"],
            "question": "What is this?", "model_answer": "",
        })  # fmt: skip
    _write_json(folder / "response_template.json", entries)
    script = "template = '''Contents {} of {}, {} and {}.'''\n"
    (folder / "eval_gpt4.py").write_text(script, encoding="utf-8")


def _objhal(folder: Path) -> None:
    rows = [{"question": "What is this?", "image": _cell(number), "image_id": number + 1} for number in range(6)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "obj_halbench_300_with_image.jsonl").write_text(lines, encoding="utf-8")
    (folder / "synonyms_refine.txt").write_text(SYNONYMS, encoding="utf-8")
    annotations = folder / "annotations"
    annotations.mkdir()
    for split in ("val", "train"):
        numbers = range(1, 7) if split == "val" else ()
        instances = {
            "categories": [{"id": 17, "name": "cat"}],
            "annotations": [{"image_id": number, "category_id": 17} for number in numbers],
        }
        _write_json(annotations / f"instances_{split}2014.json", instances)
        captions = {"annotations": [{"image_id": number, "caption": "A cup."} for number in numbers]}
        _write_json(annotations / f"captions_{split}2014.json", captions)


def _seedbench(folder: Path) -> None:
    rows = [
        {
            "index": str(number), "image": _cell(number // 2), "question": "What is this?", "A": "a cat",
            "B": "a guitar", "C": "a triangle", "D": "a circle", "answer": "ABCD"[number % 4],
            "category": f"kind {number % 3}",
        }
        for number in range(12)
    ]  # fmt: skip
    write_tsv(folder / "SEEDBench_IMG.tsv", rows)


def _mathvista(folder: Path) -> None:
    """A colour of easy-VQA's to choose, and a number that `tiny` can't know, in turn."""
    rows = [
        {
            "index": str(picture), "image": _easy_cell(picture), "question": "what is the color of the shape?",
            "choices": str(sorted(COLORS)), "answer": _easy(picture, *COLORS)[0][1], "question_type": "multi_choice",
            "answer_type": "text", "precision": "", "unit": "",
            "answer_option": "ABCDEFGH"[sorted(COLORS).index(_easy(picture, *COLORS)[0][1])],
            "task": "colours", "skills": "['arithmetic']",
        }
        for picture in range(4)
    ]  # fmt: skip
    number = {
        "question": "how many are there?", "choices": "[]", "answer": "2", "question_type": "free_form",
        "answer_type": "integer", "answer_option": "", "task": "counting",
    }  # fmt: skip
    write_tsv(folder / "MathVista_MINI.tsv", [*rows, *({**row, **number, "index": f"9{row['index']}"} for row in rows)])


def _llavabench(folder: Path) -> None:
    root = folder / "llava-bench-in-the-wild"
    (root / "images").mkdir(parents=True)
    names = [f"{number:03}.png" for number in range(6)]
    for name, data in zip(names, pictures(), strict=True):
        (root / "images" / name).write_bytes(data)
    kinds = ("conv", "detail", "complex")
    questions = [
        {"question_id": n, "image": name, "category": kinds[n % 3], "text": "What is this?"}
        for n, name in enumerate(names)
    ]
    _write_lines(root / "questions.jsonl", questions)
    _write_lines(root / "context.jsonl", [{"image": name, "caption": "a picture"} for name in names])
    _write_lines(root / "answers_gpt4.jsonl", [{"question_id": n, "text": "A cat."} for n in range(len(names))])
    _write_json(root / "rule.json", RULES)


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data), encoding="utf-8")


def _write_lines(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":  # for an environment without the packages that the pictures are from
    write_all(Path(sys.argv[1]))
