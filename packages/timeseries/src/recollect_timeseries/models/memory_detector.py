"""A detector with a memory of normal patches and a memory-augmented autoencoder."""

from collections.abc import Sequence
from typing import cast, final

import torch
from torch import Tensor

from recollect import VectorState
from recollect.state import State
from recollect_timeseries.models.anomaly_detection import (
    NO_MEMORY,
    Detector,
    DetectorMemories,
    DetectorSizes,
    DetectorState,
    sliding_windows,
)
from recollect_timeseries.models.memory_autoencoder import AutoencoderConfig, MemoryAutoencoder
from recollect_timeseries.models.patch_memory import PatchMemory


@final
class MemoryDetector(Detector):
    """Distance to stored patches, reconstruction error, or the mean of both.

    Each score is divided by its mean over the normal validation part. The memory of patches is part of the
    state of a stream: ``write`` adds to it and ``erase`` removes from it, without any training.

    Args:
        sizes: Sizes of the detector.
        memories: A memory of normal patches, and one of prototypes for the autoencoder.
        autoencoder: Configuration of the autoencoder; none by default.
        span: As in ``Detector``.

    Raises:
        ValueError: If there is neither a memory of patches nor an autoencoder.

    Example:
        >>> sizes = DetectorSizes(channels=1, window=2, columns=1, periods=[9])
        >>> detector = MemoryDetector(sizes, DetectorMemories(patches=PatchMemory))
        >>> normal = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0]).unsqueeze(-1)
        >>> detector.fit([normal[:4]], [normal])
        >>> detector.calibrate([normal[:4]], [normal], 0.99)
        >>> scores, state = detector(torch.tensor([[0.0], [1.0], [1.0], [0.0]]))
        >>> (scores > detector.threshold).tolist()
        [False, False, True, False]
        >>> state = detector.write(state, torch.tensor([[[1.0], [1.0]]]))  # this is normal, too
        >>> scores, state = detector(torch.tensor([[1.0], [1.0]]), state=state)
        >>> (scores > detector.threshold).tolist()
        [False, False]
    """

    takes_memories = True
    scale: Tensor

    def __init__(
        self,
        sizes: DetectorSizes,
        memories: DetectorMemories = NO_MEMORY,
        autoencoder: AutoencoderConfig | None = None,
        span: int = 1,
    ) -> None:
        super().__init__(sizes, memories, span)
        if memories.patches is None and autoencoder is None:
            raise ValueError("MemoryDetector needs a memory of patches, an autoencoder, or both")
        if memories.prototypes is not None and autoencoder is None:
            raise ValueError("a memory of prototypes needs an autoencoder")
        self.patches = None if memories.patches is None else cast(PatchMemory, memories.patches(sizes))
        self.autoencoder = (
            None if autoencoder is None else MemoryAutoencoder(sizes, autoencoder, memories.prototypes)
        )
        self.register_buffer("scale", torch.ones(2, sizes.channels))
        self._validation_distances: list[Tensor] = []

    def fit(self, train: Sequence[Tensor], normal: Sequence[Tensor]) -> None:
        """Store normal patches; the distances of the validation part are measured before it is added."""
        if self.patches is None:
            return
        self.patches.fit(train)
        self._validation_distances = [
            self._distances(self._validation(past, whole), g, self.patches.state(g))
            for g, (past, whole) in enumerate(zip(train, normal, strict=True))
        ]
        self.patches.fit(normal)

    def loss(self, windows: Tensor) -> Tensor:
        """Return the autoencoder's loss, or zero without one."""
        return super().loss(windows) if self.autoencoder is None else self.autoencoder.loss(windows)

    def memory(self, channel: int) -> State:
        """Return the stored patches of this channel."""
        return () if self.patches is None else self.patches.state(channel)

    def window_scores(self, windows: Tensor, channel: int, memory: State) -> Tensor:
        """See ``Detector``."""
        parts = []
        if self.patches is not None:
            parts.append(
                self._distances(windows, channel, cast(VectorState, memory)) / self.scale[0, channel]
            )
        if self.autoencoder is not None:
            parts.append(self.autoencoder.score(windows, channel) / self.scale[1, channel])
        return torch.stack(parts).mean(0)

    def validation_scores(self, train: Tensor, normal: Tensor, channel: int) -> Tensor:
        """See ``Detector``; also set the scale of both scores."""
        parts = []
        if self.patches is not None:
            parts.append((0, self._validation_distances[channel]))
        if self.autoencoder is not None:
            parts.append((1, self.autoencoder.score(self._validation(train, normal), channel)))
        for place, scores in parts:
            # Avoid division by zero where validation has no error.
            self.scale[place, channel] = scores.mean().clamp_min(1e-3)
        return torch.stack([scores / self.scale[place, channel] for place, scores in parts]).mean(0)

    def write(self, state: DetectorState, windows: Tensor) -> DetectorState:
        """Treat scaled windows ``(n, W, C)`` as normal from now on."""
        patches, memory = self._remembered(state)
        return state._replace(memory=patches.write(memory, patches.embed(windows)))

    def erase(self, state: DetectorState, windows: Tensor, radius: float = 1e-3) -> DetectorState:
        """Remove stored patches within ``radius`` of windows ``(n, W, C)``.

        Args:
            state: State of the stream.
            windows: Scaled windows.
            radius: Largest root mean square difference between two windows that count as the same.
        """
        patches, memory = self._remembered(state)
        return state._replace(memory=patches.erase(memory, patches.embed(windows), radius))

    def _remembered(self, state: DetectorState) -> tuple[PatchMemory, VectorState]:
        if self.patches is None:
            raise ValueError("this detector has no memory of patches to write to or erase from")
        return self.patches, cast(VectorState, state.memory)

    def _distances(self, windows: Tensor, channel: int, memory: VectorState) -> Tensor:
        assert self.patches is not None
        return self.patches.score(self.patches.embed(windows), memory)

    def _validation(self, train: Tensor, normal: Tensor) -> Tensor:
        return sliding_windows(normal[len(train) - self.sizes.window + 1 :], self.sizes.window)
