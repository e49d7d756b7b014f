"""Logs a training to Weights & Biases, offline: choir train demo --log-to 'python3 examples/log-to/wandb_offline.py'"""
import json
import sys

import wandb

run = None
for line in sys.stdin:
    event = json.loads(line)
    kind = event["kind"]
    if kind == "start":
        run = wandb.init(project="choir", name=event["directory"], config=event["config"], mode="offline")
    elif kind in ("train", "eval") and run:
        values = {name: value for name, value in event.items() if isinstance(value, (int, float)) and name != "step"}
        run.log({f"{kind}/{name}": value for name, value in values.items()}, step=event["step"])
if run:
    run.finish()
