#!/bin/bash
# megatron-lm: what each process that job.sh starts runs. Written by hpcscale 0.1.0; do not start it by hand.
set -euo pipefail
export PYTHONPATH='/p/project1/<account>/Megatron-LM'"${PYTHONPATH:+:$PYTHONPATH}"
# Whatever the system writes to a relative path lands in the attempt's folder.
cd -- "$HPCSCALE_ATTEMPT"

export CUDA_DEVICE_MAX_CONNECTIONS=1

exec torchrun_jsc --nnodes=48 --nproc-per-node=4 --rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" --rdzv-conf=is_host="$((SLURM_NODEID == 0))" --rdzv-endpoint="$MASTER_ADDR:$MASTER_PORT" \
  '/p/project1/<account>/Megatron-LM/pretrain_gpt.py' \
  --num-layers 48 --hidden-size 7168 --ffn-hidden-size 28672 \
  --num-attention-heads 56 \
  --seq-length 2048 --max-position-embeddings 2048 \
  --position-embedding-type learned_absolute \
  --normalization LayerNorm --norm-epsilon 1e-05 \
  --make-vocab-size-divisible-by 128 --init-method-std 0.02 \
  --attention-dropout 0 --hidden-dropout 0 \
  --micro-batch-size 1 --global-batch-size 1536 --train-iters 7 \
  --lr 0.0003 --min-lr 0.0 --lr-decay-style constant \
  --lr-decay-iters 7 --lr-warmup-iters 0 \
  --adam-beta1 0.9 --adam-beta2 0.95 --adam-eps 1e-08 \
  --weight-decay 0.1 --clip-grad 1.0 --seed 1234 \
  --bf16 \
  --recompute-granularity full --recompute-method uniform --recompute-num-layers 1 \
  --tensor-model-parallel-size 4 --pipeline-model-parallel-size 12 --context-parallel-size 1 \
  --mock-data \
  --tokenizer-type NullTokenizer --vocab-size 50256 \
  --log-interval 1 --log-throughput --eval-iters 0 --distributed-backend nccl
