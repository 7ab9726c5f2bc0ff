#!/usr/bin/env bash
# Fit on the nodes of a SLURM cluster:
#   sbatch --nodes 8 --account ... --partition ... tools/launch_slurm.sh configs/1b.yaml
# Flags of `orbitlite fit` may follow the config; `orbitlite plan` tells which. TENSOR: GPUs that
# share channel groups, heads and columns (1). Load modules and activate the environment before.
#SBATCH --job-name=orbitlite
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --time=02:00:00
#SBATCH --requeue
# Ninety seconds before the end the run is told to save and to queue itself again.
#SBATCH --signal=SIGUSR1@90
set -euo pipefail
config=${1:?state a config, such as configs/1b.yaml}
shift

# All ranks meet at the first node; jobs that share a node take different ports.
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_ADDR MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))

srun --kill-on-bad-exit=1 orbitlite fit -c "$config" \
  --trainer.devices "$SLURM_NTASKS_PER_NODE" --trainer.num_nodes "$SLURM_JOB_NUM_NODES" \
  --parallel.tensor "${TENSOR:-1}" --ckpt_path last "$@"
