"""The comparison of models: with themselves, with the checkpoint they came from, with what they are not."""

from __future__ import annotations

import dataclasses
import functools
import json
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from examples.tiny.checkpoint import __file__ as tiny_code
from export.checkpoint.checkpoint import Checkpoint
from export.parity.checkpoint_model import CheckpointModel
from export.reference.layerwise import load_module
from export.reference.model import OmniLMM
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.engine import device as device_module
from omnilmm_lite.engine import graph_opener as opening
from omnilmm_lite.engine.device import choose_device
from omnilmm_lite.engine.graph_decoder import GraphDecoder
from omnilmm_lite.errors import InputError
from omnilmm_lite.model import BundleModel, LoadOptions, Model, load
from omnilmm_lite.picture.preprocess import preprocess
from omnilmm_lite.picture.reading import load_image
from omnilmm_lite.quality.compare import compare
from omnilmm_lite.quality.compared_model import ComparedBundle, ComparedModel, check_comparable
from omnilmm_lite.quality.data import EvaluationSequence, Kind, build_samples, positions
from omnilmm_lite.quality.measure import Measurement, measure
from omnilmm_lite.quality.page import build_page
from omnilmm_lite.quality.report import Report, number, rows, unexpected_text
from omnilmm_lite.quality.statistics import Estimate
from omnilmm_lite.text.conversations import Conversation
from omnilmm_lite.text.tokenizer import Tokenizer
from tests.conftest import Quiet
from tests.paths import ROOT

PICTURES = ROOT / "examples" / "pictures"
CONVERSATIONS = [
    Conversation("What is this?", "This is a cat.", PICTURES / "cat.png"),
    Conversation("is there a triangle?", "no", PICTURES / "easy-vqa-teal-circle.png"),
    Conversation("What can you do?", "I can name things in simple pictures."),
    Conversation("Is there an owl?", None, PICTURES / "owl-on-a-photo.jpg"),
    Conversation("What is this?", None, PICTURES / "cat.png"),
]


@functools.cache
def tiny() -> BundleModel:
    """The built-in bundle, 4-bit."""
    return load(threads=1)


@functools.cache
def tiny_original() -> CheckpointModel:
    """What it was made from."""
    return CheckpointModel(Checkpoint.open(Path(tiny_code).parent / "checkpoint"))


@functools.cache
def measured() -> Measurement:
    return measure(tiny(), tiny_original(), CONVERSATIONS, Path("data.jsonl"), 10, Quiet())


def samples_for(subject: ComparedModel, data: list[Conversation] | str = CONVERSATIONS) -> list[EvaluationSequence]:
    return build_samples(data, subject.tokenizer, subject.config, 100)


def test_a_model_is_exactly_itself() -> None:
    subject = ComparedBundle(tiny())
    comparison = compare(subject, ComparedBundle(tiny()), samples_for(subject), Quiet())
    assert len(comparison.scores) > 80
    assert not comparison.scores.kld.any()
    assert not comparison.scores.delta_p.any()
    assert comparison.scores.agrees.all()


@torch.inference_mode()
def test_a_checkpoints_logits_are_the_references(tiny_checkpoint: Checkpoint) -> None:
    """More pictures than go through the tower at once; one of them twice, and a sequence without."""
    subject = CheckpointModel(tiny_checkpoint)
    pictures = [*sorted(PICTURES.glob("*.[pj]*g")) * 2, None]
    samples = samples_for(subject, [Conversation("What is this?", "A cat.", picture) for picture in pictures])
    model = load_module(tiny_checkpoint, "", lambda: OmniLMM(tiny_checkpoint.config))
    for sample, logits in zip(samples, subject.predict(samples, Quiet()), strict=True):
        features = None
        if isinstance(sample.image, Path):
            pixels = preprocess(load_image(sample.image), tiny_checkpoint.config.vision)
            features = model.encode_image(torch.from_numpy(pixels))
        expected = model(torch.tensor([sample.ids]), features)[0].numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-3)


def test_a_faithful_bundle_is_its_checkpoint(tiny_checkpoint: Checkpoint, loaded_model: Model) -> None:
    report = measure(
        loaded_model, CheckpointModel(tiny_checkpoint), CONVERSATIONS, Path("data.jsonl"), 10, Quiet()
    ).report
    assert list(report.summaries) == ["answer", "after picture", "text", "all"]
    for summary in report.summaries.values():
        assert summary.kld_max < 1e-6
        assert summary.perplexity_ratio.value == pytest.approx(1, abs=1e-4)
        assert summary.top1_agreement.value == 1.0


