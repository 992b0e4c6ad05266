"""What a judgement on the way comes to, as a line of metrics."""

import math

from pathoprog.text.numbers import Z_95
from pathoprog.training.member.candidate import Verdict


def judged_line(verdict: Verdict, on_sample: Verdict | None) -> dict[str, float]:
    """C and loss on tuning with their 95% intervals, and c on the sample of training patients.

    What is not known is left out: a loss that is not defined on tuning (`tuning_concordance.judged_loss`), its interval
    where the loss compares patients.
    """
    line = {
        "tuning_c": verdict.c_index,
        "tuning_c_se": verdict.c_se,
        "tuning_c_lower": verdict.c_lower,
        "tuning_c_upper": verdict.c_upper,
    }
    if (loss := verdict.loss) is not None:
        line["tuning_loss"] = loss.value
        if math.isfinite(loss.se):
            line["tuning_loss_lower"] = loss.value - Z_95 * loss.se
            line["tuning_loss_upper"] = loss.value + Z_95 * loss.se
    if on_sample is not None:
        line["training_c"] = on_sample.c_index
        line["training_c_lower"] = on_sample.c_lower
        line["training_c_upper"] = on_sample.c_upper
    return line
