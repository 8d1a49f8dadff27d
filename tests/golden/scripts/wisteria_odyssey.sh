#!/bin/bash
# sites: wisteria-odyssey-0032d3d4
# gpt-30b, dp 4 x tp 4 x pp 4 (ddp), 64 nodes, 64 ranks, sequence length 2048, batch 64 in micro batches of 1, fp32, activation checkpointing none
# Written by hpcscale 0.1.0 for Wisteria/BDEC-01 Odyssey, The University of Tokyo. Submit it with: pjsub job.sh
# What it runs is described in point.json beside it. All #PJM lines stand before the first command.
#
#PJM -L "rscgrp=regular-o"
#PJM -L "node=64"
#PJM -L "elapse=00:30:00"
#PJM --mpi "proc=64"
#PJM --mpi "max-proc-per-node=1"
#PJM --omp thread=48
#PJM -g gz00
#PJM -N sites-0032d3d4
#PJM -o "/scratch/<account>/runs/sites/wisteria-odyssey-0032d3d4/%j.log"
#PJM -j
#PJM -S
#PJM --spath "/scratch/<account>/runs/sites/wisteria-odyssey-0032d3d4/%j.stats"

# Environment: the user's modules and Python, then what the machine needs.
export OMP_NUM_THREADS=48

set -euo pipefail

# One folder for each attempt.
point='/scratch/<account>/runs/sites/wisteria-odyssey-0032d3d4'
try=0 # the system runs a job again, under the same id, when it lost a node
while [ -e "$point/attempts/${PJM_SUBJOBID:-$PJM_JOBID}.$try" ]; do try=$((try + 1)); done
export HPCSCALE_ATTEMPT="$point/attempts/${PJM_SUBJOBID:-$PJM_JOBID}.$try"
HPCSCALE_JOB_START="$(date +%s)"
export HPCSCALE_JOB_START
mkdir -p -- "$HPCSCALE_ATTEMPT"

cd -- "$point"
status=0
mpiexec -n 64 -of "$HPCSCALE_ATTEMPT/output" \
  python3 -m hpcscale.train "$point/point.json" || status=$?

# The ranks leave this file when they stopped early (time limit) and the point can go on: at most 3 times.
retry="${HPCSCALE_RETRY:-0}"
if [ -e "$HPCSCALE_ATTEMPT/requeue" ] && [ "$retry" -lt 3 ] && command -v pjsub > /dev/null; then
  answer="$(pjsub -x "HPCSCALE_RETRY=$((retry + 1))" --comment hpcscale/wisteria-odyssey-0032d3d4 "$point/job.sh")"
  job="$(printf '%s' "$answer" | sed -n 's/.*Job \([0-9_]*\) submitted.*/\1/p')"
  printf '{"kind": "submitted", "point": "wisteria-odyssey-0032d3d4", "hash": "0032d3d4", "job": "%s", "after": "%s", "time": %s}\n' "$job" "$PJM_JOBID" "$(date +%s)" >> "$point/../ledger.jsonl"
fi
exit "$status"
