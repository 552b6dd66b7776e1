"""Settings: read from the environment, wrong values told in words, the home folder never inside the app."""

import os

import pytest

from engine.errors import Problem
from engine.messages import Sampling
from engine.settings import AWAKE, ROOT, Settings, prepare_process, switched_on


def test_an_empty_environment_gives_usable_settings() -> None:
    made = Settings.from_environment({})
    assert made.threads >= 1 and made.memory_bytes > 2**30 and not made.on_space
    assert ROOT not in made.home.parents


def test_values_are_read() -> None:
    env = {"DIPTYCH_HOME": "/tmp/x", "DIPTYCH_THREADS": "3", "DIPTYCH_MEMORY_GB": "0.5", "SPACE_ID": "a/b"}
    made = Settings.from_environment(env | {"DIPTYCH_UPLOAD_MB": "120"})
    assert made.max_upload == "120mb" and Settings.from_environment(env).max_upload == "50mb"
    assert (str(made.home), made.threads, made.memory_bytes, made.on_space) == ("/tmp/x", 3, 2**29, True)


@pytest.mark.parametrize("value", ["zero", "-1", "0", "nan"])
def test_a_number_that_is_none_is_told_by_its_name(value: str) -> None:
    with pytest.raises(Problem, match="DIPTYCH_THREADS"):
        Settings.from_environment({"DIPTYCH_THREADS": value})


def test_a_home_inside_the_app_is_refused() -> None:
    with pytest.raises(Problem, match="own folder"):
        Settings.from_environment({"DIPTYCH_HOME": str(ROOT / "assets")})


def test_yes_has_many_spellings() -> None:
    assert all(switched_on({"A": word}, "A") for word in ("1", "true", "YES", " on "))
    assert not any(switched_on({"A": word}, "A") for word in ("", "0", "no", "false"))


def test_every_complaint_about_sampling_comes_at_once() -> None:
    assert Sampling().problems() == []
    bad = Sampling(temperature=-1, top_p=0, top_k=-1, repetition_penalty=0, max_tokens=0, stop=("",), seed=-1)
    assert len(bad.problems()) == 7


def test_nothing_is_compiled_so_torchs_compiler_is_not_loaded() -> None:
    import torch

    def double(x: float) -> float:
        return 2 * x

    assert torch.compile(double) is double


@pytest.mark.parametrize(("before", "after"), [(None, AWAKE), ("0", "0"), ("7", "7")])
def test_openmp_waits_awake_for_a_moment_unless_the_environment_says_otherwise(
    before: str | None, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", before or "")
    if before is None:
        monkeypatch.delenv("GOMP_SPINCOUNT")
    prepare_process()
    assert os.environ["GOMP_SPINCOUNT"] == after
