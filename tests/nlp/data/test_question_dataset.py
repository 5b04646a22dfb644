import pytest
import torch
from lightning.fabric.utilities import move_data_to_device

from recollect_nlp.data.babi_format import Question
from recollect_nlp.data.questions import QuestionBatch, QuestionDataset, most_recent
from recollect_nlp.data.story_world import KINDS
from recollect_nlp.data.storyteller import Storyteller
from recollect_nlp.data.vocabulary import NO_ANSWER, Answers, Vocabulary


def encode(questions, tasks=tuple(KINDS), **options):
    vocabulary = Vocabulary.of(text for q in questions for text in (*q.story, q.question))
    return QuestionDataset(
        questions, vocabulary, Answers.of(q.answer for q in questions), tasks=tasks, **options
    ), vocabulary


@pytest.fixture(scope="module")
def questions():
    return Storyteller(seed=1, sentences=9, questions=3).tell(20)


def read_back(batch, vocabulary, row):
    """The words of a story and its question as a model would find them."""
    sentences = [vocabulary.decode(sentence.tolist()) for sentence in batch.sentences]
    told = [sentences[i] for i in batch.story[row][batch.story_mask[row]].tolist()]
    return told, sentences[batch.question[row]]


def test_a_batch_holds_the_very_words_of_its_questions_in_their_order(questions):
    dataset, vocabulary = encode(questions)
    picked = [7, 0, 31, 7]
    batch = dataset.__getitems__(picked)
    assert batch.index.tolist() == picked
    for row, index in enumerate(picked):
        asked = questions[index]
        told, question = read_back(batch, vocabulary, row)
        assert told == [vocabulary.decode(vocabulary.encode(sentence)) for sentence in asked.story]
        assert question == vocabulary.decode(vocabulary.encode(asked.question))
        assert list(KINDS)[batch.task[row]] == asked.task


def test_each_sentence_of_a_batch_stands_once_and_padding_is_marked(questions):
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


def test_a_batch_alone_is_no_wider_than_its_own_longest_story_and_sentence(questions):
    dataset, vocabulary = encode(questions)
    index = min(range(len(questions)), key=lambda i: len(questions[i].story))
    batch = dataset[index]
    assert batch.story.shape == (1, len(questions[index].story))
    words = [len(vocabulary.encode(text)) for text in (*questions[index].story, questions[index].question)]
    assert batch.sentences.shape[1] == max(words)


def test_a_story_longer_than_the_slots_keeps_its_most_recent_sentences(questions):
    dataset, vocabulary = encode(questions, slots=4)
    assert dataset.shortened == sum(len(question.story) > 4 for question in questions) == 40
    batch = dataset.__getitems__(range(len(questions)))
    assert batch.story.shape[1] == 4
    for row, question in enumerate(questions):
        told, _ = read_back(batch, vocabulary, row)
        assert told == [vocabulary.decode(vocabulary.encode(sentence)) for sentence in question.story[-4:]]
        assert dataset.questions[row].story == question.story[-4:]


def test_shortening_a_story_keeps_pointing_at_the_same_supporting_sentences():
    question = Question(("a", "b", "c", "d"), "q?", "x", (0, 2, 3), 5, "my.txt", lines=(1, 2, 3, 4))
    kept = most_recent(question, 2)
    assert [kept.story[i] for i in kept.supporting] == ["c", "d"]
    assert kept.lines == (3, 4)
    assert most_recent(question, 4) == most_recent(question, None) == question


def test_missing_and_unseen_answers_have_no_class():
    ask = Question(("Mary left.",), "Who left?", "Mary", (0,), 2, "my.txt")
    vocabulary, answers = Vocabulary.of(["Mary left. Who?"]), Answers.of(["Mary"])
    asked = [ask, ask._replace(answer=""), ask._replace(answer="John")]
    batch = QuestionDataset(asked, vocabulary, answers, tasks=[None]).__getitems__([0, 1, 2])
    assert batch.answer.tolist() == [0, NO_ANSWER, NO_ANSWER]


def test_a_batch_moves_to_a_device_as_a_whole(questions):
    dataset, _ = encode(questions)
    moved = move_data_to_device(dataset[0], torch.device("meta"))
    assert isinstance(moved, QuestionBatch)
    assert all(tensor.is_meta for tensor in moved)


def test_wrong_arguments_are_named(questions):
    with pytest.raises(ValueError, match="slots must be at least 1, not 0"):
        encode(questions, slots=0)
    with pytest.raises(ValueError, match=r"generated stories, line 4: task '\w+' is none of \['qa1'\]"):
        encode(questions, tasks=["qa1"])
