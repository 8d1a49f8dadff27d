#!/bin/bash
# nanotron: what each process that job.sh starts runs. Written by hpcscale 0.1.0; do not start it by hand.
set -euo pipefail
export PYTHONPATH='/p/project1/<account>/nanotron'"${PYTHONPATH:+:$PYTHONPATH}"
# Whatever the system writes to a relative path lands in the attempt's folder.
cd -- "$HPCSCALE_ATTEMPT"

export CUDA_DEVICE_MAX_CONNECTIONS=1

exec python3 -m torch.distributed.run --nnodes=4 --nproc-per-node=4 --rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" --rdzv-conf=is_host="$((SLURM_NODEID == 0))" --rdzv-endpoint="$MASTER_ADDR:$MASTER_PORT" \
  '/p/project1/<account>/nanotron/run_train.py' --config-file '/scratch/<account>/runs/nanotron_llama2_7b/dp4-ba719971/workload.yaml'
