#!/bin/bash
# torchtitan: what each process that job.sh starts runs. Written by hpcscale 0.1.0; do not start it by hand.
set -euo pipefail
export PYTHONPATH='/p/project1/<account>/torchtitan'"${PYTHONPATH:+:$PYTHONPATH}"
# Whatever the system writes to a relative path lands in the attempt's folder.
cd -- "$HPCSCALE_ATTEMPT"

export PYTHONPATH='/scratch/<account>/runs/torchtitan_llama/llama2-13b-seq4096-mbs2-ac-selective-layer-2-2e3e5d48'":$PYTHONPATH"

exec python3 -m torch.distributed.run --nnodes=8 --nproc-per-node=8 --rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" --rdzv-conf=is_host="$((SLURM_NODEID == 0))" --rdzv-endpoint="$MASTER_ADDR:$MASTER_PORT" \
  -m torchtitan.train --job.config_file '/scratch/<account>/runs/torchtitan_llama/llama2-13b-seq4096-mbs2-ac-selective-layer-2-2e3e5d48/workload.toml'
