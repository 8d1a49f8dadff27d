#!/bin/bash
# quickstart: dp2-fsdp-6bd5a253
# tiny-gpt, dp 2 (fsdp), 1 node, 2 ranks, sequence length 128, batch 16 in micro batches of 8, fp32, activation checkpointing none
# Written by hpcscale 0.1.0 for this computer. Run it with: bash job.sh
# What it runs is described in point.json beside it.

# Environment: the user's modules and Python, then what the machine needs.
export OMP_NUM_THREADS=1

set -euo pipefail

# One folder for each attempt.
point='/scratch/<account>/runs/quickstart/dp2-fsdp-6bd5a253'
export HPCSCALE_ATTEMPT="${HPCSCALE_ATTEMPT:-$point/attempts/local-$(date +%Y%m%d-%H%M%S)-$$.0}"
HPCSCALE_JOB_START="$(date +%s)"
export HPCSCALE_JOB_START
mkdir -p -- "$HPCSCALE_ATTEMPT"

cd -- "$point"
# The time limit of the study: the ranks are asked to end, and 30 seconds later made to.
timeout --foreground --signal=TERM --kill-after=30 600 \
  python3 -m torch.distributed.run --no-python --nnodes=1 --nproc-per-node=2 --rdzv-backend=c10d --rdzv-endpoint=127.0.0.1:0 \
  python3 -m hpcscale.train "$point/point.json" \
  > "$HPCSCALE_ATTEMPT/output" 2>&1
