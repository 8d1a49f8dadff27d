#!/bin/bash
# megatron-deepspeed: what each process that job.sh starts runs. Written by hpcscale 0.1.0; do not start it by hand.
set -euo pipefail
export PYTHONPATH='/p/project1/<account>/Megatron-DeepSpeed'"${PYTHONPATH:+:$PYTHONPATH}"
# Whatever the system writes to a relative path lands in the attempt's folder.
cd -- "$HPCSCALE_ATTEMPT"

export CUDA_DEVICE_MAX_CONNECTIONS=1

exec torchrun_jsc --nnodes=48 --nproc-per-node=4 --rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" --rdzv-conf=is_host="$((SLURM_NODEID == 0))" --rdzv-endpoint="$MASTER_ADDR:$MASTER_PORT" \
  '/p/project1/<account>/Megatron-DeepSpeed/pretrain_gpt.py' \
  --num-layers 48 --hidden-size 7168 --ffn-hidden-size 28672 \
  --num-attention-heads 56 \
  --seq-length 2048 --max-position-embeddings 2048 \
  --normalization layernorm \
  --make-vocab-size-divisible-by 128 --init-method-std 0.02 \
  --attention-dropout 0 --hidden-dropout 0 --no-query-key-layer-scaling \
  --micro-batch-size 1 --global-batch-size 1536 --train-iters 7 \
  --optimizer adam --lr 0.0003 --min-lr 0.0 --lr-decay-style constant \
  --lr-decay-iters 7 --lr-warmup-iters 0 \
  --adam-beta1 0.9 --adam-beta2 0.95 --adam-eps 1e-08 \
  --weight-decay 0.1 --clip-grad 1.0 --seed 1234 \
  --bf16 \
  --deepspeed-activation-checkpointing --recompute-granularity full --recompute-method uniform \
  --tensor-model-parallel-size 4 --pipeline-model-parallel-size 12 \
  --deepspeed --deepspeed_config '/scratch/<account>/runs/30b_scaling/juwels-booster-gpt-30b-dp4-tp4-pp12-ac-full-459db113/workload.json' --zero-stage 1 \
  --data-path '/p/project1/<account>/data/oscar_text_document' --data-impl mmap --split 100,0,0 \
  --tokenizer-type NullTokenizer --vocab-size 50256 \
  --log-interval 1 --eval-iters 0 --distributed-backend nccl
