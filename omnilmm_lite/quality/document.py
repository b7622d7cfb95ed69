"""An HTML document that is one file and asks nothing of the network, whatever stands in it."""

from __future__ import annotations

from html import escape
from importlib import resources


def document(title: str, body: str, *, pictures: bool = False, style: str = "") -> str:
    """`body` between header and end; `title` as a text. `pictures`: it holds some, as data. `style`: more CSS."""
    common = resources.files("omnilmm_lite.quality").joinpath("page.css").read_text(encoding="utf-8")
    # the policy lets nothing be fetched, whatever a model's answer or a file's name contains
    policy = "default-src 'none'; style-src 'unsafe-inline'" + ("; img-src data:" if pictures else "")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{common}{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def figure(title: str, legend: dict[str, str], svg: str, text: str) -> str:
    """A chart with what stands around it. `legend`: CSS class by name."""
    entries = "".join(f'<li><i class="{css}"></i>{escape(name)}</li>' for name, css in legend.items())
    return (
        f"<figure><h2>{escape(title)}</h2>"
        + (f'<ul class="legend">{entries}</ul>' if entries else "")
        + f'{svg}<figcaption class="note">{escape(text)}</figcaption></figure>'
    )
