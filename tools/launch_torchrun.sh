#!/usr/bin/env bash
# Fit on the GPUs of one or more machines, with torchrun. Start it on every machine alike:
#   NODES=2 HEAD=first-machine tools/launch_torchrun.sh configs/1b.yaml --parallel.tensor 4
# NODES    machines (1)
# GPUS     GPUs of each (all)
# HEAD     host name of one of them, where they meet (localhost)
# PORT     a free port there (29500)
# TENSOR   GPUs that share channel groups, heads and columns (1)
# RESTARTS times that a failed run goes on from its last checkpoint (3)
# `orbitlite plan` tells which flags to add.
set -euo pipefail
config=${1:?state a config, such as configs/1b.yaml}
shift
nodes=${NODES:-1}
gpus=${GPUS:-$(nvidia-smi --list-gpus | wc -l)}

exec torchrun --nnodes "$nodes" --nproc-per-node "$gpus" --max-restarts "${RESTARTS:-3}" \
  --rdzv-backend c10d --rdzv-id "${RUN_ID:-orbitlite}" \
  --rdzv-endpoint "${HEAD:-localhost}:${PORT:-29500}" \
  --no-python orbitlite fit -c "$config" \
  --trainer.devices "$gpus" --trainer.num_nodes "$nodes" \
  --parallel.tensor "${TENSOR:-1}" --ckpt_path last "$@"
