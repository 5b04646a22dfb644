import pytest
import torch
from lightning.fabric.utilities import move_data_to_device

from recollect_nlp.data.babi_format import Question
from recollect_nlp.data.question_dataset import QuestionDataset, truncate_story
from recollect_nlp.data.synthetic_stories import QUESTION_TYPES, StoryGenerator
from recollect_nlp.data.vocabulary import Answers, Vocabulary
from recollect_nlp.types import NO_ANSWER, QuestionBatch


def encode(questions, tasks=tuple(QUESTION_TYPES), **options):
    vocabulary = Vocabulary.of(text for q in questions for text in (*q.story, q.question))
    return QuestionDataset(
        questions, vocabulary, Answers.of(q.answer for q in questions), tasks=tasks, **options
    ), vocabulary


@pytest.fixture(scope="module")
def questions():
    return StoryGenerator(seed=1, sentences=9, questions=3).generate(20)


def read_back(batch, vocabulary, row):
    """Words of a story and its question, from a batch."""
    sentences = [vocabulary.decode(sentence.tolist()) for sentence in batch.sentences]
    story = [sentences[i] for i in batch.story[row][batch.story_mask[row]].tolist()]
    return story, sentences[batch.question[row]]


def test_a_batch_has_the_words_of_its_questions_in_order(questions):
    dataset, vocabulary = encode(questions)
    picked = [7, 0, 31, 7]
    batch = dataset.__getitems__(picked)
    assert batch.index.tolist() == picked
    for row, index in enumerate(picked):
        expected = questions[index]
        story, question = read_back(batch, vocabulary, row)
        assert story == [vocabulary.decode(vocabulary.encode(sentence)) for sentence in expected.story]
        assert question == vocabulary.decode(vocabulary.encode(expected.question))
        assert list(QUESTION_TYPES)[batch.task[row]] == expected.task


def test_sentences_of_a_batch_are_distinct_and_padding_is_masked(questions):
    dataset, _ = encode(questions)
    batch = dataset.__getitems__(range(len(questions)))
    texts = {text for question in questions for text in (*question.story, question.question)}
    assert len(batch.sentences) == len(texts)
    assert len(batch.sentences.unique(dim=0)) == len(batch.sentences)
    assert torch.equal((batch.sentences > 0).sum(1), batch.lengths)
    assert batch.lengths.min() >= 1
    assert batch.sentences.shape[1] == batch.lengths.max()
    assert torch.equal(batch.story_mask.sum(1), torch.tensor([len(q.story) for q in questions]))
    assert not batch.story[~batch.story_mask].any()
    assert torch.equal(batch.story_mask, batch.story_mask.sort(dim=1, descending=True).values)


def test_a_batch_is_as_wide_as_its_longest_story_and_sentence(questions):
    dataset, vocabulary = encode(questions)
    index = min(range(len(questions)), key=lambda i: len(questions[i].story))
    batch = dataset[index]
    assert batch.story.shape == (1, len(questions[index].story))
    words = [len(vocabulary.encode(text)) for text in (*questions[index].story, questions[index].question)]
    assert batch.sentences.shape[1] == max(words)


def test_a_story_longer_than_the_slots_keeps_its_last_sentences(questions):
    dataset, vocabulary = encode(questions, slots=4)
    assert dataset.truncated == sum(len(question.story) > 4 for question in questions) == 40
    batch = dataset.__getitems__(range(len(questions)))
    assert batch.story.shape[1] == 4
    for row, question in enumerate(questions):
        story, _ = read_back(batch, vocabulary, row)
        assert story == [vocabulary.decode(vocabulary.encode(sentence)) for sentence in question.story[-4:]]
        assert dataset.questions[row].story == question.story[-4:]


def test_truncation_shifts_the_supporting_sentences():
    question = Question(("a", "b", "c", "d"), "q?", "x", (0, 2, 3), 5, "my.txt", lines=(1, 2, 3, 4))
    kept = truncate_story(question, 2)
    assert [kept.story[i] for i in kept.supporting] == ["c", "d"]
    assert kept.lines == (3, 4)
    assert truncate_story(question, 4) == truncate_story(question, None) == question


def test_missing_and_unseen_answers_have_no_class():
    item = Question(("Mary left.",), "Who left?", "Mary", (0,), 2, "my.txt")
    vocabulary, answers = Vocabulary.of(["Mary left. Who?"]), Answers.of(["Mary"])
    items = [item, item._replace(answer=""), item._replace(answer="John")]
    batch = QuestionDataset(items, vocabulary, answers, tasks=[None]).__getitems__([0, 1, 2])
    assert batch.answer.tolist() == [0, NO_ANSWER, NO_ANSWER]


def test_a_batch_moves_to_a_device_as_a_whole(questions):
    dataset, _ = encode(questions)
    moved = move_data_to_device(dataset[0], torch.device("meta"))
    assert isinstance(moved, QuestionBatch)
    assert all(tensor.is_meta for tensor in moved)


def test_wrong_arguments_are_errors(questions):
    with pytest.raises(ValueError, match="slots must be at least 1, got 0"):
        encode(questions, slots=0)
    with pytest.raises(ValueError, match=r"generated stories, line 4: task '\w+' is not one of \['qa1'\]"):
        encode(questions, tasks=["qa1"])