@torch.inference_mode()
def test_a_quantized_bundle_against_torch() -> None:
    """The whole way once more by hand: the reference's logits, the runtime's, torch's divergence."""
    report = measured().report
    assert report.summaries["all"].positions == sum(
        summary.positions for kind, summary in report.summaries.items() if kind != "all"
    )
    checkpoint = Checkpoint.open(Path(tiny_code).parent / "checkpoint")
    reference = load_module(checkpoint, "", lambda: OmniLMM(checkpoint.config))
    model, klds, losses = tiny(), [], []
    samples = samples_for(tiny_original())
    for sample, which in zip(samples, positions(samples, checkpoint.config), strict=True):
        features = image = None
        if isinstance(sample.image, Path):
            picture = load_image(sample.image)
            features = model.encode_image(picture)
            image = reference.encode_image(torch.from_numpy(preprocess(picture, checkpoint.config.vision)))
        answer = torch.from_numpy(which.rows[which.kinds == Kind.ANSWER])
        targets = torch.tensor(sample.ids)[answer + 1]
        p = reference(torch.tensor([sample.ids]), image)[0][answer].double().log_softmax(-1)
        q = torch.from_numpy(model.logits(sample.ids, features))[answer].double().log_softmax(-1)
        klds.append(F.kl_div(q, p, reduction="none", log_target=True).sum(-1))
        losses.append(F.nll_loss(q, targets, reduction="none"))
    found = report.summaries["answer"]
    kld, loss = torch.cat(klds), torch.cat(losses)
    assert found.positions == len(kld) > 10
    assert 0 < found.kld_mean.value == pytest.approx(float(kld.mean()), rel=1e-3)
    assert found.kld_max == pytest.approx(float(kld.max()), rel=1e-3)
    assert found.perplexity.value == pytest.approx(float(loss.mean().exp()), rel=1e-4)
    assert report.largest_differences[0].kld == found.kld_max


def test_open_questions_are_answered_by_the_bundle_held_against() -> None:
    base = ComparedBundle(tiny())
    samples = samples_for(base)
    answered = base.write_answers(samples, Quiet())
    assert answered[:3] == samples[:3]
    chat = tiny().chat(PICTURES / "owl-on-a-photo.jpg")
    expected = chat.ask("Is there an owl?", greedy=True, repetition_penalty=1.0, max_new_tokens=64)
    start, ids = answered[3].answer_start, answered[3].ids
    assert ids[:start] == samples[3].ids
    assert base.tokenizer.decode(ids[start:]).strip() == expected
    assert ids[-1] == base.config.tokens.eos
    report = measure(tiny(), base, CONVERSATIONS, Path("data.jsonl"), 10, Quiet()).report
    assert (report.data.with_answer, report.data.answers_written_by) == (5, "tiny")
    assert (measured().report.data.with_answer, measured().report.data.answers_written_by) == (3, None)


