"""Measuring what a time model needs, on the ranks of a job: ``python -m hpcscale.train.probe point.json``.

cases      one thing to measure: its line of the record, how much work it is, and how to set it up
products   matrix products and attention
memory     memory bandwidth, and what starting a kernel costs
messages   collectives and send/receive, in the groups that the nodes give
precisions the number formats that this rank's device has
clock      seconds of a call on this rank
ranks      what the ranks agree on: the slowest one's seconds, whether to stop
repeat     again and again until the median is stable or the time is up
run        one rank from start to end
"""
