"""What MMBench, SEED-Bench and MMMU share: verdicts by option letter."""

from __future__ import annotations

from collections.abc import Mapping

from omnilmm_lite.evaluation.benchmark import Profile
from omnilmm_lite.evaluation.item import Item, Prediction
from omnilmm_lite.evaluation.scoring.option_letters import extract_option
from omnilmm_lite.evaluation.scoring.result import Verdict

# What the two readings of a row's options are called where both are shown.
READINGS = {
    Profile.VEK2402: 'options such as "None" left out, as the kit reads them',
    Profile.OFFICIAL: 'options such as "None" kept',
}
AS_TEXT = "options are the text that the file has, where the kit reads a column of nothing but numbers as numbers"


def options(item: Item, reading: Profile) -> Mapping[str, str]:
    """The kit's are those that pandas doesn't take for absent."""
    return item.options_of_kit if reading is Profile.VEK2402 else item.options


def verdict(prediction: Prediction, reading: Profile) -> Verdict:
    """By the rules of `extract_option`."""
    extracted = extract_option(prediction.text, options(prediction.item, reading))
    return Verdict(prediction.item.index, extracted, extracted is not None and extracted == prediction.item.answer)
