#!/bin/bash
# sites: wisteria-aquarius-b5710e9e
# gpt-30b, dp 4 x tp 4 x pp 4 (ddp), 8 nodes, 64 ranks, sequence length 2048, batch 64 in micro batches of 1, bf16, activation checkpointing none
# Written by hpcscale 0.1.0 for Wisteria/BDEC-01 Aquarius, The University of Tokyo. Submit it with: pjsub job.sh
# What it runs is described in point.json beside it. All #PJM lines stand before the first command.
#
#PJM -L "rscgrp=regular-a"
#PJM -L "node=8"
#PJM -L "elapse=00:30:00"
#PJM --mpi "proc=64"
#PJM -g gz00
#PJM -N sites-b5710e9e
#PJM -o "/scratch/<account>/runs/sites/wisteria-aquarius-b5710e9e/%j.log"
#PJM -j
#PJM -S
#PJM --spath "/scratch/<account>/runs/sites/wisteria-aquarius-b5710e9e/%j.stats"

# Environment: the user's modules and Python, then what the machine needs.
# The ranks meet at the first node of the job, on a port that follows from the job's id.
MASTER_ADDR="$(head -n 1 "$PJM_O_NODEINF")"
export MASTER_ADDR
export MASTER_PORT=$((10000 + PJM_JOBID % 50000))
export UCX_MEMTYPE_CACHE=n
export TORCH_NCCL_ASYNC_ERROR_HANDLING=1
export CUDA_DEVICE_MAX_CONNECTIONS=1
export OMP_NUM_THREADS=9

set -euo pipefail

# One folder for each attempt.
point='/scratch/<account>/runs/sites/wisteria-aquarius-b5710e9e'
try=0 # the system runs a job again, under the same id, when it lost a node
while [ -e "$point/attempts/${PJM_SUBJOBID:-$PJM_JOBID}.$try" ]; do try=$((try + 1)); done
export HPCSCALE_ATTEMPT="$point/attempts/${PJM_SUBJOBID:-$PJM_JOBID}.$try"
HPCSCALE_JOB_START="$(date +%s)"
export HPCSCALE_JOB_START
mkdir -p -- "$HPCSCALE_ATTEMPT"

cd -- "$point"
status=0
mpiexec -machinefile "$PJM_O_NODEINF" -n 64 -npernode 8 --bind-to none -x PATH -x LD_LIBRARY_PATH -x OMP_NUM_THREADS -x HPCSCALE_ATTEMPT -x HPCSCALE_JOB_START -x UCX_MEMTYPE_CACHE -x TORCH_NCCL_ASYNC_ERROR_HANDLING -x CUDA_DEVICE_MAX_CONNECTIONS -x MASTER_ADDR -x MASTER_PORT ${PYTHONPATH:+-x PYTHONPATH} >> "$HPCSCALE_ATTEMPT/output" 2>&1 \
  python3 -m hpcscale.train "$point/point.json" || status=$?

# The ranks leave this file when they stopped early (time limit) and the point can go on: at most 3 times.
retry="${HPCSCALE_RETRY:-0}"
if [ -e "$HPCSCALE_ATTEMPT/requeue" ] && [ "$retry" -lt 3 ] && command -v pjsub > /dev/null; then
  answer="$(pjsub -x "HPCSCALE_RETRY=$((retry + 1))" --comment hpcscale/wisteria-aquarius-b5710e9e "$point/job.sh")"
  job="$(printf '%s' "$answer" | sed -n 's/.*Job \([0-9_]*\) submitted.*/\1/p')"
  printf '{"kind": "submitted", "point": "wisteria-aquarius-b5710e9e", "hash": "b5710e9e", "job": "%s", "after": "%s", "time": %s}\n' "$job" "$PJM_JOBID" "$(date +%s)" >> "$point/../ledger.jsonl"
fi
exit "$status"
