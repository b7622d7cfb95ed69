"""What is asked about a picture, and what its caption is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from omnilmm_lite.caption.tags import clean_tags
from omnilmm_lite.caption.templates.template import Template, read_template
from omnilmm_lite.caption.writers.writer import Caption

NOTHING = Template(())


@dataclass(frozen=True)
class Wording:
    prompt: Template
    prefix: Template = NOTHING
    suffix: Template = NOTHING
    of_tags: bool = False  # the answer is a list, to be cleaned

    @classmethod
    def read(cls, prompt: str, prefix: str = "", suffix: str = "", *, of_tags: bool = False) -> Wording:
        """InputError where one of them has a field that there is not."""
        return cls(
            read_template(prompt, "--prompt"),
            read_template(prefix, "--prefix"),
            read_template(suffix, "--suffix"),
            of_tags,
        )

    @classmethod
    def plain(cls, prompt: str) -> Wording:
        """The prompt as it stands, braces and all."""
        return cls(Template((prompt,)))

    @property
    def names(self) -> frozenset[str]:
        """The fields that are asked for."""
        return self.prompt.names | self.prefix.names | self.suffix.names

    def question(self, fields: Mapping[str, str]) -> str:
        return self.prompt.fill(fields)

    def caption(self, answer: str, fields: Mapping[str, str]) -> Caption:
        tags = clean_tags(answer) if self.of_tags else None
        text = answer if tags is None else ", ".join(tags)
        return Caption(self.prefix.fill(fields) + text + self.suffix.fill(fields), tags)
