import pytest
import tensorflow as tf

from modelzoo.data.tokenizers import Characters


def test_a_character_is_a_code_point_the_most_frequent_first():
    trained = Characters().train(["banana", "né", "👍🏽"])
    assert trained.vocabulary == ("<pad>", "<unk>", "a", "n", "b", "é", "🏽", "👍")
    ids = trained.ids(tf.constant(["nab", "", "née", "👍!"]))
    assert ids.to_list() == [[3, 2, 4], [], [3, 5, 1], [7, 1]]
    joined = [text.decode() for text in trained.join(ids).numpy()]
    assert joined == ["nab", "", "né\u2047", "👍\u2047"]
    assert trained.describe() == "8 characters"


@pytest.mark.field("Characters.size", "Characters.min_count")
def test_size_and_min_count_limit_the_vocabulary():
    texts = ["banana", "bread", "b"]
    assert Characters(size=4).train(texts).vocabulary[2:] == ("a", "b")
    assert Characters(min_count=2).train(texts).vocabulary[2:] == ("a", "b", "n")
    assert Characters(size=3, min_count=2).train(texts).ids(tf.constant(["ba"])).to_list() == [
        [1, 2]
    ]
