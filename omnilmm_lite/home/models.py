"""The user's models by name: a bundle's folder of that name, or a record that says where one lies and what it is.

Locks are for who writes, and imported there: every command reads this.

models/OmniLMM-12B/         the bundle, where `setup` made it
models/OmniLMM-12B.json     where it came from; of a model that lies elsewhere, where
default.json                the model that commands take where none is named
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.durable_file import UNFINISHED, move_into_place, write_json
from omnilmm_lite.files.json_file import read_json
from omnilmm_lite.files.printable import printable
from omnilmm_lite.home.folder import home_folder, make_folder
from omnilmm_lite.home.model_name import RECORD_ENDING, check_model_name, is_model_name
from omnilmm_lite.home.model_record import ModelKind, ModelRecord

DEFAULT = "default.json"
DEFAULT_KEY = "model"
ADVICE = "`omnilmm-lite models default NAME` writes it anew"
REMOVED = ".removed"  # behind the hidden name of what is being removed


@dataclass(frozen=True)
class StoredModel:
    """A model by its name. `folder`: absolute; of a bundle or, for the torch engine, of a checkpoint."""

    name: str
    folder: Path
    record: ModelRecord
    is_in_store: bool  # its folder goes when it is removed; else the record alone

    @property
    def kind(self) -> ModelKind:
        return self.record.kind


@dataclass(frozen=True)
class ModelStore:
    """All models of one home folder. Reading asks for no lock; nothing is ever half-written."""

    home: Path

    @classmethod
    def here(cls) -> ModelStore:
        """This user's."""
        return cls(home_folder())

    @property
    def models_folder(self) -> Path:
        return self.home / "models"

    def folder(self, name: str) -> Path:
        """Where a model that is made here lies. InputError for a name that none may have."""
        check_model_name(name)
        return self.models_folder / name

    def names(self) -> list[str]:
        """Of all models, in alphabetical order. What has no model's name is passed over."""
        if not self.models_folder.is_dir():
            return []
        found = {
            path.name.removesuffix(RECORD_ENDING) if path.is_file() and path.suffix == RECORD_ENDING else path.name
            for path in self.models_folder.iterdir()
            if path.is_dir() or path.suffix == RECORD_ENDING
        }
        return sorted((name for name in found if is_model_name(name)), key=str.lower)

    def find(self, name: str) -> StoredModel | None:
        """The model of this name, None where there is none. InputError where its record can't be read, or leads to a
        folder that is gone."""
        if not is_model_name(name):
            return None
        file, own = self._record_file(name), self.models_folder / name
        if not file.is_file():
            return StoredModel(name, own, ModelRecord(ModelKind.BUNDLE), is_in_store=True) if own.is_dir() else None
        record = ModelRecord.read(file)
        folder = record.folder or own
        if not folder.is_dir():
            raise InputError(f"{name}: its folder {folder} is gone; `omnilmm-lite models remove {name}` forgets it")
        return StoredModel(name, folder, record, is_in_store=record.folder is None)

    def nearest(self, name: str) -> str | None:
        """The model whose name is most like this one, None where none is."""
        by_lower = {each.lower(): each for each in self.names()}
        close = get_close_matches(name.lower().rpartition("/")[2], by_lower, n=1)
        return by_lower[close[0]] if close else None

    # ---- writing ----

    def add(self, name: str, record: ModelRecord) -> None:
        """Writes a model's record; an earlier one of the name is replaced. InputError for a bad name, or for one that
        differs from another model's in capitals alone, which some file systems take for the same."""
        check_model_name(name)
        with self._writing():
            if twin := next((each for each in self.names() if each != name and each.lower() == name.lower()), None):
                raise InputError(f"{name}: there is a model {twin} already; take a name that differs in more")
            write_json(self._record_file(name), record.to_dict())

    def default(self) -> str | None:
        """The name of the default model, which may be gone; None where none was chosen. InputError where the file that
        says so can't be read."""
        file = self.home / DEFAULT
        if not file.is_file():
            return None
        name = read_json(file, ADVICE).get(DEFAULT_KEY)
        if not isinstance(name, str) or not is_model_name(name):
            raise InputError(f"{file}: it names no model; {ADVICE}")
        return name

    def set_default(self, name: str) -> None:
        """InputError where there is no such model."""
        with self._writing():
            self.get(name)
            write_json(self.home / DEFAULT, {DEFAULT_KEY: name})

    def get(self, name: str) -> StoredModel:
        """`find`; InputError, with the nearest name, where there is no such model."""
        if (model := self.find(name)) is None:
            raise InputError(f"{self.missing(name)}; `omnilmm-lite models` lists what is there")
        return model

    def missing(self, name: str) -> str:
        """What to say of a name that no model has."""
        near = self.nearest(name)
        return f"{printable(name)}: there is no such model" + (f", did you mean {near}?" if near else "")

    def remove(self, name: str) -> None:
        """Removes the model's name, and its folder if that lies in the store; it may be half gone already.

        InputError where nothing has that name, or another run is writing the model.
        """
        from omnilmm_lite.files.owner_lock import sole_owner

        check_model_name(name)
        if name not in self.names():
            raise InputError(f"{self.missing(name)}; `omnilmm-lite models` lists what is there")
        folder = self.models_folder / name
        with self._writing(), sole_owner(folder):
            if self._default_or_none() == name:
                (self.home / DEFAULT).unlink(missing_ok=True)
            self._record_file(name).unlink(missing_ok=True)
            if folder.is_dir():
                remove_folder(folder)

    def _default_or_none(self) -> str | None:
        try:
            return self.default()
        except InputError:
            return None

    def _record_file(self, name: str) -> Path:
        return self.models_folder / f"{name}{RECORD_ENDING}"

    @contextmanager
    def _writing(self) -> Iterator[None]:
        from omnilmm_lite.files.owner_lock import sole_owner

        make_folder(self.models_folder)
        with sole_owner(self.models_folder):
            for folder in (self.home, self.models_folder):  # what killed runs have left there, and not in the models
                for path in folder.glob(".*"):
                    if UNFINISHED.fullmatch(path.name) or path.name.endswith(REMOVED):
                        _delete(path)
            yield


def remove_folder(folder: Path) -> None:
    """Removes a folder, or the name of a link to one, in such a way that a kill leaves no half of it under its name.

    What an earlier removal has left goes, too. InputError where the system has its files in use.
    """
    gone = folder.with_name(f".{folder.name}{REMOVED}")
    _delete(gone)
    try:
        move_into_place(folder, gone)
    except PermissionError as error:
        raise InputError(
            f"{folder}: it can't be removed: {error.strerror}; end what uses it, or remove it by hand"
        ) from None
    _delete(gone)


def _delete(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)
