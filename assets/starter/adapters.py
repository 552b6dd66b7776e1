"""Makes the adapters that ship, with the product's own jobs: `adapters.py`, or `adapters.py shawgpt --into FOLDER`."""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))
from engine.settings import prepare_process  # noqa: E402 - found through the line above

KNOBS = {"method": "lora", "validation": 0}  # every pair is learned from
OWN = {  # see LOG.md
    "shawgpt": {"steps": 300, "learning_rate": 2e-3},
    "pirate": {"steps": 200},
}


def taught(name: str, base: str, into: Path, knobs: dict[str, object]) -> None:
    """Teach the base on assets/samples/<name>.jsonl and put the adapter into `into`/starter-<name>."""
    from engine import teach

    run = teach(base, name, recipe="shawgpt-starter", name=f"starter {name}", **{**KNOBS, **knobs})
    folder = into / f"starter-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(run.folder / "adapter", folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    print(f"{folder.name}: mean loss {run.done['train_loss']:.3f}, {run.done['seconds']:.0f} s", flush=True)


def main() -> None:
    """Parse the command line and make the adapters named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(OWN), help="files of assets/samples")
    parser.add_argument("--base", default="starter", help="a model's name or folder")
    parser.add_argument("--into", type=Path, default=ROOT / "assets" / "adapters")
    parser.add_argument("--steps", type=int)
    options = parser.parse_args()
    os.environ.setdefault("DIPTYCH_HOME", tempfile.mkdtemp(prefix="diptych-adapters-"))
    prepare_process()
    for name in options.names:
        knobs = {"steps": 150, **OWN.get(name, {})}
        knobs |= {"steps": options.steps} if options.steps else {}
        taught(name, options.base, options.into, {**knobs, "eval_steps": knobs["steps"]})


if __name__ == "__main__":
    main()
