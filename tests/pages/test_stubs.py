import subprocess
import sys
from importlib.util import module_from_spec
from pathlib import Path

import pytest

from engine.settings import ROOT
from pages.stubs import META, WRITES, WithoutStubs, nothing


def test_gradio_writes_no_stubs_and_its_components_have_their_events() -> None:
    code = (
        "import pathlib, pages; wrote = []; pathlib.Path.write_text = lambda path, *_, **__: wrote.append(path); "
        "import gradio; from gradio import component_meta; from pages.stubs import nothing; "
        f"print(component_meta.{WRITES} is nothing, callable(gradio.Textbox().submit), wrote)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True True []"


@pytest.mark.parametrize("body", [f"def {WRITES}(*_): raise AssertionError", "other = 1"])
def test_a_gradio_without_that_function_is_left_as_it_is(body: str, tmp_path: Path) -> None:
    (tmp_path / "component_meta.py").write_text(body)
    spec = WithoutStubs().find_spec(META, [str(tmp_path)])
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert getattr(module, WRITES, None) is (nothing if WRITES in body else None)


def test_everything_else_is_for_others_to_find(tmp_path: Path) -> None:
    assert WithoutStubs().find_spec(META, [str(tmp_path)]) is None
    assert WithoutStubs().find_spec("json.decoder", None) is None
