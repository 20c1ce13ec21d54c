"""The compiled training step and what it needs: networks, state, epochs, data, records.

====================  =====================================================
networks              Airbench, ResNet, ResNet9, ResNet18, ResNet34, ResNet50,
                      BasicBlock, BottleneckBlock, ConvNorm, MLP, Transformer,
                      make_part, make_norm, call_norm, max_pool_2x2,
                      global_max_pool, count_parameters, kernels_in_order, policy
a step                functional, create_state, normalize, make_train_step,
                      compile_step, compile_step_on_mesh, compile_step_on_devices,
                      LAYOUTS, state_shardings, device_bytes, step_keys, prepared,
                      jit, compiler_options
what devices do       Chip, CHIPS, chip_of, matrix_flops
what is counted       accuracy, top_k_accuracy, label_accuracy, absolute_error,
                      r_squared, default_metrics, confusion_matrix
epochs                make_epoch, make_evaluate, predicted, epoch_order, epoch_orders,
                      steps_per_epoch, total_steps
data                  Dataset, split_validation, load_dataset, load_digits,
                      load_breast_cancer, load_diabetes, load_topics, bigram_loss,
                      load_arrays, load_tfds, generate, read_picture
data as a stream      Pictures, Stream, stream_epoch, host_batches, ArraySource,
                      RandomResizedCrop, decode, LostWorker
a run                 Job, Phase, train, RunDirectory, Checkpoints, load_params,
                      restore_partially, environment, DamagedCheckpoint, LostRows,
                      Stopped
around them           early_stopping, refresh_batch_statistics, greedy_layerwise,
                      hint_loss, teacher_labels, lookahead_statistics, on_slow_weights,
                      hardest_by_proxy, Proxy, Labelled, Chosen
many at once          sweep, sweep_jobs, Way, measure_ways, fastest_way
====================  =====================================================
"""

from optix_tricks._arguments import check_arguments
from optix_tricks.training._airbench import Airbench
from optix_tricks.training._averaged_statistics import (
    lookahead_statistics,
    on_slow_weights,
)
from optix_tricks.training._batch import Batch
from optix_tricks.training._batch_statistics import refresh_batch_statistics
from optix_tricks.training._blocks import BasicBlock, BottleneckBlock, ConvNorm
from optix_tricks.training._checkpoint import (
    CheckpointError,
    Checkpoints,
    DamagedCheckpoint,
)
from optix_tricks.training._chips import CHIPS, Chip, chip_of
from optix_tricks.training._compiling import compiler_options, jit
from optix_tricks.training._confusion import confusion_matrix
from optix_tricks.training._data import load_tfds
from optix_tricks.training._dataset import DataError, Dataset, load_arrays
from optix_tricks.training._digits import load_digits
from optix_tricks.training._early_stopping import (
    EarlyStopping,
    EarlyStoppingState,
    early_stopping,
)
from optix_tricks.training._epoch import make_epoch, make_evaluate, predicted
from optix_tricks.training._fine_tuning import (
    RestoreReport,
    load_params,
    restore_partially,
)
from optix_tricks.training._finite import NotFiniteError
from optix_tricks.training._flops import matrix_flops
from optix_tricks.training._generated import generate
from optix_tricks.training._hardest import Chosen, Labelled, Proxy, hardest_by_proxy
from optix_tricks.training._hints import LayerOutput, hint_loss, teacher_labels
from optix_tricks.training._host_batches import ArraySource, Source, decode, host_batches
from optix_tricks.training._host_crop import RandomResizedCrop
from optix_tricks.training._job import Begin, Job, Phase
from optix_tricks.training._layer_order import kernels_in_order
from optix_tricks.training._layerwise import greedy_layerwise
from optix_tricks.training._layouts import LAYOUTS, device_bytes, state_shardings
from optix_tricks.training._loop import train
from optix_tricks.training._metrics import (
    Metric,
    absolute_error,
    accuracy,
    default_metrics,
    label_accuracy,
    r_squared,
    top_k_accuracy,
)
from optix_tricks.training._mlp import MLP
from optix_tricks.training._named import load_dataset
from optix_tricks.training._orders import (
    epoch_order,
    epoch_orders,
    steps_per_epoch,
    total_steps,
)
from optix_tricks.training._parts import Part, call_norm, make_norm, make_part
from optix_tricks.training._picture_array import Pictures
from optix_tricks.training._pictures import read_picture
from optix_tricks.training._placing import (
    compile_step,
    compile_step_on_devices,
    compile_step_on_mesh,
)
from optix_tricks.training._precision import Policy, policy
from optix_tricks.training._rate_scale import scale_rate
from optix_tricks.training._recovery import RestoredRun
from optix_tricks.training._resnet import (
    ResNet,
    ResNet9,
    ResNet18,
    ResNet34,
    ResNet50,
    count_parameters,
    global_max_pool,
    max_pool_2x2,
)
from optix_tricks.training._result import Result
from optix_tricks.training._resuming import LostRows
from optix_tricks.training._run_directory import RunDirectory, RunError, environment
from optix_tricks.training._saving import Stopped
from optix_tricks.training._state import (
    Apply,
    TrainState,
    create_state,
    functional,
    normalize,
)
from optix_tricks.training._step import (
    Alternate,
    Augment,
    Metrics,
    Mix,
    Step,
    StepKeys,
    make_train_step,
    prepared,
    step_keys,
)
from optix_tricks.training._streaming import Stream, stream_epoch
from optix_tricks.training._sweep import Sweep, sweep
from optix_tricks.training._sweep_jobs import sweep_jobs
from optix_tricks.training._tables import load_breast_cancer, load_diabetes
from optix_tricks.training._text import bigram_loss, load_topics
from optix_tricks.training._transformer import Transformer
from optix_tricks.training._validation import split_validation
from optix_tricks.training._ways import Way, fastest_way, measure_ways
from optix_tricks.training._workers import LostWorker

