"""Our encoder beside torchaudio's Conformer and Emformer, on the same batches in one run; and streaming.

    uv run python benchmarks/speech_encoders.py

All have four layers of the same width, heads, feed-forward width and (where they have one) kernel, and no
part before or after them. An epoch is 400 steps of 8 recordings of 4 to 8 seconds, at 40 ms a step; two of
its batches are timed, forward and backward, the candidates taking turns, in processor time of one thread.
Memory is how much further the resident memory of a process of its own rises at its peak in such steps.
The real-time factor is the processor time of one thread for a second of sound that arrives in pieces of
0.1 s, features and everything else included.
"""

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchaudio.models import Conformer, Emformer

from recollect import Fusion, Parallel, VectorStorage
from recollect_speech.models.encoder import Encoder
from recollect_speech.models.recognition import Recognizer
from recollect_speech.models.summary_memory import SummaryMemory

SIZE, LAYERS, HEADS, HIDDEN, KERNEL = 144, 4, 4, 576, 15
CHUNK, LEFT, SLOTS = 16, 32, 4
STEPS, BATCH, ROUNDS = 400, 8, 3

Step = Callable[[Tensor, Tensor], Tensor]


def ours(chunk: int | None, integration: type | None = None, layers: int = LAYERS) -> Encoder:
    """Our encoder."""
    storage = VectorStorage(SIZE, SIZE, slots=SLOTS, similarity="dot")
    encoder = Encoder(SIZE, layers, HEADS, HIDDEN, KERNEL, chunk=chunk, left=LEFT)
    if integration is not None:
        encoder.add_memory(SummaryMemory(SIZE, storage, CHUNK), integration)
    return encoder


def step_of(name: str) -> tuple[nn.Module, Step]:
    """A candidate, and how it encodes steps ``(B, T, D)`` of which ``lengths`` count."""
    torch.manual_seed(0)
    if name == "torchaudio Conformer":
        conformer = Conformer(SIZE, HEADS, HIDDEN, LAYERS, KERNEL, dropout=0.1)
        return conformer, lambda x, lengths: conformer(x, lengths)[0]
    if name.startswith("torchaudio Emformer"):
        memory = SLOTS if "bank" in name else 0
        emformer = Emformer(SIZE, HEADS, HIDDEN, LAYERS, CHUNK, 0.1, "relu", LEFT, 0, memory)
        return emformer, lambda x, lengths: emformer(x, lengths)[0]
    made = {
        "ours, whole recordings": (None, None),
        "ours, chunks": (CHUNK, None),
        "ours, chunks and memory (Parallel)": (CHUNK, Parallel),
        "ours, chunks and memory (Fusion)": (CHUNK, Fusion),
    }
    encoder = ours(*made[name])
    return encoder, lambda x, lengths: encoder(x, torch.arange(x.shape[1]) < lengths.unsqueeze(1))[0]


NAMES = (
    "torchaudio Conformer",
    "ours, whole recordings",
    "torchaudio Emformer",
    "ours, chunks",
    "torchaudio Emformer, memory bank",
    "ours, chunks and memory (Parallel)",
    "ours, chunks and memory (Fusion)",
)


def batches(count: int) -> list[tuple[Tensor, Tensor]]:
    """Recordings of about one length in a batch, as training has them; a multiple of Emformer's segment."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for longest in torch.linspace(112, 208, count).tolist():
        longest = int(longest) // CHUNK * CHUNK
        lengths = torch.randint(longest - 11, longest + 1, (BATCH,), generator=generator)
        lengths[0] = longest
        found.append((torch.randn(BATCH, longest, SIZE, generator=generator), lengths))
    return found


def once(step: Step, x: Tensor, lengths: Tensor) -> None:
    """Forward and backward."""
    step(x, lengths).square().mean().backward()


def seconds() -> dict[str, float]:
    """Of a step, by candidate: the median over rounds of the mean over batches."""
    steps = {name: step_of(name)[1] for name in NAMES}
    given = batches(2)
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    for step in steps.values():
        once(step, *given[0])
    for _ in range(ROUNDS):
        for name, step in steps.items():
            begin = time.process_time()
            for batch in given:
                once(step, *batch)
            found[name].append((time.process_time() - begin) / len(given))
    return {name: statistics.median(times) for name, times in found.items()}


def peak(name: str) -> float:
    """MiB that the resident memory rises by."""
    torch.set_num_threads(1)
    _, step = step_of(name)
    given = batches(2)[-1]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        once(step, *given)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


@torch.no_grad()
def real_time_factor(layers: int, seconds: int = 20, rate: int = 16000) -> float:
    """Processor seconds for a second of sound."""
    model = Recognizer(30, rate, ours(CHUNK, Parallel, layers), bins=80).eval()
    samples = torch.randn(1, seconds * rate, generator=torch.Generator().manual_seed(0))
    state = model.initial_state()
    _, state = model.step(samples[:, :rate], state)
    begin = time.process_time()
    for piece in samples.split(rate // 10, 1):
        _, state = model.step(piece, state)
    model.finish(state)
    return (time.process_time() - begin) / seconds


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    # Processes of their own, made anew: a fork would begin with what this one has touched.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        peaks = dict(zip(NAMES, pool.map(peak, NAMES, chunksize=1), strict=True))
    spent = seconds()
    print(f"{'encoder':38} {'parameters':>10} {'s/epoch':>8} {'peak MiB':>9}")
    for name in NAMES:
        parameters = sum(parameter.numel() for parameter in step_of(name)[0].parameters())
        print(f"{name:38} {parameters:10,} {STEPS * spent[name]:8.0f} {peaks[name]:9.0f}")
    for layers in (4, 16):
        print(f"streaming with {layers} layers: real-time factor {real_time_factor(layers):.3f}")


if __name__ == "__main__":
    main()
