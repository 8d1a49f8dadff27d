#!/bin/bash
# auto: juwels-booster-dp16-pp12-7d884f3b
# gpt-30b, dp 16 x tp 4 x pp 12 (ddp), 192 nodes, 768 ranks, sequence length 2048, batch 1536 in micro batches of 1, bf16, activation checkpointing full
# Wall time 00:20:00, predicted: 00:10:00 to start, 7 steps of 9.5 s (at most 11.2 s in 9 of 10 runs), and 00:05:00 of room.
# Written by hpcscale 0.1.0 for JUWELS Booster, Juelich Supercomputing Centre. Submit it with: sbatch job.sh
# What it runs is described in point.json beside it. All #SBATCH lines stand before the first command.
#
#SBATCH --job-name=auto-7d884f3b
#SBATCH --account="<account>"
#SBATCH --partition=booster
#SBATCH --nodes=192
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=12
#SBATCH --gres=gpu:4
#SBATCH --hint=nomultithread
#SBATCH --time=00:20:00
#SBATCH --requeue
#SBATCH --output="/scratch/<account>/runs/auto/juwels-booster-dp16-pp12-7d884f3b/%j.log"
#SBATCH --open-mode=append

# Environment: the user's modules and Python, then what the machine needs.
export CUDA_VISIBLE_DEVICES=0,1,2,3
export NCCL_SOCKET_IFNAME=ib0
export GLOO_SOCKET_IFNAME=ib0
export NCCL_IB_TIMEOUT=50
export NCCL_IB_RETRY_CNT=10
export UCX_RC_TIMEOUT=4s
export TORCH_NCCL_ASYNC_ERROR_HANDLING=1
export CUDA_DEVICE_MAX_CONNECTIONS=1
export HF_HUB_OFFLINE=1
export HF_DATASETS_OFFLINE=1
export TRANSFORMERS_OFFLINE=1
export WANDB_MODE=offline
export OMP_NUM_THREADS=12

set -euo pipefail

# One folder for each attempt: a requeued job has the same id and a higher restart count.
point='/scratch/<account>/runs/auto/juwels-booster-dp16-pp12-7d884f3b'
export HPCSCALE_ATTEMPT="$point/attempts/$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}"
HPCSCALE_JOB_START="$(date +%s)"
export HPCSCALE_JOB_START
mkdir -p -- "$HPCSCALE_ATTEMPT"

# How often this point has begun again by itself: as this job, or as one of those before it.
retry=$((${HPCSCALE_RETRY:-0} + ${SLURM_RESTART_COUNT:-0}))
if [ "$retry" -gt 3 ]; then
  echo "hpcscale: given up after 3 retries; hpcscale submit begins a new job" >&2
  exit 1
fi

# Since Slurm 22.05 srun does not read SLURM_CPUS_PER_TASK.
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

# The ranks meet at the first node of the job, on a port that follows from the job's id.
MASTER_ADDR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)"i
export MASTER_ADDR
export MASTER_PORT=$((10000 + SLURM_JOB_ID % 50000))

cd -- "$point"
status=0
srun --label --kill-on-bad-exit=1 --cpu-bind=none --threads-per-core=1 \
  python3 -m hpcscale.train "$point/point.json" \
  > "$HPCSCALE_ATTEMPT/output" 2>&1 || status=$?

# The ranks leave this file when they stopped early (time limit, preemption) and the point can go on: at most 3 times.
if [ -e "$HPCSCALE_ATTEMPT/requeue" ] && [ "$retry" -lt 3 ]; then
  scontrol requeue "$SLURM_JOB_ID" || echo "hpcscale: not requeued; hpcscale submit goes on" >&2
fi
exit "$status"
