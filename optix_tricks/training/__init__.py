"""The compiled training step and what it needs: networks, state, epochs, data, records.

Import the module you need: `resnet`, `precision`, `state`, `step`, `epoch`, `dataset`,
`data`, `generated`, `streaming`, `host_batches`, `host_crop`, `pictures`, `checkpoint`,
`run_directory`, `loop`; `modes` tells layers whether they train. Around them:
`early_stopping`, `batch_statistics`, `layerwise`, `hints`, `fine_tuning`. What networks
are made of: `blocks`, `parts`. Many trainings at once: `sweep`, `sweep_jobs`, with
`members`, `stacked` and `ways` behind them.
"""
