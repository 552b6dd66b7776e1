"""Who may import whom: app -> pages -> rag -> engine, gradio in the pages alone, heavy libraries late."""

import ast
import subprocess
import sys
from pathlib import Path

from engine.settings import ROOT

MAY = {"app.py": {"pages", "rag", "engine"}, "pages": {"pages", "rag", "engine"}, "rag": {"rag", "engine"}}
MAY["engine"] = {"engine"}
ROOMS = {"pages", "rag", "engine"}


def sources() -> list[tuple[str, Path]]:
    found = [("app.py", ROOT / "app.py")]
    return found + [(room, path) for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: write imports out in full"
            names.add(node.module or "")
    return names


def test_no_room_imports_one_above_it() -> None:
    for room, path in sources():
        tops = {name.split(".")[0] for name in imports(path)}
        assert tops & ROOMS <= MAY[room], f"{path.relative_to(ROOT)} reaches too high"
        assert "gradio" not in tops or room in ("pages", "app.py"), f"{path.relative_to(ROOT)} imports gradio"
        assert "chromadb" not in tops or path == ROOT / "rag" / "index.py"


def test_comparing_and_picking_models_needs_no_torch_until_a_local_lane_runs() -> None:
    code = "import sys, engine.compare, engine.catalog, engine.prompts; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_nothing_runs_code_that_came_with_a_model_or_a_pickle() -> None:
    for _, path in sources():
        text = path.read_text(encoding="utf-8")
        for banned in ("trust_remote_code=True", "shell=True", "pickle.load", "torch.load", "os.system"):
            assert banned not in text, f"{path.relative_to(ROOT)} contains {banned}"


def test_building_the_page_imports_no_heavy_library():
    heavy = (
        "torch",
        "transformers",
        "chromadb",
        "openai",
        "sentence_transformers",
        "sklearn",
        "langchain",
        "llguidance",
    )
    code = (
        "import sys; from engine.settings import prepare_process; prepare_process(); import pages.site; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
