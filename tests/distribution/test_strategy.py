import pytest
import tensorflow as tf

from modelzoo.distribution.strategy import DistributeConfig, make_strategy


@pytest.mark.parametrize("number, size", [(2, 3), (2, 5), (4, 5), (2, 7)])
def test_strategies_of_one_process_do_not_meet(number, size):
    strategy = make_strategy(DistributeConfig(devices=f"cpu:{number}"))

    def total():
        context = tf.distribute.get_replica_context()
        rank = tf.cast(context.replica_id_in_sync_group + 1, tf.float32)
        return context.all_reduce("sum", rank * tf.ones([size]))

    values = strategy.experimental_local_results(tf.function(lambda: strategy.run(total))())
    expected = [number * (number + 1) / 2] * size
    assert [value.numpy().tolist() for value in values] == [expected] * number
