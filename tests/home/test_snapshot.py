"""What a folder of Hugging Face's cache is called: by the model, not by the commit."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub.file_download import repo_folder_name

from omnilmm_lite.home.snapshot import Snapshot, folder_name


@pytest.mark.parametrize("repo", ["openbmb/OmniLMM-12B", "some-body/a_model-1.5", "gpt2"])
def test_the_cache_s_own_names(tmp_path: Path, repo: str) -> None:
    folder = tmp_path / repo_folder_name(repo_id=repo, repo_type="model") / "snapshots" / "0f1e2d"
    folder.mkdir(parents=True)
    found = Snapshot.of(folder)
    assert found is not None
    assert (found.repo, found.name) == (repo, repo.rpartition("/")[2])
    assert folder_name(folder) == found.name


@pytest.mark.parametrize("place", ["OmniLMM-12B", "snapshots/OmniLMM-12B", "models--a--b/OmniLMM-12B"])
def test_other_folders_are_called_what_they_are(tmp_path: Path, place: str) -> None:
    assert Snapshot.of(tmp_path / place) is None
    assert folder_name(tmp_path / place) == "OmniLMM-12B"
