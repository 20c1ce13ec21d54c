#!/usr/bin/env bash
# The accelerator set in one go of under nine minutes, resumable: what is done is marked
# in .gpu/, for this mode, commit and device, and left out the next time. Prints a short
# table last.
#
#   benchmarks/gpu.sh                    results into benchmarks/results, copies into $OUT
#   TOY=1 benchmarks/gpu.sh              every command at toy size, writing nothing
#   CIFAR10=DIR benchmarks/gpu.sh        six sprites or a .npz; see benchmarks/cifar10.py
#   BUDGET=300 benchmarks/gpu.sh         seconds; what would begin later waits
#
# Needs jax with an accelerator, flax, optax and this checkout. Packages of .vendor
# (`make vendor`) stand in for those that are not installed. PyTorch, if there, is the peer.
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
BUDGET=${BUDGET:-520}
commit=$(git describe --always --dirty 2>/dev/null || echo unversioned)
device=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1)
MARKS=${MARKS:-.gpu}/${TOY:+toy-}$commit-$(tr -c "[:alnum:]\n" - <<< "${device:-no device}")
export PYTHONPATH=".${PYTHONPATH:+:$PYTHONPATH}:.vendor"
export XLA_PYTHON_CLIENT_PREALLOCATE=false JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-.jax_cache}
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0
[ -n "${CIFAR10:-}" ] || { [ -d .gpu/cifar10 ] && CIFAR10=.gpu/cifar10; } || CIFAR10=generated
mkdir -p "$MARKS"
began=$SECONDS
failed=0

run() {  # NAME SECONDS MODULE [ARGUMENT ..]
  local name=$1 limit=$2; shift 2
  local left=$((BUDGET - (SECONDS - began)))
  [ -e "$MARKS/$name.done" ] && return
  if [ $left -lt 20 ]; then echo "$name: waits for the next go"; return; fi
  [ $limit -gt $left ] && limit=$left
  if timeout "$limit" "$PYTHON" -m "$@" > "$MARKS/$name.log" 2>&1
  then touch "$MARKS/$name.done"; echo "$name: done at $((SECONDS - began)) s"
  else echo "$name: rc $? at $((SECONDS - began)) s: $(tail -n 1 "$MARKS/$name.log")"; failed=1
  fi
}

air="--data $CIFAR10"
if [ -n "${TOY:-}" ]; then
  run optimizer 520 benchmarks.optimizer_step --smoke
  run muon 520 benchmarks.airbench --recipe cifar10_airbench94_muon --smoke
  run sgd 520 benchmarks.airbench --peer --smoke
  run torch 520 benchmarks.airbench --runs 0 --peer-runs 1 --smoke
  run resnet50 520 benchmarks.resnet50 --smoke --image-size 32 --width 8 \
    --batch-sizes 4 --stages 1 1 1 1
  run sweep 520 benchmarks.sweep --smoke
else
  nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem,power.limit \
    --format=csv 2>/dev/null
  run muon 150 benchmarks.airbench $air --recipe cifar10_airbench94_muon --runs 30 \
    --modes loop scan --name airbench94_muon
  run optimizer 120 benchmarks.optimizer_step --arrays resnet50 "161 tiny"
  run sgd 120 benchmarks.airbench $air --runs 20 --modes loop --peer --name airbench94
  run torch 200 benchmarks.airbench $air --runs 0 --peer-runs 5 --name airbench94_runs
  run resnet50 150 benchmarks.resnet50 --batch-sizes 256 512 --variants step scan torch
  run airbench96 100 benchmarks.airbench $air --recipe cifar10_airbench96 --runs 3 \
    --modes loop --name airbench96
  run sweep 90 benchmarks.sweep
fi

if [ -n "${OUT:-}" ] && [ -z "${TOY:-}" ]; then
  cp benchmarks/results/*_gpu.json "$MARKS"/*.log "$OUT"/ 2>/dev/null
fi
"$PYTHON" -m benchmarks.summary
exit $failed
