"""The fault matrix: every operation that writes meets every fault, starts again, and must have kept its promises."""
