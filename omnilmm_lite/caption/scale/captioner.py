"""The public class that maps pictures to captions, for Ray Data, Dask, Daft, Spark or a plain loop."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.caption.scale.caption_row import COLUMNS, CaptionRow
from omnilmm_lite.caption.scale.caption_rows import CaptionRows
from omnilmm_lite.caption.scale.preparing import Picture, Preparing
from omnilmm_lite.caption.templates.template import Template
from omnilmm_lite.caption.wording import Wording
from omnilmm_lite.errors import InputError
from omnilmm_lite.home.chosen_model import choose_model
from omnilmm_lite.home.models import ModelStore
from omnilmm_lite.model import Model, load
from omnilmm_lite.pipeline.width import Width
from omnilmm_lite.sampling_params import SamplingOptions, sampling_params

DEFAULT_PROMPT = "Describe this picture."
PICTURE_COLUMNS = ("bytes", "image", "path")  # the first that a batch has is looked at


@dataclass(frozen=True)
class _Load:
    """What a process loads once."""

    model: str | None
    device: str
    context: int | None
    threads: int | None
    parallel: int | None
    ignore_colour_profile: bool


class _Turn:
    """One batch runs at a time on a model: other threads wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._whose: threading.Thread | None = None

    @contextmanager
    def taken(self) -> Iterator[None]:
        """A block that has the model alone. InputError where this thread has it already: it would wait for ever."""
        if self._whose is threading.current_thread():
            raise InputError(
                "captions: this thread has rows of the same model to take yet; take them all, or close their iterator"
            )
        with self._lock:
            self._whose = threading.current_thread()
            try:
                yield
            finally:
                self._whose = None


_turns: weakref.WeakKeyDictionary[Model, _Turn] = weakref.WeakKeyDictionary()


class _Engine:
    """A model and what prepares its pictures."""

    def __init__(self, model: Model, *, measures_width: bool = False, ignore_colour_profile: bool) -> None:
        self.model = model
        self.width = Width(model.slots, is_measured=measures_width)
        self.turn = _turns.setdefault(model, _Turn())  # of a loaded model several Captioners may ask
        self.preparing = Preparing(model.config.vision, ignore_colour_profile=ignore_colour_profile)


_engines: dict[_Load, _Engine] = {}
_loading = threading.Lock()


