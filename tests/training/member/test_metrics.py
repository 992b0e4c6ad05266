"""metrics.jsonl: whole lines are read; a run that goes on forgets what came after its checkpoint."""

from pathoprog.training.member.metrics import METRICS, add_metrics, cut_metrics, read_metrics


def test_lines_are_added_read_and_cut(tmp_path):
    assert read_metrics(tmp_path) == []
    lines = [{"step": step, "loss": 1 / step} for step in (1, 2, 3)]
    for line in lines:
        add_metrics(tmp_path, line)
    with (tmp_path / METRICS).open("a") as stream:
        stream.write('{"step": 4, "lo')  # killed while it wrote
    assert read_metrics(tmp_path) == lines
    cut_metrics(tmp_path, 2)
    assert read_metrics(tmp_path) == lines[:2]
    add_metrics(tmp_path, lines[2])
    assert read_metrics(tmp_path) == lines, "the torn line is gone"


def test_without_a_file_nothing_is_cut(tmp_path):
    cut_metrics(tmp_path, 5)
    assert read_metrics(tmp_path) == [] and (tmp_path / METRICS).read_text() == ""
