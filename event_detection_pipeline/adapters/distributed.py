"""The processes of one training: torchrun or `accelerate launch` starts one for each card; they share each batch."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed

T = TypeVar("T")

# How long they wait for each other: while the first fetches a base model, say. What failed is never waited for so long,
# torchrun ends the others then.
PATIENCE = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Processes:
    """How many processes train together, and which of them this one is; by itself it is the first of one.

    The first alone writes and tells. What the others do follows from what it says (`agree`) and from sums that are the
    same in all (`add_up`), so that all take the same steps and none waits for one that has stopped.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @contextlib.contextmanager
    def joined(self, device: torch.device) -> Iterator[None]:
        """In the block, they hear each other; it ends in all of them together, unless by an error."""
        if self.count == 1:
            yield
            return
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
        yield
        distributed.barrier()
        distributed.destroy_process_group()

    def share(self, items: Sequence[T]) -> list[T]:
        """What of the items is for this process; each is for one, and no process has two more than another."""
        return list(items[self.rank :: self.count])

    def collect(self, results: list[T]) -> list[T]:
        """What all made of their shares, in the order of what was shared."""
        if self.count == 1:
            return results
        shares: list[list[T]] = [[] for _ in range(self.count)]
        distributed.all_gather_object(shares, results)
        whole: list[T] = [result for share in shares for result in share]
        for rank, share in enumerate(shares):
            whole[rank :: self.count] = share
        return whole

    def agree(self, value: T) -> T:
        """What the first process has for it."""
        if self.count == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values)
        return values[0]

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Make of each tensor the sum of what all processes have there. They are of one dtype."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            distributed.barrier()


ALONE = Processes()


def launched() -> Processes:
    """As torchrun's environment says (https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables)."""
    return Processes(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))