def test_the_tower_has_the_memory_for_itself_and_is_gone_before_tokens_are_run(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a bundle whose tower and decoder share their memory, and whose tower is mapped; once for all pictures."""
    bundle = Bundle.open(tiny_bundle)
    manifest = dataclasses.replace(bundle.manifest, time_shared=True, mapped=(bundle.manifest.graphs.vision,))
    model = BundleModel(
        Bundle(tiny_bundle, manifest), choose_device("cpu", manifest.target), LoadOptions(512, 1, False, False)
    )
    model.text.decoder.open()
    opened: list[tuple[str, int | None, bool, bool]] = []
    towers: list[weakref.ref[object]] = []

    def open_session(path: Path, device: Device, threads: int | None, **options: bool) -> object:
        decoder = model.text.decoder
        assert isinstance(decoder, GraphDecoder)
        held = decoder.graphs._decode_graph is not None
        opened.append((path.name, threads, options["mapped"], held))
        session: object = device_module.open_session(path, device, threads, **options)
        if path.name != manifest.graphs.decode:
            towers.append(weakref.ref(session))
        return session

    monkeypatch.setattr(opening, "open_session", open_session)
    subject = ComparedBundle(model)
    predicted = subject.predict(samples_for(subject), Quiet())
    assert opened == [("vision.onnx", 1, True, False), ("resampler.onnx", 1, False, False)]
    assert [tower() for tower in towers] == [None, None]
    next(predicted)
    assert opened[2:] == [("decoder.onnx", 1, False, False)]


class Other:
    """A subject in words only."""

    def __init__(self, name: str, config: OmniLMMConfig, tokenizer: Tokenizer) -> None:
        self.name, self.config, self.tokenizer = name, config, tokenizer

    def predict(self, samples: Sequence[EvaluationSequence], progress: object) -> Iterator[NDArray[np.float32]]:
        raise NotImplementedError


def test_other_models_are_refused(loaded_model: Model, tmp_path: Path) -> None:
    subject = ComparedBundle(tiny())
    config, tokenizer = subject.config, subject.tokenizer
    check_comparable(subject, Other("itself", config, tokenizer))
    with pytest.raises(InputError, match=r"^tiny and tiny-reference can't be compared: vocab_size: 1545 and 32009;"):
        check_comparable(subject, ComparedBundle(loaded_model))
    fewer = dataclasses.replace(config, resampler=dataclasses.replace(config.resampler, num_queries=9))
    with pytest.raises(InputError, match="image tokens a picture: 16 and 9"):
        check_comparable(subject, Other("other", fewer, tokenizer))
    vocabulary = json.loads(tiny().bundle.path("tokenizer.json").read_text(encoding="utf-8"))
    pieces = vocabulary["model"]["vocab"]
    one, other = [piece for piece, token in pieces.items() if token in (700, 701)]
    pieces[one], pieces[other] = pieces[other], pieces[one]
    (tmp_path / "tokenizer.json").write_text(json.dumps(vocabulary))
    with pytest.raises(InputError, match="their tokenizers differ"):
        check_comparable(subject, Other("other", config, Tokenizer(tmp_path / "tokenizer.json")))


def test_a_sequence_that_does_not_fit_is_refused_first() -> None:
    long = EvaluationSequence(tuple([1] * (tiny().text.decoder.context + 1)))
    with pytest.raises(InputError, match=r"a sequence of 2049 tokens, tiny takes 2048"):
        ComparedBundle(tiny()).predict([long], Quiet())


def test_the_table_has_a_cell_a_kind() -> None:
    report: Report = measured().report
    table = rows(report)
    assert {len(row.cells) for row in table} == {len(report.summaries)}
    assert table[0].cells[-1] == str(report.summaries["all"].positions)


def test_a_perplexity_that_says_nothing_is_explained() -> None:
    report: Report = measured().report
    kinds = list(report.summaries)
    for perplexity, said in ((999.0, []), (9.4e5, kinds[:1])):
        first = dataclasses.replace(report.summaries[kinds[0]], perplexity_base=Estimate(perplexity, 1.0))
        others = {
            kind: dataclasses.replace(each, perplexity_base=Estimate(2.0, 0.1))
            for kind, each in report.summaries.items()
        }
        changed = dataclasses.replace(report, summaries=others | {kinds[0]: first})
        text = unexpected_text(changed)
        assert text.startswith(f"A perplexity of 1,000 or more ({kinds[0]}): ") if said else text == ""
        assert ("A perplexity of" in build_page(dataclasses.replace(measured(), report=changed))) == bool(said)


@pytest.mark.parametrize(
    ("estimate", "percent", "text"),
    [
        (Estimate(0.123456, 0.0123), False, "0.123 ± 0.012"),
        (Estimate(1.0, 0.0), False, "1"),
        (Estimate(2.5, None), False, "2.5"),
        (Estimate(0.98765, 0.0123), True, "98.8 ± 1.2"),
        (Estimate(1234.5, 99.0), False, "1,234 ± 99"),
        (Estimate(2.5e6, 1.2e6), False, "2,500,000 ± 1,200,000"),
        (Estimate(938_412.0, 21_871.0), False, "938,000 ± 22,000"),
        (Estimate(1234.5, 123.4), False, "1,230 ± 120"),
        (Estimate(938_412.3, None), False, "938,412"),
        (Estimate(2.5e12, 1.2e11), False, "2.5e+12 ± 1e+11"),
        (Estimate(2.34e-7, 1.2e-8), False, "2.3e-07 ± 1e-08"),
        (Estimate(1.00012, 0.000012), False, "1.000120 ± 0.000012"),
    ],
)
def test_numbers(estimate: Estimate, percent: bool, text: str) -> None:
    assert number(estimate, percent=percent) == text
