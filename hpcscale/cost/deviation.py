"""Is a measured step far from its prediction, and what does that usually mean?"""

from __future__ import annotations

import math

# Half-widths of the 80 % interval (in logarithms) beyond which chance is no explanation: 2 x 1.28 standard deviations.
FAR = 2.0
SLOWER = "likely a straggler (a slow node or rank), another clock or power mode, or traffic over another network"
FASTER = (
    "likely it does less than its description says, or the machine's profile is too pessimistic: hpcscale calibrate"
)


def far_off(measured: float, predicted: float, low: float, high: float) -> str:
    """What to say of a measurement far outside the 80 % interval of its prediction; empty for one that is not. Seconds."""
    if min(measured, predicted, low, high) <= 0 or high <= low:
        return ""
    if abs(math.log(measured / predicted)) <= FAR * math.log(high / low) / 2:
        return ""
    factor = measured / predicted
    times = (
        f"{factor:.1f} times"
        if factor >= 1.95
        else f"{100 * abs(factor - 1):.0f} % {'above' if factor > 1 else 'below'}"
    )
    return (
        f"{times} the predicted {predicted:.4g} s (80 %: {low:.4g} to {high:.4g}): {SLOWER if factor > 1 else FASTER}"
    )
