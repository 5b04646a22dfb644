"""What a classifier's run leaves as pictures of single images."""

from collections.abc import Sequence

import torch

from recollect_vision.data.classification import ImageData
from recollect_vision.models.classification import NO_EXAMPLE, ClassifierOutput
from recollect_vision.pictures import CaptionedImage, NeighbourPicture
from recollect_vision.types import ImageBatch

ROWS = 6
"""Images that are drawn."""

NEIGHBOURS = 5
"""Remembered images beside each."""


def neighbour_pictures(
    data: ImageData, classes: Sequence[str], batch: ImageBatch, found: ClassifierOutput
) -> list[NeighbourPicture]:
    """The images of a batch that were least certain of their class, with those they were compared with."""
    if found.number.shape[1] == 0:
        return []
    train = data.splits.train
    unsure = found.probability.amax(1).argsort()[:ROWS].cpu()
    queries = data.denormalized(batch.images[unsure])
    said = found.probability.argmax(1)
    rows = []
    for pixels, i in zip(queries, unsure.tolist(), strict=True):
        truth = classes[int(batch.label[i])]
        row = [CaptionedImage(pixels.float(), f"true: {truth}\npredicted: {classes[int(said[i])]}")]
        best = found.weight[i].topk(min(NEIGHBOURS, found.weight.shape[1]))
        for weight, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            number = int(found.number[i, place])
            if number != NO_EXAMPLE and weight > 0 and number < len(train):
                image = train.image(number).to(torch.float32) / 255
                row.append(
                    CaptionedImage(image, f"{classes[int(train.labels[number])]}\nweight {weight:.2f}")
                )
        rows.append(row)
    return [NeighbourPicture(rows)] if any(len(row) > 1 for row in rows) else []
