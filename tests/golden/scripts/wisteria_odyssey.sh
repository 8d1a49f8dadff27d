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
export HPCSCALE_ATTEMPT="$point/attempts/${PJM_SUBJOBID:-$PJM_JOBID}.0"
HPCSCALE_JOB_START="$(date +%s)"
export HPCSCALE_JOB_START
mkdir -p -- "$HPCSCALE_ATTEMPT"

cd -- "$point"
mpiexec -n 64 -of "$HPCSCALE_ATTEMPT/output" \
  python3 -m hpcscale.train "$point/point.json"
