#!/bin/bash -x
# The header and the variables of github.com/rioyokotalab/DeepSpeedFugaku, experiments/scripts/30b/30b_pp48_mp4_dp16.sh
# (branch training/feature/13B-training-fj-after400b), with its blanks at line ends and its undefined ${nodos}.
#PJM -L "rscunit=rscunit_ft01,rscgrp=large"
#PJM -L elapse=2:00:00
#PJM -L "node=3072"
#PJM --mpi "proc=3072"
#PJM --mpi "max-proc-per-node=1"
#PJM -g hp000000          
#PJM -x PJM_LLIO_GFSCACHE=/vol0003:/vol0004
#PJM -j
#PJM -S

source /data/hp000000/share/PyTorch-1.10.1/env.src
export PYTHONUSERBASE=$HOME/work/.local
export PATH=$PATH:$PYTHONUSERBASE/bin
CPUS_PER_NODE=1
NNODES=3072
NODE_RANK=0
export WORLD_SIZE=$(($CPUS_PER_NODE*$NNODES))
export MASTER_ADDR=localhost
export MASTER_PORT=$((10000 + ($PJM_JOBID % 50000)))
export OMP_NUM_THREADS=48
output_path="outputs/30b/${nodos}_nodes"
mkdir -p ${output_path}
mpirun -np $NNODES -std-proc ${output_path}/stdproc \
  python pretrain_gpt.py --num-layers 48 --hidden-size 7168 --num-attention-heads 56 \
  --micro-batch-size 1 --global-batch-size 1536 --seq-length 2048 --checkpoint-activations \
  --distributed-backend mpi --no-cuda --use-cpu-initialization --num-workers 0 --no-load-rng \
  --tensor-model-parallel-size 4 --pipeline-model-parallel-size 48
