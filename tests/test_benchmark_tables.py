"""Tables of the documents are written from the results between their markers."""

import json

from benchmarks import readme_table

ROW = {
    "diagnostic": "trace",
    "step_ms": 4.0,
    "call_ms": 6.2,
    "ratio_1": 2.55,
    "ratio_16": 1.1,
    "ratio_256": 1.006,
    "low": 1.05,
    "high": 1.17,
    "rounds": 12,
    "at_most_1.1_from": 16,
}


def test_the_cost_of_diagnostics_is_filled_in_network_by_network(tmp_path, monkeypatch):
    always = {k: v for k, v in ROW.items() if k not in ("ratio_16", "ratio_256")}
    rows = [ROW | {"network": "small"}]
    rows += [always | {"network": "large", "at_most_1.1_from": None}]
    result = {"platform": "cpu", "device": "cpu", "jax": "0.10", "rows": rows}
    (tmp_path / "diagnostics_cost_cpu.json").write_text(json.dumps(result))
    monkeypatch.setattr(readme_table, "RESULTS", tmp_path)
    page = "a\n<!-- diagnostics-cost -->\nold\n<!-- /diagnostics-cost -->\nb\n"
    text = readme_table.filled(page)
    assert "old" not in text
    assert text.startswith(
        "a\n<!-- diagnostics-cost -->\nCPU (cpu), jax 0.10, 12 rounds:"
    )
    assert text.endswith("|\n<!-- /diagnostics-cost -->\nb\n")
    assert text.index("\nsmall, 4.00 ms a step:") < text.index("\nlarge, 4.00 ms a step:")
    assert "| trace | 6.20 | 2.55 | 1.10 [1.05, 1.17] | 1.01 | 16 |\n" in text
    assert "| trace | 6.20 | 2.55 [1.05, 1.17] | | | never |\n" in text
    assert readme_table.filled(text) == text


def test_what_was_not_measured_leaves_an_empty_table(tmp_path, monkeypatch):
    monkeypatch.setattr(readme_table, "RESULTS", tmp_path)
    page = "<!-- diagnostics-cost -->\n<!-- /diagnostics-cost -->\n"
    assert readme_table.filled(page) == page