__all__ = [
    "CHIPS",
    "LAYOUTS",
    "MLP",
    "Airbench",
    "Alternate",
    "Apply",
    "ArraySource",
    "Augment",
    "BasicBlock",
    "Batch",
    "Begin",
    "BottleneckBlock",
    "CheckpointError",
    "Checkpoints",
    "Chip",
    "Chosen",
    "ConvNorm",
    "DamagedCheckpoint",
    "DataError",
    "Dataset",
    "EarlyStopping",
    "EarlyStoppingState",
    "Job",
    "Labelled",
    "LayerOutput",
    "LostRows",
    "LostWorker",
    "Metric",
    "Metrics",
    "Mix",
    "NotFiniteError",
    "Part",
    "Phase",
    "Pictures",
    "Policy",
    "Proxy",
    "RandomResizedCrop",
    "ResNet",
    "ResNet9",
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "RestoreReport",
    "RestoredRun",
    "Result",
    "RunDirectory",
    "RunError",
    "Source",
    "Step",
    "StepKeys",
    "Stopped",
    "Stream",
    "Sweep",
    "TrainState",
    "Transformer",
    "Way",
    "absolute_error",
    "accuracy",
    "bigram_loss",
    "call_norm",
    "chip_of",
    "compile_step",
    "compile_step_on_devices",
    "compile_step_on_mesh",
    "compiler_options",
    "confusion_matrix",
    "count_parameters",
    "create_state",
    "decode",
    "default_metrics",
    "device_bytes",
    "early_stopping",
    "environment",
    "epoch_order",
    "epoch_orders",
    "fastest_way",
    "functional",
    "generate",
    "global_max_pool",
    "greedy_layerwise",
    "hardest_by_proxy",
    "hint_loss",
    "host_batches",
    "jit",
    "kernels_in_order",
    "label_accuracy",
    "load_arrays",
    "load_breast_cancer",
    "load_dataset",
    "load_diabetes",
    "load_digits",
    "load_params",
    "load_tfds",
    "load_topics",
    "lookahead_statistics",
    "make_epoch",
    "make_evaluate",
    "make_norm",
    "make_part",
    "make_train_step",
    "matrix_flops",
    "max_pool_2x2",
    "measure_ways",
    "normalize",
    "on_slow_weights",
    "policy",
    "predicted",
    "prepared",
    "r_squared",
    "read_picture",
    "refresh_batch_statistics",
    "restore_partially",
    "scale_rate",
    "split_validation",
    "state_shardings",
    "step_keys",
    "steps_per_epoch",
    "stream_epoch",
    "sweep",
    "sweep_jobs",
    "teacher_labels",
    "top_k_accuracy",
    "total_steps",
    "train",
]

check_arguments(__name__, called={"rate": "drop_path", "final_rate": "drop_path"})
