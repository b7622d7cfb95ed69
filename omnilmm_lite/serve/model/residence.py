"""The model in memory, or not: let go of while nobody asks, and loaded again for the next question."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.machine.memory import return_freed_memory, rss_bytes
from omnilmm_lite.serve.log import log_event

if TYPE_CHECKING:
    from omnilmm_lite.engine.device import DeviceChoice
    from omnilmm_lite.model import Model

LOG = logging.getLogger(__name__)


class ModelState(Enum):
    """By the names that `/health` says."""

    LOADED = "loaded"
    LOADING = "loading"
    UNLOADED = "unloaded"


class Residence:
    """Holds the only reference to the model. The model's thread alone calls `loaded` and `unload`; any thread may read
    the rest."""

    def __init__(self, model: Model, reload: Callable[[], Model] | None) -> None:
        """`reload` loads the same model once more; None: it is never let go of."""
        self._model: Model | None = model
        self._reload = reload
        self._identity = model.parts.identity
        self.device: DeviceChoice = model.device
        self.state = ModelState.LOADED

    @property
    def may_unload(self) -> bool:
        return self._reload is not None

    def loaded(self) -> tuple[Model, float]:
        """The model, and the seconds that loading it took (0: it was there). OmniLMMError where it can't be loaded any
        more; the next call tries again."""
        if self._model is not None:
            return self._model, 0.0
        assert self._reload is not None  # or it would be there
        started = time.perf_counter()
        self.state = ModelState.LOADING
        try:
            model = self._reload()
            if model.parts.identity != self._identity:
                raise OmniLMMError("its files have changed since the server started; start it anew")
        except OmniLMMError as error:  # InputError, too, for it is no fault of who asks
            raise OmniLMMError(f"the model can't be loaded again: {error}") from None
        finally:
            self.state = ModelState.UNLOADED  # until all below is done
        self._model, self.device, self.state = model, model.device, ModelState.LOADED
        load_s = time.perf_counter() - started
        log_event("loaded", load_s=round(load_s, 3), rss_bytes=rss_bytes())
        return model, load_s

    def unload(self) -> None:
        """Frees what the model holds, and gives it back to the system; nothing where it is gone already."""
        if self._reload is None or self._model is None:
            return
        self._model, self.state = None, ModelState.UNLOADED
        gc.collect()  # sessions and what opens them know each other
        return_freed_memory()
        log_event("unloaded", rss_bytes=rss_bytes())
