"""Predictions and citations as JSON."""

from recollect.lasting import Explanation
from recollect.serving.bodies import Cited, ClassProbability, Output
from recollect.serving.reads import Prediction


def output_of(prediction: Prediction, top: int | None) -> list[Output]:
    """Turn predictions into answers.

    Args:
        prediction: What the model returned.
        top: Number of classes; ``None`` for values.
    """
    positions, weight = prediction.positions, prediction.weight.tolist()
    outputs = [
        Output(position=list(place), weight=each) for place, each in zip(positions, weight, strict=True)
    ]
    if top is None:
        for output, value in zip(outputs, prediction.output.tolist(), strict=True):
            output.value = value
    else:
        best = prediction.output.topk(min(top, prediction.output.shape[-1]))
        for output, chances, classes in zip(
            outputs, best.values.tolist(), best.indices.tolist(), strict=True
        ):
            pairs = zip(classes, chances, strict=True)
            output.classes = [ClassProbability(class_=name, probability=chance) for name, chance in pairs]
    for output, explanation in zip(outputs, prediction.explanations, strict=False):
        output.citations = _cited(explanation)
    return outputs


def _cited(explanation: Explanation) -> list[Cited]:
    return [Cited(**citation._asdict()) for citation in explanation.citations]
