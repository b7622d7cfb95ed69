"""Writes docs/omnilmm-lite.1 from the command line's parser: `make docs`.

Python's minor version has a say in how argparse lays a usage out; the page is that of 3.11, which the tests run on.
"""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

from argparse_manpage.manpage import Manpage

import cli
from omnilmm_lite import __version__

PAGE = Path(__file__).parents[1] / "docs" / "omnilmm-lite.1"
COLUMNS = "80"  # of the usages, which are set as they are

# Behind what the parser says; in roff.
SECTIONS = {
    "exit status": """\
0; 1 for a failure; 2 for wrong usage or input, with one line that says what to do; 130 after Ctrl\\-C.
""",
    "environment": """\
.TP
.B OMNILMM_HOME
the folder of models and settings
.TP
.BI OMNILMM_ NAME
an option that would be given each time, such as
.BR OMNILMM_DEVICE ;
.B omnilmm\\-lite config
lists them, with their values and where each comes from
.TP
.BR HF_ENDPOINT ", " HF_TOKEN ", " HF_HOME ", " HF_HUB_OFFLINE
of the Hugging Face hub, for
.BR setup ", " pull " and " push
""",
}


def man_page() -> str:
    """The page, in roff."""
    with mock.patch.dict(os.environ, COLUMNS=COLUMNS):
        page = Manpage(cli.build_parser())
        page.date = ""  # else the page would change with the day
        page.source, page.manual = f"omnilmm-lite {__version__}", "User Commands"
        page.description = "talk to pictures with OmniLMM-12B, quantized to 4 bits"
        for heading, content in SECTIONS.items():
            page.add_section(heading, ">", content)
        return str(page)


def main() -> None:
    PAGE.write_text(man_page(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
