#!/usr/bin/env bash
# One search and seven workers, each with a GPU of its own: sbatch slurm.sh
# AUTOPROMPT_STORAGE must name a database that all nodes reach; set it in a file that only you read.
#SBATCH --job-name=autoprompt
#SBATCH --array=0-7
#SBATCH --ntasks=1
#SBATCH --gpus=1
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@60
set -euo pipefail
source ~/.autoprompt-storage # export AUTOPROMPT_STORAGE=postgresql://...

RUN=$SLURM_SUBMIT_DIR/run
if [ "$SLURM_ARRAY_TASK_ID" = 0 ]; then
    RESUME=""
    if [ -e "$RUN" ]; then RESUME=--resume; fi
    exec autoprompt search --task reviews.csv --space space.yaml --model roberta-base \
        --device cuda --out "$RUN" $RESUME
fi
until [ -e "$RUN/storage.json" ]; do sleep 5; done
exec autoprompt worker "$RUN" --device cuda
