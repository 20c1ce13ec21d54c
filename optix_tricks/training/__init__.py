"""The compiled training step and what it needs: networks, state, epochs, data, records.

Import the module you need: `resnet`, `precision`, `state`, `step`, `epoch`, `dataset`,
`data`, `generated`, `checkpoint`, `run_directory`, `loop`. Around them: `early_stopping`,
`batch_statistics`, `layerwise`, `hints`, `fine_tuning`.
"""
