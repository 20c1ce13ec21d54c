"""The compiled training step and what it needs: networks, state, epochs, data, records.

Import the module you need: `resnet`, `state`, `step`, `epoch`, `checkpoint`, `dataset`,
`data`, `run_directory`, `loop`.
"""
