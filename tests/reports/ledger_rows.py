"""A ledger of three rows, as `ablate` writes it."""


def effect(mean, half):
    return {
        "mean": mean, "mean_at_look": mean, "half_width": half, "n": 2, "looked": 2,
        "deviation": 0.01, "p": 0.5, "visible": 0.05,
    }  # fmt: skip


def row(name, *, accuracy, loss, verdict, steps=1.0, time=1.0):
    return {
        "name": name, "trick": f"{name[1:]}(alpha=0.2)", "added": True,
        "verdict": verdict, "seeds": 2, "accuracy": effect(*accuracy),
        "loss": effect(*loss), "p_corrected": 1.0, "diverged": [0, 0], "steps": steps,
        "reached": 1, "tuned": None,
        "cost": {
            "step_ratio": time, "step_error": 0.1, "rounds": 20, "seconds": [1, 1],
            "compile_seconds": [3.0, 2.0], "memory": [900, 1000],
        },
        "pairs": [[0, 0.94, 0.79, 0.825, 0.875], [1, 1.11, 0.91, 0.84, 0.82]],
    }  # fmt: skip


LEDGER = {
    "recipe": "digits", "dataset": "digits <i>", "examples": [1437, 360], "epochs": 1,
    "setup": [["network", "resnet9", "width 16"]], "batch_size": 64, "seeds": 2,
    "looks": [2], "error": 0.05, "resolution": 0.005, "refused": {},
    "environments": [{"command": "ablate", "devices": ["cpu"], "jax": "0.10.2"}],
    "rows": [
        row("+mixup", accuracy=(-0.01, 0.4), loss=(0.18, 0.27), verdict="undecided"),
        row("+cutout", accuracy=(0.04, 0.01), loss=(-0.1, 0.05), verdict="helps",
            time=1.1),
        row("-label_smoothing", accuracy=(0.004, 0.2), loss=(0.15, 0.2),
            verdict="undecided", steps=None, time=0.9),
    ],
}  # fmt: skip
