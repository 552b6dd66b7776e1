"""Tools from the owner's folder: found, checked one by one, and careful ones marked."""

from __future__ import annotations

from pathlib import Path

from engine.acting.own_tools import own_tools
from engine.settings import Settings

GOOD = '''
from json import dumps
SIDE_EFFECTS = ["send_mail"]
def send_mail(to: str) -> str:
    """Send a mail.

    Args:
        to: The address
    """
    return _said(to)
def dice() -> int:
    """Throw a die."""
    return 4
def _said(to):
    return dumps(to)
'''


def test_files_of_the_folder_become_tools_and_bad_ones_cost_only_themselves(tmp_path: Path):
    (tmp_path / "mail.py").write_text(GOOD)
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "typeless.py").write_text('def f(a):\n    """Do."""')
    (tmp_path / "double.py").write_text('def now() -> str:\n    """Mine."""\n    return ""')
    (tmp_path / "notes.txt").write_text("def g(): pass")
    tools, wrong = own_tools(tmp_path)
    assert {tool.name: tool.side_effect for tool in tools} == {"send_mail": True, "dice": False}
    assert tools[1].run({"to": "ann"}) == '"ann"'
    assert [sentence.split(":")[0] for sentence in wrong] == [
        "broken.py cannot be loaded",
        "double.py",
        "typeless.py",
    ]


def test_no_folder_and_a_wrong_one(tmp_path: Path):
    assert own_tools(None) == ((), ())
    tools, [wrong] = own_tools(tmp_path / "nowhere")
    assert tools == () and "Correct DIPTYCH_TOOLS" in wrong


def test_the_folder_is_named_in_the_settings(tmp_path: Path):
    assert Settings.from_environment({"DIPTYCH_TOOLS": str(tmp_path)}).tools == tmp_path.resolve()
    assert Settings.from_environment({}).tools is None