class Captioner:
    """Maps batches of pictures to captions, each picture asked about by itself.

    It can be pickled, and loads its model when the first picture comes: once a process, however many copies of it
    arrive there. So it may be sent to workers with every task, or be the class of an actor.

    captioner = Captioner("my-model", "Describe this picture.", greedy=True)
    for row in captioner.captions(["cat.jpg", "dog.jpg"]):
        print(row.sha256, row.text or row.error)
    """

    def __init__(
        self,
        model: str | Path | Model | None = None,
        prompt: str = DEFAULT_PROMPT,
        *,
        tags: bool = False,
        column: str | None = None,
        device: str = "auto",
        context: int | None = None,
        threads: int | None = None,
        parallel: int | None = 1,
        ignore_colour_profile: bool = False,
        **sampling: Unpack[SamplingOptions],
    ) -> None:
        """`model`: a model's name, a bundle's folder, or one that is loaded; None is the user's default, else tiny. A
        loaded one stays in this process: such a Captioner can't be pickled, and what follows on the machine is
        ignored.

        `prompt` is asked as it stands. `tags`: the answer is a list, to be cleaned as `caption --tags` does. `column`:
        which one of a batch holds the pictures. `device`, `context`, `threads`: as `load` takes them. `parallel`:
        answers at once, in slots of the model; None takes what memory has room for, 8 at most, and of that what gives
        the most tokens a second in the first minute. `sampling`: greedy, seed, max_new_tokens and so on; the bundle's
        own where it is left open.

        InputError where the prompt is empty; what is wrong with the model is raised when it is loaded.
        """
        if not prompt.strip():
            raise InputError("the prompt is empty: give a question")
        self._given = model if isinstance(model, Model) else None
        name = None if model is None or isinstance(model, Model) else str(model)
        self._load = _Load(name, device, context, threads, parallel, ignore_colour_profile)
        self._wording = Wording(Template((prompt,)), of_tags=tags)
        self._column = column
        self._sampling = sampling
        self._engine: _Engine | None = None

    @property
    def model(self) -> Model:
        """The model, which is loaded now if it wasn't. Raises what `load` raises."""
        return self._loaded().model

    def captions(self, pictures: Iterable[Picture], *, one_by_one: bool = False) -> Iterator[CaptionRow]:
        """A row a picture, in their order, as they get done; the next pictures are read meanwhile.

        A picture is its file's bytes, its path, a picture of PIL, or a dict with `bytes` or `path`. One that can't be
        read gets a row with `error`, and the others go on. OmniLMMError where the machine is at fault, such as for lack
        of memory. Until the last row is taken, or the iterator closed, other threads wait for the model; InputError
        where the same thread begins another one. `one_by_one`: whatever `parallel` says, so that it is known which
        picture ends a process.
        """
        engine = self._loaded()
        params = sampling_params(engine.model.sampling, self._sampling)
        width = Width(1, is_measured=False) if one_by_one else engine.width
        with engine.turn.taken(), closing(engine.preparing.ahead(pictures)) as ready:
            yield from CaptionRows(engine.model, self._wording, params, width).of(ready)

    def __call__(self, batch: Any) -> Any:
        """A batch with the columns of `CaptionRow` in place of the pictures' own; all others are kept.

        A dict of columns, as Ray Data gives it, comes back as one of object arrays, a pandas frame as a frame. A `path`
        is kept. InputError where there is no column `bytes`, `image` or `path`, or none of the name that was given.
        """
        names = list(batch.keys())
        column = self._picture_column(names)
        made = _columns([*self.captions(list(batch[column]))])
        kept = [name for name in names if name not in made and (name != column or column == "path")]
        if isinstance(batch, Mapping):
            return {name: batch[name] for name in kept} | made
        return batch[kept].assign(**made)  # a pandas frame, whose module is not ours to import

    def __getstate__(self) -> dict[str, Any]:
        if self._given is not None:
            raise InputError("a Captioner of a loaded model can't be sent to another process: give the model's name")
        return self.__dict__ | {"_engine": None}

    def _picture_column(self, names: Sequence[Any]) -> str:
        wanted = PICTURE_COLUMNS if self._column is None else (self._column,)
        for name in wanted:
            if name in names:
                return name
        found = ", ".join(map(str, names)) or "none"
        raise InputError(f"batch: no column {' or '.join(wanted)} with pictures; found {found}; name it by column=")

    def _loaded(self) -> _Engine:
        if self._engine is None:
            if self._given is not None:
                profile = self._load.ignore_colour_profile
                self._engine = _Engine(self._given, ignore_colour_profile=profile)
            else:
                self._engine = _engine(self._load)
        return self._engine


def _engine(wanted: _Load) -> _Engine:
    with _loading:
        if wanted not in _engines:
            model = load(
                choose_model(wanted.model, ModelStore.here()),
                device=wanted.device,
                context=wanted.context,
                threads=wanted.threads,
                parallel=wanted.parallel,
            )
            _engines[wanted] = _Engine(
                model,
                measures_width=wanted.parallel is None,
                ignore_colour_profile=wanted.ignore_colour_profile,
            )
        return _engines[wanted]


def _columns(rows: Sequence[CaptionRow]) -> dict[str, NDArray[np.object_]]:
    """Each of one dimension, whatever stands in it."""
    dicts = [row.as_dict() for row in rows]
    columns = {name: np.empty(len(rows), dtype=object) for name in COLUMNS}
    for name, column in columns.items():
        for place, row in enumerate(dicts):  # at once, lists of tags would be taken for a dimension
            column[place] = row[name]
    return columns
