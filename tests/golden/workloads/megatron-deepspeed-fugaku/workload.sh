#!/bin/bash
# megatron-deepspeed-fugaku: what each process that job.sh starts runs. Written by hpcscale 0.1.0; do not start it by hand.
set -euo pipefail
export PYTHONPATH=/data/hp000000/DeepSpeedFugaku"${PYTHONPATH:+:$PYTHONPATH}"
# Whatever the system writes to a relative path lands in the attempt's folder.
cd -- "$HPCSCALE_ATTEMPT"

export WORLD_SIZE=3072
export MASTER_ADDR=localhost
export MASTER_PORT=$((10000 + PJM_JOBID % 50000))

exec python3 /data/hp000000/DeepSpeedFugaku/pretrain_gpt.py \
  --num-layers 48 --hidden-size 7168 --ffn-hidden-size 28672 \
  --num-attention-heads 56 \
  --micro-batch-size 1 --global-batch-size 1536 \
  --seq-length 2048 --max-position-embeddings 2048 \
  --make-vocab-size-divisible-by 128 --layernorm-epsilon 1e-05 \
  --init-method-std 0.02 --attention-dropout 0 --hidden-dropout 0 \
  --train-iters 7 --lr 0.0003 --min-lr 0.0 \
  --lr-decay-style constant --lr-decay-iters 7 --lr-warmup-iters 0 \
  --adam-beta1 0.9 --adam-beta2 0.95 --adam-eps 1e-08 \
  --weight-decay 0.1 --clip-grad 1.0 --seed 1234 \
  --checkpoint-activations \
  --data-path /data/hp000000/codeparrot_content_document --data-impl mmap --split 100,0,0 \
  --tokenizer-type JapaneseSentencePiece --vocab-file /data/hp000000/code20k_en40k_ja60k.ver2.1.model \
  --distributed-backend mpi --no-cuda --cpu-optimizer --cpu-torch-adam --use-cpu-initialization \
  --num-workers 0 --no-load-rng --log-interval 1 --eval-iters 0 \
  --tensor-model-parallel-size 4 --pipeline-model-parallel-size 48
