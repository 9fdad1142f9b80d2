// The controls of report.html: legends, choices, theme, sorting; and the start.
// Buttons that show and hide a line; a double click shows it alone.
const legend = (id, members) => {
  const box = document.querySelector(`#${id} .legend`);
  box.replaceChildren(...members.map((s) => {
    const series = study.series[s];
    const key = `<svg viewBox="0 0 34 12"><line x1="1" x2="33" y1="6" y2="6"
      stroke="${color(series)}" stroke-width="2.4"
      stroke-dasharray="${series.dash}"/></svg>`;
    const button = make('button', { type: 'button', innerHTML: key,
      title: 'Click: show or hide. Double click: only this one.' },
    make('span', { textContent: series.name }));
    button.setAttribute('aria-pressed', String(!hidden[id].has(s)));
    button.onclick = () => {
      hidden[id].delete(s) || hidden[id].add(s);
      update(id, members);
    };
    button.ondblclick = () => {
      members.forEach((m) => hidden[id].add(m));
      hidden[id].delete(s);
      update(id, members);
    };
    return button;
  }));
};
const update = (id, members) => {
  const buttons = document.querySelectorAll(`#${id} .legend button`);
  members.forEach((s, i) => buttons[i] && buttons[i].setAttribute(
    'aria-pressed', String(!hidden[id].has(s))));
  redraw[id]();
};

// The choices of an extension by training: each beside the base.
const trainings = (mine) => {
  const base = (x) => x.role[0] === 'base';
  const kin = [...new Set(mine.filter((x) => x.role[0] === 'tuned')
    .map((x) => x.role[1]))];
  return [['all', () => true],
    ['fine-tuned', (x) => base(x) || x.role[0] === 'tuned'],
    ['zero-shot', (x) => base(x) || x.role[0] === 'zero-shot'],
    ...kin.filter((v) => v !== 'none').map((v) => [
      `${v}, zero-shot and fine-tuned`,
      (x) => base(x) || x.role[1] === v])];
};
// Which lines a chart offers: [name, test of a series].
const choices = (members) => {
  const mine = members.map((s) => study.series[s]);
  if (mine.some((x) => x.role[0] === 'tuned')) return trainings(mine);
  const varied = mine.filter((x) => x.variant);
  const bases = [...new Set(varied.map((x) => x.method))];
  const offered = [['as trained', (x) => !x.variant]];
  bases.forEach((m) => {
    offered.push([`${m} and its variants`, (x) => x.method === m]);
    // Where a scheme comes with several factors it is a choice of its own.
    const kin = varied.filter((x) => x.method === m && x.family);
    new Set(kin.map((x) => x.family)).forEach((name) => {
      offered.push([`${m} + ${name}`, (x) => x.method === m
        && (!x.variant || x.family === name)]);
    });
  });
  return [...offered, ['all', () => true]];
};

const fill = (select, options, value) => {
  select.replaceChildren(...options.map(([v, text]) =>
    make('option', { value: v, textContent: text })));
  select.value = value;
};
const bind = (id, name, options, value, then) => {
  const node = document.querySelector(`#${id} [data-control="${name}"]`);
  if (options) fill(node, options, value);
  control[id][name] = node.type === 'checkbox' ? node.checked : node.value;
  node.onchange = () => {
    control[id][name] = node.type === 'checkbox' ? node.checked
      : node.value;
    then();
  };
  if (options && options.length < 2) {
    node.closest('label').classList.add('hidden');
  }
};
const lines = (id, members, first) => {
  const offered = choices(members);
  const apply = (keep = false) => {
    const test = offered[Number(control[id].lines)][1];
    if (!keep) {
      members.forEach((s) => (test(study.series[s]) ? hidden[id].delete(s)
        : hidden[id].add(s)));
    }
    const some = members.filter((s) => test(study.series[s]));
    legend(id, some);
    redraw[id]();
  };
  const useful = offered.length > 2 ? offered : offered.slice(-1);
  const list = useful.map((c) => [offered.indexOf(c), c[0]]);
  const given = list.find((c) => c[1] === first) || list[0];
  bind(id, 'lines', list, given[0], apply);
  return apply;
};

const start = () => {
  Object.keys(redraw).forEach((id) => {
    control[id] = {};
    hidden[id] = new Set();
  });
  const all = study.series.map((_, s) => s);
  const single = new Set(study.series.map((x) => x.method)).size === 1;
  const tuned = study.series.some((x) => x.role[0] === 'tuned');
  const few = single || all.length <= 9 ? 'all'
    : tuned ? 'fine-tuned' : 'as trained';
  const one = 'chart-length', two = 'chart-position';
  bind(one, 'protocol', study.protocols.map((p, i) => [i, p]),
    study.protocol, redraw[one]);
  bind(one, 'unit', Object.entries(study.units),
    Object.keys(study.units)[0],
    () => Object.values(redraw).forEach((draw) => draw()));
  bind(one, 'axis', null, null, redraw[one]);
  bind(one, 'seeds', null, null, redraw[one]);
  document.querySelector('.seeds').classList.toggle('hidden',
    study.seeds.length < 2);
  const lengths = [...new Set(study.positions.map((p) => p.n))]
    .sort((a, b) => b - a);
  bind(two, 'length', lengths.map((n) => [n, n]), lengths[0], redraw[two]);
  bind(two, 'scale', null, null, redraw[two]);
  const placed = all.filter((s) => study.positions.some((p) => p.s === s));
  const taught = all.filter((s) => study.training.some((t) => t.s === s));
  const begin = [lines(one, all, few)];
  const drop = (id) => {
    const node = document.getElementById(id);
    if (node) node.classList.add('hidden');
    delete redraw[id];
  };
  if (placed.length) begin.push(lines(two, placed, few)); else drop(two);
  if (taught.length) {
    begin.push(() => {
      legend('chart-training', taught);
      redraw['chart-training']();
    });
  } else drop('chart-training');
  const paint = (keep) => begin.forEach((draw) => draw(keep));

  themed(paint);
};

const sortable = (table) => {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.onclick = () => {
      const up = head.getAttribute('aria-sort') !== 'ascending';
      heads.forEach((other) => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      const body = table.tBodies[0];
      const key = (row) => {
        const cell = row.cells[column];
        if ('text' in head.dataset) return cell.textContent;
        return cell.dataset.v === '' ? null : Number(
          cell.dataset.v === 'inf' ? Infinity : cell.dataset.v);
      };
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === null || y === null) return (x === null) - (y === null);
        const less = typeof x === 'string' ? x.localeCompare(y)
          : x === y ? 0 : x < y ? -1 : 1;
        return up ? less : -less;
      };
      body.append(...[...body.rows].sort(order));
    };
  });
};

document.querySelectorAll('.results').forEach(sortable);
start();
