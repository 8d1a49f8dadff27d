#!/bin/bash
# auto: fugaku-dp32-pp48-f60f6caa
# gpt-30b, dp 32 x tp 4 x pp 48 (ddp), 6144 nodes, 6144 ranks, sequence length 2048, batch 1536 in micro batches of 1, fp32, activation checkpointing full
# Wall time 00:55:00, predicted: 00:10:00 to start, 7 steps of 270 s (at most 320 s in 9 of 10 runs), and 00:05:00 of room.
# Written by hpcscale 0.1.0 for Supercomputer Fugaku, RIKEN R-CCS. Submit it with: pjsub job.sh
# What it runs is described in point.json beside it. All #PJM lines stand before the first command.
#
#PJM -L "rscunit=rscunit_ft01,rscgrp=large"
#PJM -L "node=6144"
#PJM -L "elapse=00:55:00"
#PJM -L "freq=2000,eco_state=0"
#PJM --mpi "proc=6144"
#PJM --mpi "max-proc-per-node=1"
#PJM -g hp000000
#PJM -N auto-f60f6caa
#PJM -o "/scratch/<account>/runs/auto/fugaku-dp32-pp48-f60f6caa/%j.log"
#PJM -j
#PJM -S
#PJM --spath "/scratch/<account>/runs/auto/fugaku-dp32-pp48-f60f6caa/%j.stats"

# Environment: the user's modules and Python, then what the machine needs.
export OMPI_MCA_plm_ple_memory_allocation_policy=interleave_local
export OMPI_MCA_plm_ple_numanode_assign_policy=simplex
export OMP_NUM_THREADS=48

set -euo pipefail

# One folder for each attempt.
point='/scratch/<account>/runs/auto/fugaku-dp32-pp48-f60f6caa'
try=0 # the system runs a job again, under the same id, when it lost a node
while [ -e "$point/attempts/${PJM_SUBJOBID:-$PJM_JOBID}.$try" ]; do try=$((try + 1)); done
export HPCSCALE_ATTEMPT="$point/attempts/${PJM_SUBJOBID:-$PJM_JOBID}.$try"
HPCSCALE_JOB_START="$(date +%s)"
export HPCSCALE_JOB_START
mkdir -p -- "$HPCSCALE_ATTEMPT"

cd -- "$point"
status=0
mpiexec -n 6144 -std-proc "$HPCSCALE_ATTEMPT/output/%/1000r/rank" numactl -m 4-7 -N 4-7 \
  python3 -m hpcscale.train "$point/point.json" || status=$?

# The ranks leave this file when they stopped early (time limit) and the point can go on: at most 3 times.
retry="${HPCSCALE_RETRY:-0}"
if [ -e "$HPCSCALE_ATTEMPT/requeue" ] && [ "$retry" -lt 3 ] && command -v pjsub > /dev/null; then
  answer="$(pjsub -x "HPCSCALE_RETRY=$((retry + 1))" --comment hpcscale/fugaku-dp32-pp48-f60f6caa "$point/job.sh")"
  job="$(printf '%s' "$answer" | sed -n 's/.*Job \([0-9_]*\) submitted.*/\1/p')"
  printf '{"kind": "submitted", "point": "fugaku-dp32-pp48-f60f6caa", "hash": "f60f6caa", "job": "%s", "after": "%s", "time": %s}\n' "$job" "$PJM_JOBID" "$(date +%s)" >> "$point/../ledger.jsonl"
fi
exit "$status"
