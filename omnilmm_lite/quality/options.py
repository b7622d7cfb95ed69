"""What `omnilmm-lite quality` takes. Imports nothing heavy: the parser is built for every command."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_quality_options(parser: argparse.ArgumentParser) -> None:
    """The command's description and arguments."""
    parser.description = (
        "Runs two forms of one model over the same tokens and pictures and compares what they expect next: perplexity, "
        "KL divergence, agreement. A checkpoint is read layer by layer and needs omnilmm-lite[convert]."
    )
    model = "folder that `convert` made, a model's name, `tiny`; or a checkpoint, for answers by torch"
    parser.add_argument("bundle", metavar="BUNDLE", help=model)
    parser.add_argument(
        "--against", required=True, metavar="ORIGINAL", help="the checkpoint it was made from, or another bundle of it"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="a folder of pictures, a JSONL of {image, question, answer}, or a text (default: some built-in chats); "
        "questions without an answer are answered by ORIGINAL if it is a bundle",
    )
    parser.add_argument("--samples", type=int, default=64, metavar="N", help="sequences at most (64)")
    parser.add_argument("--json", action="store_true", help="print one JSON object with all figures")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page with plots")
    parser.add_argument("--device", metavar="auto|cpu|cuda|cuda:N", help="where bundles run (default: auto)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: one a core that is worth it)")
