"""Builds the starter model: `train`, `decay`, `export`, and `--check` for its scores."""

import argparse
import json
import os
import sys
from itertools import islice
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]


def default_work() -> Path:
    """Return the folder for checkpoints, outside the repository."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "diptych" / "starter"


def prepare(work: Path, fresh: bool) -> None:
    """Put a tokenizer into the work folder, unless it has one: the exported one, or a newly trained one."""
    import forms
    import model
    from transformers import PreTrainedTokenizerFast

    if (work / "tokenizer").exists():
        return
    work.mkdir(parents=True, exist_ok=True)
    exported = not fresh and (HERE / "tokenizer.json").exists()
    tokenizer = (
        PreTrainedTokenizerFast.from_pretrained(HERE)
        if exported
        else model.train_tokenizer(islice(forms.documents(1), 12000))
    )
    tokenizer.save_pretrained(work / "tokenizer")


def fit(options: argparse.Namespace, rank: int = 0) -> None:
    """Train as process `rank`, in step with the others where there are any."""
    import torch.distributed as dist
    import training

    if options.processes > 1:
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        meeting = f"file://{(options.work / 'meeting').resolve()}"
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=options.processes)
    seed_model = None if options.fresh else HERE
    run = training.Run(options.work, options.threads, seed_model, options.times, options.writers)
    run.fit(options.tokens, options.hours, options.command == "decay", options.long, options.rate)


def together(options: argparse.Namespace) -> None:
    """Start the other processes and train as the first one."""
    from multiprocessing import get_context

    (options.work / "meeting").unlink(missing_ok=True)
    del options.run  # a spawned process finds it again
    for rank in range(1, options.processes):
        get_context("spawn").Process(target=fit, args=(options, rank), daemon=True).start()
    fit(options)


def train(options: argparse.Namespace) -> None:
    """Go on training at a stable learning rate, from the last checkpoint or else from the exported weights."""
    prepare(options.work, options.fresh)
    together(options)


def decay(options: argparse.Namespace) -> None:
    """Lower the learning rate to zero over some tokens, into a checkpoint of its own; begins where `train` does."""
    prepare(options.work, options.fresh)
    together(options)


def export(options: argparse.Namespace) -> None:
    """Write weights, configuration and tokenizer of a checkpoint as a model folder."""
    import model
    import torch
    from transformers import GenerationConfig, PreTrainedTokenizerFast

    made = model.new_model()
    kept = torch.load(options.work / options.checkpoint, weights_only=True, map_location="cpu")
    made.load_state_dict(kept["model"])
    made.generation_config = GenerationConfig(eos_token_id=[0, 2], pad_token_id=3)
    made.bfloat16().save_pretrained(options.out, max_shard_size="5MB")
    for path in options.out.glob("*.safetensors"):
        path.chmod(0o644)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(options.work / "tokenizer")
    tokenizer.chat_template = (HERE / "chat_template.jinja").read_text(encoding="utf-8")
    tokenizer.save_pretrained(options.out)
    (options.out / "state.json").write_text(json.dumps(kept["state"]) + "\n", encoding="utf-8")
    print(json.dumps(kept["state"]))


def main() -> None:
    """Parse the command line and run one command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="score the model folder and print one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer samples")
    parser.add_argument("--json", action="store_true", help="nothing but the JSON object")
    parser.add_argument("--model", type=Path, default=HERE, help="the model folder to score")
    commands = parser.add_subparsers(dest="command")
    for name, run, tokens in (("train", train, 2e7), ("decay", decay, 3e6), ("export", export, 0)):
        command = commands.add_parser(name, help=run.__doc__)
        command.set_defaults(run=run)
        command.add_argument("--work", type=Path, default=default_work(), help="folder of checkpoints")
        command.add_argument(
            "--tokens", type=float, default=tokens, help="tokens to train on: in all, or in this decay"
        )
        command.add_argument("--hours", type=float, default=24.0, help="time for this run, where it ends sooner")
        command.add_argument("--threads", type=int, default=1, help="of each process")
        command.add_argument("--processes", type=int, default=2, help="each with a share of the rows")
        command.add_argument("--writers", type=int, default=0, help="processes that write the text, beside a GPU")
        command.add_argument("--times", type=int, default=1, help="how many times the usual rows make a step")
        command.add_argument("--long", type=float, default=0.0, help="share of steps with long rows")
        command.add_argument("--fresh", action="store_true", help="begin from nothing, with a tokenizer of its own")
        command.add_argument("--rate", type=float, default=0.5, help="share of the peak learning rates")
        command.add_argument("--checkpoint", default="decayed.pt", help="which checkpoint to export")
        command.add_argument("--out", type=Path, default=HERE, help="where to export to")
    options = parser.parse_args()
    if options.check:
        import check

        check.main(options.model, options.quick)
    elif options.command:
        options.run(options)
    else:
        parser.print_help()


if __name__ == "__main__":
    main()
