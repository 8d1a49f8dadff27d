#!/bin/bash
# fmengine: what each process that job.sh starts runs. Written by hpcscale 0.1.0; do not start it by hand.
set -euo pipefail
export PYTHONPATH='/p/project1/<account>/fmengine'"${PYTHONPATH:+:$PYTHONPATH}"
# Whatever the system writes to a relative path lands in the attempt's folder.
cd -- "$HPCSCALE_ATTEMPT"

exec torchrun_jsc --nnodes=16 --nproc-per-node=4 --rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" --rdzv-conf=is_host="$((SLURM_NODEID == 0))" --rdzv-endpoint="$MASTER_ADDR:$MASTER_PORT" \
  '/p/project1/<account>/fmengine/cli/train.py' \
  --output_dir checkpoints --init_ckpt '/p/project1/<account>/llama2-7b' --data_path '/p/project1/<account>/data/dataset.jsonl' \
  --max_seq_len 2048 --train_steps 12 --eval_steps 12 \
  --save_steps 13 --log_steps 1 \
  --pipe_parallel_size 1 --model_parallel_size 1 --seed 1234 \
  --use_flash_attn true --use_fused_ops false \
  --deepspeed_config '/scratch/<account>/runs/fmengine_llama/juwels-booster-llama2-7b-dp64-tp1-pp1-zero1-seq2048-mbs8-gbs512-eeaf3804/workload.json'
