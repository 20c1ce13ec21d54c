"""Tables of the documents are written from the results between their markers."""

import json

from benchmarks import readme_table, scaling_tables, speed_tables

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


LAYER = {
    "layer": "prep/conv/kernel",
    "scale_invariant": True,
    "measured": 0.02,
    "predicted": 0.016,
    "corrected": 0.0202,
    "standard_error": 0.004,
    "autocorrelation": -0.14,
    "drift": 1e-6,
    "weight_cosine": 0.0,
}


def test_weight_norms_are_filled_in_part_by_part(tmp_path, monkeypatch):
    head = LAYER | {"scale_invariant": False, "weight_cosine": 0.04}
    parts = {
        "constant": {"constant": {"layers": [LAYER, head | {"layer": "head/kernel"}]}},
        "lars": {"sgd": {"test_accuracy": [0.5, 0.52]}},
        "gradients": {"batch_sizes": [32, 128], "square_norm": [4.0, 1.21]},
        "rates": {"rates": [0.1, 1], "networks": {"a": [[0.5, 0.6], [0.7, 0.7]]}},
    }
    rows = [{"part": part, "found": found} for part, found in parts.items()]
    (tmp_path / "weight_norm_cpu.json").write_text(json.dumps({"rows": rows}))
    monkeypatch.setattr(readme_table, "RESULTS", tmp_path)
    names = ["law-constant", "lars", "gradients", "rates", "batch"]
    page = "".join(f"<!-- weight-norm: {x} -->\n<!-- /weight-norm -->\n" for x in names)
    text = readme_table.filled(page)
    wanted = "| prep/conv | 0.02000 | 1.250 | 0.990 ± 0.004 | -0.140 | +1.0e-06 |\n"
    assert wanted in text
    assert "| head | 0.02000 | not invariant: cos(g, w) 0.040 | | | |\n" in text
    assert "| sgd | 51.00 ± 1.00 (2) |\n" in text
    assert "| times sqrt(n), first 1 | 1.00 | 1.10 |\n" in text
    assert "| network, rate | 0.1 | 1 |\n" in text
    assert "| a | 55.0 | 70.0 |\n" in text
    assert readme_table.filled(text) == text


TIMES = {"ours_ms": 2.0, "ratio": 0.5, "ratio_low": 0.4, "ratio_high": 0.8, "rounds": 9}
STEP = TIMES | {
    "arrays": "tiny",
    "optimiser": "adam",
    "trace_s": 0.5,
    "compile_s": 1.5,
    "copy_bandwidth_share": 0.75,
}


def test_optimiser_steps_are_told_form_by_form(tmp_path, monkeypatch):
    rows = [STEP | {"form": "optax", "ours_ms": 4.0, "instructions": 70}]
    rows += [STEP | {"form": form, "instructions": 7} for form in ("tree", "packed")]
    rows += [STEP | {"form": "fused"}]
    result = {"platform": "cpu", "device": "cpu", "jax": "0.10", "rows": rows}
    (tmp_path / "optimizer_step_cpu.json").write_text(json.dumps(result))
    monkeypatch.setattr(speed_tables, "RESULTS", tmp_path)
    text = readme_table.filled("<!-- table: optimizer_step -->\n<!-- end -->")
    ratio = "0.50 [0.40, 0.80]"
    assert f"| tiny | adam | 4.00 | {ratio} | {ratio} | {ratio} |\n" in text
    text = readme_table.filled("<!-- table: optimizer_step_full -->\n<!-- end -->")
    assert f"| tiny | adam | tree | 2.00 | {ratio} | 0.50 + 1.50 | 7 | 75% |\n" in text
    assert f"| tiny | adam | fused | 2.00 | {ratio} |  |  | 75% |\n" in text


def test_runs_of_all_recipes_share_a_table(tmp_path, monkeypatch):
    ours = {"kind": "run", "recipe": "cifar10_airbench94", "width": 64, "mode": "scan"}
    ours |= {"runs": 30, "mean_s": 1.2345, "accuracy": 0.94, "accuracy_error": 0.001}
    theirs = ours | {"mode": "PyTorch 2.1", "runs": 1, "accuracy_error": None}
    for name, row in (("airbench94", ours), ("airbench94_runs", theirs)):
        result = {"platform": "gpu", "device": "card", "jax": "0.11", "rows": [row]}
        (tmp_path / f"{name}_gpu.json").write_text(json.dumps(result))
    monkeypatch.setattr(speed_tables, "RESULTS", tmp_path)
    text = speed_tables.airbench_runs()
    shared = "| GPU (card), jax 0.11 | airbench94 | 64 |"
    assert text.endswith(
        f"{shared} scan | 30 | 1.234 | 94.00% ± 0.10% |\n"
        f"{shared} PyTorch 2.1 | 1 | 1.234 | 94.00% |\n"
    )


