"""Writes questions of easy-VQA's test split, with their pictures and answers, for `quality --data`:

`python -m examples.tiny.easy_vqa_questions FOLDER` makes FOLDER/questions.jsonl and the pictures.
The built-in model was trained on none of them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from examples.tiny.dataset import easy_vqa_data

EVERY = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=EVERY, metavar="N", help="take the first of N (%(default)s)")
    args = parser.parse_args()
    print(f"{write_questions(args.folder, args.every)} questions in {args.folder / 'questions.jsonl'}")


def write_questions(folder: Path, every: int) -> int:
    """The first of each `every` questions, in the package's own order. Gives how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = easy_vqa_data.pictures("test")
    lines = []
    for asked in easy_vqa_data.questions("test")[::every]:
        name = f"{asked.picture:04}.png"
        pictures[asked.picture].save(folder / name)
        lines.append({"image": name, "question": asked.text, "answer": asked.answer})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "questions.jsonl").write_text(text, encoding="utf-8")
    return len(lines)


if __name__ == "__main__":
    main()
