"""Runs the measurements, one stage after another, on one loaded model.

Each kind of run is done once before it counts. Where several lengths are compared, every round goes through all of
them, so that a machine that gets slower meanwhile slows them alike.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, field
from functools import partial

from omnilmm_lite.bench.bandwidth import Bandwidth, measure_bandwidth
from omnilmm_lite.bench.dialogue import measure_dialogue
from omnilmm_lite.bench.footprint import Footprint, reset_peak
from omnilmm_lite.bench.result import Decode, Load, MeasuredBundle, PictureTimes, Prefill, Question, Result
from omnilmm_lite.bench.series import Series, seconds
from omnilmm_lite.bench.settings import Settings
from omnilmm_lite.bench.workload import picture, token_ids
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.versions import versions
from omnilmm_lite.machine.description import Machine
from omnilmm_lite.machine.memory import peak_rss_bytes
from omnilmm_lite.model import DEFAULT_CONTEXT, Model, load
from omnilmm_lite.progress import Progress

READ_CHUNK = 1 << 24


@dataclass
class MemoryLog:
    """Footprints, one a stage."""

    footprints: list[Footprint] = field(default_factory=list)

    def note(self, stage: str) -> None:
        """Remembers what memory is held now, at the end of `stage`."""
        if footprint := Footprint.read(stage):
            self.footprints.append(footprint)
        reset_peak()

    @property
    def peak(self) -> int | None:
        return max((each.peak for each in self.footprints), default=0) or peak_rss_bytes()


@dataclass(frozen=True)
class Loading:
    """How to load the bundle, each time alike."""

    bundle: Bundle
    device: str
    threads: int | None
    context: int
    cuda_graph: bool = False
    resident: bool = False

    def model(self) -> Model:
        return load(
            self.bundle.folder,
            device=self.device,
            context=self.context,
            threads=self.threads,
            cuda_graph=self.cuda_graph,
            resident=self.resident,
            check_files=False,  # beside what is measured
        )


@dataclass(frozen=True)
class Speeds:
    """The speeds measured with one loaded model."""

    picture: PictureTimes
    prefill: tuple[Prefill, ...]
    decode: dict[int, Series]
    questions: tuple[Question, Question] | None


def measure(
    bundle: Bundle,
    device: str,
    threads: int | None,
    settings: Settings,
    progress: Progress,
    *,
    cuda_graph: bool = False,
    resident: bool = False,
) -> Result:
    """Everything, lengths that the model has no room for excepted. InputError or DeviceError as `load` raises them."""
    limit = bundle.manifest.config.decoder.max_position_embeddings
    context = min(limit, max(DEFAULT_CONTEXT, settings.longest))
    settings, notes = settings.within(context)
    loading = Loading(bundle, device, threads, context, cuda_graph, resident)
    machine = Machine.read(versions())
    threads = machine.threads if threads is None else threads
    read_s = read_files(bundle, progress)

    memory = MemoryLog()
    memory.note("before loading")
    progress.stage("loading", 1)
    model = loading.model()
    progress.step("")
    memory.note("loaded")
    choice = model.device
    speeds = _measure_model(model, settings, memory, progress)
    del model  # another one is loaded next, and two may not fit
    loads = _measure_loads(loading, settings.repeat, progress)
    bandwidth = _bandwidth(settings, choice.device, threads or 1)
    if speeds.questions is None:
        notes.append("questions about a picture are left out: the context has no room for one")
    manifest = bundle.manifest
    first, second = speeds.questions or (None, None)
    return Result(
        subject=MeasuredBundle(
            bundle=manifest.name,
            preset=manifest.preset,
            target=manifest.target.value,
            file_bytes=sum(entry.size for entry in manifest.files),
            read_s=round(read_s, 3),
            device=str(choice.placement),
            device_reason=choice.reason,
            threads=threads,
            context=context,
        ),
        machine=machine,
        repeat=settings.repeat,
        load=loads,
        picture=speeds.picture,
        prefill=speeds.prefill,
        decode=tuple(_decode(bundle, at, speeds.decode[at], settings, bandwidth) for at in settings.decode_at),
        first_question=first,
        second_question=second,
        memory=tuple(memory.footprints),
        peak_rss_bytes=memory.peak,
        bandwidth=bandwidth,
        notes=tuple(notes),
    )


def read_files(bundle: Bundle, progress: Progress) -> float:
    """Reads every file once, so that loading finds them in the page cache; the seconds it took."""
    files = [bundle.path(entry.path) for entry in bundle.manifest.files]
    progress.stage("reading files", len(files))
    total = 0.0

    def read() -> None:
        with path.open("rb", buffering=0) as file:
            while file.read(READ_CHUNK):
                pass

    for path in files:
        total += seconds(read)
        progress.step(path.name)
    return total


def _measure_model(model: Model, settings: Settings, memory: MemoryLog, progress: Progress) -> Speeds:
    longest = max(settings.longest, 2)
    ids = token_ids(model.config, longest)
    progress.stage("warm-up", 3)
    first_s = seconds(partial(model.encode_image, picture(0)))
    progress.step("picture")
    memory.note("first picture")
    prefill(model, ids[: max(settings.prefill, default=1)])
    progress.step("prompt")
    memory.note("first prompt")
    decode(model, ids, 1, 1)
    progress.step("answer")
    memory.note("first answer")

    pictures = _measure_pictures(model, settings.repeat, progress)
    prompts = _measure_prefill(model, ids, settings, progress)
    steps = _measure_decode(model, ids, settings, progress)
    questions = measure_dialogue(model, settings.repeat, progress)
    memory.note("all measured")
    return Speeds(PictureTimes(pictures, first_s), prompts, steps, questions)


def _measure_pictures(model: Model, repeat: int, progress: Progress) -> Series:
    """One new picture after another: a tower that is open stays open."""
    progress.stage("pictures", repeat + 1)
    samples = []
    for seed in range(1, repeat + 2):
        samples.append(seconds(partial(model.encode_image, picture(seed))))
        progress.step("")
    return Series(tuple(samples[1:]))


def _measure_prefill(model: Model, ids: list[int], settings: Settings, progress: Progress) -> tuple[Prefill, ...]:
    samples: dict[int, list[float]] = {tokens: [] for tokens in settings.prefill}
    progress.stage("prefill", (settings.repeat + 1) * len(samples))
    for _ in range(settings.repeat + 1):
        for tokens, times in samples.items():
            times.append(prefill(model, ids[:tokens]))
            progress.step(f"{tokens} tokens")
    return tuple(Prefill(tokens, Series(tuple(times[1:]))) for tokens, times in samples.items())


def _measure_decode(model: Model, ids: list[int], settings: Settings, progress: Progress) -> dict[int, Series]:
    """Shortest context first: each next one only adds to the cache what it lacks, in one go."""
    progress.stage("decode", (settings.repeat + 1) * len(settings.decode_at))
    series = {}
    for context in settings.decode_at:
        times = []
        for _ in range(settings.repeat + 1):
            times.append(decode(model, ids, context, settings.new_tokens))
            progress.step(f"at {context}")
        series[context] = Series(tuple(times[1:]))
    return series


def prefill(model: Model, ids: list[int]) -> float:
    """Seconds for a prompt that nothing is known of."""
    decoder = model.text.decoder
    decoder.clear()
    return seconds(lambda: decoder.prefill(ids, model.text.embed(ids, None)))


def decode(model: Model, ids: list[int], context: int, steps: int) -> float:
    """Seconds for the `steps` tokens of `ids` behind the first `context`, which are made sure of beforehand.

    The cache is really filled, by prefill: nothing but a decoder's run sets its length, and what zeros would cost
    (denormal-free, all scores alike) need not be what a conversation costs.
    """
    decoder, text = model.text.decoder, model.text
    held = decoder.reuse(ids[: context + 1])
    if held < context:
        decoder.prefill(ids[held:context], text.embed(ids[held:context], None))

    def run() -> None:
        for token in ids[context : context + steps]:
            decoder.decode(token, text.embeddings([token]))

    return seconds(run)


def _measure_loads(loading: Loading, repeat: int, progress: Progress) -> Load:
    """Loads the bundle again and again; the very first load, before all else, was the one to warm up."""
    progress.stage("loading again", repeat)
    opened, ready = [], []
    ids = token_ids(loading.bundle.manifest.config, 2)
    for _ in range(repeat):
        gc.collect()  # the last model
        started = time.perf_counter()
        model = loading.model()
        opened.append(time.perf_counter() - started)
        decode(model, ids, 1, 1)
        ready.append(time.perf_counter() - started)
        del model
        progress.step("")
    return Load(Series(tuple(opened)), Series(tuple(ready)))


def _bandwidth(settings: Settings, device: Device, threads: int) -> Bandwidth | None:
    """As given, else measured; a card's memory can't be measured from here."""
    if settings.bandwidth is not None:
        return Bandwidth(settings.bandwidth, "given")
    return measure_bandwidth(threads) if device is Device.CPU else None


def _decode(bundle: Bundle, context: int, series: Series, settings: Settings, bandwidth: Bandwidth | None) -> Decode:
    steps = settings.new_tokens
    size = bytes_per_token(bundle, context + steps / 2)
    floor = None
    if size is not None and bandwidth is not None:
        floor = round(size / bandwidth.bytes_per_s / (series.median / steps), 4)
    return Decode(context, steps, series, size, floor)


def bytes_per_token(bundle: Bundle, context: float) -> int | None:
    """What a decode step reads at least: the decode graph's weights as they are stored, and `context` tokens of cache.

    Not the rotary tables, of which it reads one row. Weights that are widened when they are loaded are larger than
    that, so the floor made of this is never too high. None where the manifest doesn't say how large the cache is.
    """
    manifest = bundle.manifest
    graph, config = manifest.graphs.decode, manifest.config.decoder
    cache = manifest.memory.get("kv_cache_per_token")
    if cache is None:
        return None
    weights = sum(entry.size for entry in manifest.files if entry.path != graph and entry.path.startswith(graph))
    bytes_per_value = cache / (2 * config.num_hidden_layers * config.kv_dim)
    rotary = config.max_position_embeddings * config.head_dim * bytes_per_value  # sine and cosine of half the channels
    return round(weights - rotary + context * cache)
