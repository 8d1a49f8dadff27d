#!/bin/bash
# llm-foundry: what each process that job.sh starts runs. Written by hpcscale 0.1.0; do not start it by hand.
set -euo pipefail
export PYTHONPATH='/p/project1/<account>/llm-foundry'"${PYTHONPATH:+:$PYTHONPATH}"
# Whatever the system writes to a relative path lands in the attempt's folder.
cd -- "$HPCSCALE_ATTEMPT"

exec composer -n 8 \
  '/p/project1/<account>/llm-foundry/scripts/train/train.py' '/scratch/<account>/runs/mpt_sweep/mosaicml-h100-80gb-mpt-7b-dp8-ac-none-seq2048-mbs6-gbs48-bf16-ca248385/workload.yaml'
