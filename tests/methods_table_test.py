"""rope_jax/positions/README.md is what the docstrings say."""

import inspect

import pytest

from rope_jax import positions
from rope_jax.positions import __main__ as table


def test_the_file_is_true():
  written = table.README.read_text(encoding='utf-8')
  assert written == table.text(), 'stale: run python -m rope_jax.positions'


@pytest.mark.parametrize('name', positions.names())
def test_every_method_has_a_row_that_says_what_it_is(name):
  (row,) = [
    line
    for line in table.text().splitlines()
    if line.startswith(f'| `{name}` |')
  ]
  doc = table.parse(inspect.getdoc(positions.method(name)) or '')
  assert doc['summary']
  assert doc['equation'], 'give the equation a paragraph of its own'
  assert doc['Source'], 'name the paper'
  assert doc['Source'] in row
  for field in positions.fields(name):
    assert field in row


def test_a_row_by_hand():
  assert table.row('t5').startswith(
    "| `t5` | T5's relative position bias | bias | yes | yes | no | "
    '`` bias_h(i, j) = sqrt(head_dim) table[bucket(i - j), h] `` | Raffel et '
    'al. 2020, arXiv:1910.10683, section 2.1 | huggingface/transformers, '
  )
  assert table.row('yarn').endswith('mscale, mscale_all_dim |')
  assert '| rotate | no | yes | yes |' in table.row('yarn')
  assert '**factor**, **train_len**, ramp' in table.row('yarn')


def test_families():
  found = {
    name: table.family(positions.method(name)) for name in positions.names()
  }
  assert found['nope'] == found['learned'] == 'Absolute, and none'
  assert found['t5'] == found['shaw'] == 'Relative and biases'
  assert found['yarn'] == found['xpos'] == 'Rotary'
  assert found['self_extend'] == found['local'] == 'Re-mappings and windows'
  assert found['ssmax'] == 'Temperatures'
  assert found['pose'] == 'Trained positions'
  assert set(found.values()) == set(table.SHOWN)


def test_check_says_when_it_is_stale(monkeypatch, tmp_path, capsys):
  monkeypatch.setattr(table, 'README', tmp_path / 'README.md')
  monkeypatch.setattr('sys.argv', ['positions'])
  assert table.main() == 0
  monkeypatch.setattr('sys.argv', ['positions', '--check'])
  assert table.main() == 0
  (tmp_path / 'README.md').write_text('old')
  assert table.main() == 1
  assert 'run python -m rope_jax.positions' in capsys.readouterr().out
