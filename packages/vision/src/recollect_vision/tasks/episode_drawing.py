"""What a few-shot run leaves as pictures of episodes."""

from collections.abc import Sequence

import torch

from recollect_vision.data.episodes import draw_episode, episode_generator
from recollect_vision.episode_accuracy import FeatureTable, Setting, group_by_class
from recollect_vision.episode_picture import EpisodePicture
from recollect_vision.models.few_shot import FewShotClassifier
from recollect_vision.types import LabelledImages

MAX_EXAMPLES = 10
"""Examples of an episode that is drawn, at most."""


def episode_pictures(
    model: FewShotClassifier, batch: LabelledImages, settings: Sequence[Setting], seed: int
) -> list[EpisodePicture]:
    """One picture for each setting that is small enough and that the classes of a batch suffice for."""
    features = group_by_class(model(batch.images), batch.labels)
    pixels = group_by_class(batch.images.flatten(1), batch.labels)
    side = batch.images.shape[-1]
    return [
        _picture(model, features, pixels, side, setting, seed)
        for setting in settings
        if setting.ways * setting.shots <= MAX_EXAMPLES and setting.ways <= len(features.counts)
    ]


def _picture(
    model: FewShotClassifier,
    features: FeatureTable,
    pixels: FeatureTable,
    side: int,
    setting: Setting,
    seed: int,
) -> EpisodePicture:
    """The last of the images drawn of each class is the query, the others are examples."""
    drawn = [draw_episode(features.counts, setting.ways, setting.shots + 1, episode_generator(seed, 0))]
    x = features.take(drawn).features[0]
    images = pixels.take(drawn).features[0].view(setting.ways, -1, 1, side, side)
    labels = torch.arange(setting.ways, device=x.device).repeat_interleave(setting.shots)
    known = (x[:, :-1].flatten(0, 1), labels, x[:, -1])
    answers = model.answer(*known, classes=setting.ways).log_probability.argmax(-1)
    weights = model.compare(*known)
    how = "query 1 is of class 1, and so on" + ("; weights below" if weights is not None else "; no memory")
    return EpisodePicture(
        f"{setting.ways}-way {setting.shots}-shot: {how}",
        images[:, -1],
        images[:, :-1].flatten(0, 1),
        weights,
        answers.tolist(),
        range(setting.ways),
        labels.tolist(),
    )
