#!/bin/bash
# A sweep as a Slurm job array: each task trains one trial; a last job makes the table, the figure and best.yaml.
#
#   export EXPERIMENT=/path/my.yaml OUT=/shared/sweep SWEEP="fit.lr=1e-3,3e-4 network.pooling=mean,noisy_and"
#   job=$(sbatch --parsable --array=0-3 --gres=gpu:1 --cpus-per-task=8 --export=ALL deploy/slurm/sweep_array.sh)
#   sbatch --dependency=afterany:$job --gres=gpu:1 --export=ALL deploy/slurm/sweep_array.sh
#
# The array has as many tasks as there are combinations; the call prints their number. Every node sees EXPERIMENT, OUT
# and the data under the same names; cut the tiles once before (`pathoprog tiles`). A task that was stopped is given
# again, and goes on from its last checkpoint. COMMAND=cross_validate does the same with folds.
set -euo pipefail

: "${EXPERIMENT:?a YAML file of settings}" "${OUT:?folder of the sweep}" "${SWEEP:?keys with several values}"
read -r -a values <<<"$SWEEP"

only=()
if [[ -n "${SLURM_ARRAY_TASK_ID:-}" ]]; then
  only=("search.only=$SLURM_ARRAY_TASK_ID")
fi
exec "${PATHOPROG:-pathoprog}" "${COMMAND:-train_ensemble}" --multirun \
  "experiment=$EXPERIMENT" "out=$OUT" "${values[@]}" "${only[@]}" "$@"
