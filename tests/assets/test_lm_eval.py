"""The sample task for lm-evaluation-harness."""

import json
from pathlib import Path

import yaml

FOLDER = Path(__file__).parents[2] / "assets" / "samples" / "lm_eval"


def test_the_sample_task_points_at_questions_with_one_right_answer_of_four() -> None:
    task = yaml.safe_load((FOLDER / "course_words.yaml").read_text(encoding="utf-8"))
    path = Path(__file__).parents[2] / task["dataset_kwargs"]["data_files"]["test"]
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 24 and all(len(set(row["choices"])) == 4 and 0 <= row["answer"] < 4 for row in rows)
    assert {row["answer"] for row in rows} == {0, 1, 2, 3}, "the right answer stands at every place"
    assert all(f"{{{{{name}}}}}" in task["doc_to_text"] or name in task.values() for name in rows[0])