def test_images_a_second_are_those_of_a_step(tmp_path, monkeypatch):
    row = TIMES | {"kind": "step", "width": 16, "batch_size": 512, "theirs_ms": 4.0}
    result = {"platform": "cpu", "device": "cpu", "jax": "0.10", "rows": [row]}
    (tmp_path / "airbench94_cpu.json").write_text(json.dumps(result))
    monkeypatch.setattr(speed_tables, "RESULTS", tmp_path)
    text = speed_tables.airbench_step()
    assert (
        "| CPU (cpu), jax 0.10 | 16 | 512 | 256,000 | 128,000 | 2.00 [1.25, 2.50] |"
        in (text)
    )


def test_what_differs_after_a_resume_is_told(tmp_path, monkeypatch):
    row = {"case": "digits", "steps": 1088, "from": 544, "arrays": 74, "different": []}
    rows = [row | {"largest": 0.0, "same_rows": True}]
    rows += [row | {"different": ["a", "b"], "largest": 2e-7, "same_rows": False}]
    result = {"platform": "cpu", "device": "cpu", "jax": "0.10", "rows": rows}
    (tmp_path / "resume_cpu.json").write_text(json.dumps(result))
    monkeypatch.setattr(speed_tables, "RESULTS", tmp_path)
    text = readme_table.filled("<!-- table: resume -->\n<!-- end -->")
    assert "| digits | 1,088 | 544 | 74 | none | the same |\n" in text
    assert "| digits | 1,088 | 544 | 74 | 2, by 2e-07 | differ |\n" in text


def test_checksums_are_a_share_of_an_epoch(tmp_path, monkeypatch):
    times = {f"{x}_{y}": 1.5 for x in ("write", "read") for y in ("ms", "low", "high")}
    state = {"case": "a", "bytes": 2_500_000, "rounds": 30} | times
    epoch = {"epoch_s": 0.5, "epoch_low": 0.4, "epoch_high": 1.0, "epochs": 10}
    rows = [state | epoch | {"share": 0.003}, state]
    result = {"platform": "cpu", "device": "cpu", "jax": "0.10", "rows": rows}
    (tmp_path / "checksums_cpu.json").write_text(json.dumps(result))
    monkeypatch.setattr(speed_tables, "RESULTS", tmp_path)
    text = readme_table.filled("<!-- table: checksums -->\n<!-- end -->")
    ms = "1.50 [1.50, 1.50]"
    share = "0.50 [0.40, 1.00], n = 10 | 0.30%"
    assert f"| a | 2.50 | {ms} | {ms} | {share} |\n" in text
    assert f"| a | 2.50 | {ms} | {ms} |  |  |\n" in text


def test_a_mesh_tells_what_it_sends_how_long_it_takes_and_what_is_missing(
    tmp_path, monkeypatch
):
    row = {
        **dict.fromkeys(("kernels", "small_kernels", "fusions"), 9),
        **dict.fromkeys(("float32_activations", "outputs", "aliased"), 0),
        **{"target": "v5e:16x16", "layout": "zero1", "devices": 256, "batch": 32768},
        "collectives": [["all-reduce", 3, 5e7, 1e8], ["all-gather", 1, 1e8, 1e8]],
        **{"bytes": 8.19e9, "arguments": 6e7, "memory": 2.5e9, "temporaries": 2.4e9},
        "flops": 1.97e12,
        "expected": {"flops": 9.85e11, "sent": 1e8, "arguments": 6e7, "kept": 2e9},
    }
    result = {"versions": {"jax": "0.10", "libtpu": None}, "rows": [row]}
    (tmp_path / "scaling_v5e.json").write_text(json.dumps(result))
    monkeypatch.setattr(scaling_tables, "RESULTS", tmp_path)
    text = readme_table.filled("<!-- table: scaling -->\n<!-- end -->")
    first = "| 256, 16x16 | zero1 | 3 all-reduces, 1 all-gathers | 200.0 | 2.00 |"
    assert f"{first} 60.0 | 1.00 | 2.50 | 2.40 | 1.20 | 1.970 | 2.00 |\n" in text
    assert "v5e, jax 0.10:" in text
    assert "v5e:16x16 replicated, fsdp; h100:8 replicated, zero1, fsdp;" in text
    text = readme_table.filled("<!-- table: scaling_time -->\n<!-- end -->")
    first = "| 256, 16x16 | zero1 | 5.00 | 10.00 | 1.00 | 10.0 to 16.0 |"
    assert f"{first} 8,000 to 12,800 | 13 a chip |\n" in text
