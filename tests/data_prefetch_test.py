"""Prefetching: order, overlap, errors and an end without leftovers."""

import itertools
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rope_jax import data


def workers():
  return [t for t in threading.enumerate() if t.name == 'rope_jax-prefetch']


@pytest.fixture(autouse=True)
def _no_thread_is_left():
  yield
  assert workers() == []


def test_steps_come_in_order_and_end():
  with data.Prefetch(lambda step: step * 10, 3, 7) as batches:
    assert list(batches) == [(3, 30), (4, 40), (5, 50), (6, 60)]
    assert list(batches) == []


def test_no_steps():
  with data.Prefetch(lambda step: step, 3, 3) as batches:
    assert list(batches) == []


def test_it_equals_the_sampler_and_places_in_the_thread():
  texts = data.load_documents('pydoc', 'test')
  corpus = data.tokenize(texts, data.ByteTokenizer())
  sampler = data.Sampler(corpus, train_len=16, batch=4, seed=0)
  names = set()

  def place(batch):
    names.add(threading.current_thread().name)
    return jax.device_put(batch)

  with data.Prefetch(sampler.batch, 5, place=place) as batches:
    for step, batch in itertools.islice(batches, 4):
      assert isinstance(batch['tokens'], jnp.ndarray)
      for key, value in sampler.batch(step).items():
        np.testing.assert_array_equal(batch[key], value)
  assert names == {'rope_jax-prefetch'}


def test_at_most_depth_batches_are_ahead():
  made = []
  with data.Prefetch(made.append, depth=2) as batches:
    next(batches)
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
      time.sleep(0.01)
    time.sleep(0.2)
    # One was taken, two wait, one is in the thread's hands.
    assert made == [0, 1, 2, 3]


def test_work_goes_on_while_the_consumer_is_busy():
  ready = threading.Event()

  def make(step):
    if step == 1:
      ready.set()
    return step

  with data.Prefetch(make, 0, 2) as batches:
    next(batches)
    assert ready.wait(5), 'batch 1 is not made before it is asked for'


@pytest.mark.parametrize('where', ['make', 'place'])
def test_an_error_is_raised_at_its_step(where):
  def fail(step):
    if step == 2:
      raise RuntimeError('step 2 is broken')
    return step

  arguments = (fail, None) if where == 'make' else (lambda step: step, fail)
  batches = data.Prefetch(arguments[0], place=arguments[1])
  assert [next(batches)[0], next(batches)[0]] == [0, 1]
  with pytest.raises(RuntimeError, match='step 2 is broken'):
    next(batches)
  assert list(batches) == []


def test_closing_early_stops_a_full_thread_and_may_be_repeated():
  batches = data.Prefetch(lambda step: step, depth=1)
  next(batches)
  batches.close()
  batches.close()
  assert list(batches) == []


def fail_while_reading():
  with data.Prefetch(lambda step: step) as batches:
    next(batches)
    raise KeyError('consumer')


def test_an_error_in_the_consumer_closes_it():
  with pytest.raises(KeyError):
    fail_while_reading()


def test_closing_wakes_a_consumer_in_another_thread():
  go = threading.Event()

  def make(step):
    go.wait(5)
    return step

  batches = data.Prefetch(make)
  found = []
  waiting = threading.Thread(target=lambda: found.extend(batches))
  waiting.start()
  closing = threading.Thread(target=batches.close)
  closing.start()
  time.sleep(0.05)
  go.set()
  waiting.join(5)
  closing.join(5)
  assert not waiting.is_alive()
  assert len(found) <= 1


def test_depth_is_checked():
  with pytest.raises(ValueError, match='depth=0'):
    data.Prefetch(lambda step: step, depth=0)
