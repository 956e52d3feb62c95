#!/bin/bash
# sbatch -N 4 slurm.sh DATA [more options of extract-modalities]
# DATA: a data set's folder on a file system that all nodes mount, after `musclemap download`.
#SBATCH --job-name=musclemap
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=24:00:00
set -euo pipefail

data=${1:?give the folder of the data set}
shift
nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes%%$'\n'*}

# Ray's launcher: starts Ray on every node, runs the command on the first, and stops all.
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" \
    ray symmetric-run --address "$head:6379" --min-nodes "$SLURM_JOB_NUM_NODES" -- \
    musclemap extract-modalities --engine ray --data "$data" "$@"
