// Draws the three charts of report.html from the JSON in the page.
'use strict';
(() => {
  const study = JSON.parse(document.getElementById('study').textContent);
  const root = document.documentElement;
  const narrow = () => window.innerWidth < 600;
  const control = {};  // What the controls of each chart say.
  const hidden = {};   // chart id -> set of hidden series.
  const drawn = new Set();
  const redraw = {};   // chart id -> function that draws it.

  const make = (tag, props = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), props);
    node.append(...children);
    return node;
  };
  // Plotly reads its texts as a kind of HTML.
  const plain = (text) =>
    String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;');
  const dark = () => root.dataset.theme === 'dark';
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const color = (series) => (dark() ? series.dark : series.color);
  const fade = (hex, alpha) => {
    const n = parseInt(hex.slice(1), 16);
    return `rgba(${n >> 16},${(n >> 8) & 255},${n & 255},${alpha})`;
  };
  const short = (y) => (y >= 1e4 ? y.toExponential(2) : y.toPrecision(4));
  const size = (n) => (n >= 8192 && n % 1024 === 0 ? `${n / 1024}k` : `${n}`);

  // A loss in nats as [value, lower, upper] in the chosen unit; the band is
  // two standard errors either side.
  const convert = (nll, se, scale) => {
    const unit = control['chart-length'].unit;
    if (nll === null) return [null, null, null];
    const ends = [nll, nll - 2 * (se || 0), nll + 2 * (se || 0)];
    if (unit === 'perplexity') return ends.map(Math.exp);
    if (unit === 'bits_per_byte') return ends.map((y) => y * scale);
    return ends;
  };
  const unitName = () => study.units[control['chart-length'].unit];

  // A line with its band: [trace, trace].
  const curve = (series, xs, triples, texts, extra = {}) => {
    const keep = triples.map((t) => t[0] !== null);
    const bandX = [], bandY = [];
    let run = [];
    const close = () => {
      const back = [...run].reverse();
      if (run.length > 1) {
        bandX.push(...run.map((i) => xs[i]), ...back.map((i) => xs[i]), null);
        bandY.push(...run.map((i) => triples[i][2]),
          ...back.map((i) => triples[i][1]), null);
      }
      run = [];
    };
    xs.forEach((_, i) => (keep[i] ? run.push(i) : close()));
    close();
    const line = color(series);
    return [
      { x: bandX, y: bandY, type: 'scatter', mode: 'lines', fill: 'toself',
        fillcolor: fade(line, 0.16), line: { width: 0 }, hoverinfo: 'skip' },
      { x: xs, y: triples.map((t) => t[0]), type: 'scatter', text: texts,
        mode: 'lines', hovertemplate: '%{text}<extra></extra>',
        line: { color: line, width: 2, dash: dash(series) },
        marker: { symbol: series.symbol, size: 7, color: line,
          line: { color: css('--paper'), width: 1 } },
        ...extra },
    ];
  };
  const dash = (series) =>
    (series.dash ? series.dash.split(',').map((d) => `${d}px`).join(',')
      : 'solid');

  const layout = (x, y, shapes, annotations) => ({
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
    font: { family: getComputedStyle(document.body).fontFamily,
      color: css('--ink'), size: narrow() ? 12 : 13 },
    margin: { l: narrow() ? 52 : 64, r: 16, t: 26, b: 50 },
    showlegend: false, hovermode: 'closest', dragmode: narrow() ? false
      : 'zoom',
    hoverlabel: { bgcolor: css('--paper'), bordercolor: css('--line'),
      font: { color: css('--ink') }, align: 'left' },
    xaxis: { ...axis(), showgrid: false, ...x },
    yaxis: { ...axis(), ...y },
    shapes, annotations,
  });
  const axis = () => ({ gridcolor: css('--line'), linecolor: css('--soft'),
    showline: true, ticks: 'outside', ticklen: 4, zeroline: false,
    tickcolor: css('--soft') });

  // The dashed line at the trained length; its name above the plot.
  const trained = (log, range) => {
    const at = study.trainLen, x = log ? Math.log10(at) : at;
    const share = (x - range[0]) / (range[1] - range[0]);
    if (share < 0 || share > 1) return [[], []];
    return [
      [{ type: 'line', xref: 'x', yref: 'paper', x0: at, x1: at, y0: 0, y1: 1,
        line: { color: css('--soft'), width: 1.3, dash: '5px,4px' } }],
      [{ xref: 'x', yref: 'paper', x, y: 1, yanchor: 'bottom',
        xanchor: share < 0.2 ? 'left' : share > 0.8 ? 'right' : 'center',
        text: `trained at ${at}`, showarrow: false,
        font: { color: css('--soft'), size: 12 } }],
    ];
  };
  const logTicks = (lengths) => {
    const span = Math.log2(lengths[lengths.length - 1] / lengths[0]) || 1;
    const room = span / (narrow() ? 7 : 16);
    const kept = [];
    // The trained and the longest length first, then the others that fit.
    [...lengths].reverse()
      .sort((a, b) => (b === study.trainLen) - (a === study.trainLen))
      .forEach((n) => {
        if (kept.every((k) => Math.abs(Math.log2(n / k)) > room)) kept.push(n);
      });
    return { tickmode: 'array', tickvals: kept, ticktext: kept.map(size) };
  };
  const logRange = (low, high) => {
    const pad = 0.03 * Math.log10(high / low) || 0.1;
    return [Math.log10(low) - pad, Math.log10(high) + pad];
  };

  // The axis that shows the typical line and the band of all below it.
  const focus = (lines) => {
    const all = lines.map((ys) => ys.filter((y) => y !== null))
      .filter((ys) => ys.length);
    if (!all.length) return null;
    const tops = all.map((ys) => Math.max(...ys)).sort((a, b) => a - b);
    const low = Math.min(...all.flat()), high = tops[tops.length - 1];
    const typical = tops[Math.floor((tops.length - 1) / 2)];
    const spread = Math.max(typical - low, 0.06 * low);
    const top = low + 2.6 * spread;
    return high < low + 4 * spread ? null
      : [low - 0.08 * (top - low), top];
  };

  const plot = (id, traces, shape) => {
    const node = document.querySelector(`#${id} .plot`);
    Plotly.react(node, traces, shape, { responsive: true, displaylogo: false,
      modeBarButtonsToRemove: ['select2d', 'lasso2d', 'autoScale2d'],
      toImageButtonOptions: { format: 'svg', filename: id } });
    if (!drawn.has(id) && !node.dataset.waiting) {
      node.dataset.waiting = '1';
      node.on('plotly_afterplot', () => {
        drawn.add(id);
        window.__ropeCharts = drawn.size;
        root.dataset.ropeCharts = drawn.size;
      });
    }
  };
  const say = (id, text) => {
    document.querySelector(`#${id} > .note`).textContent = text;
  };
  const shown = (id) => study.series.map((series, s) => s)
    .filter((s) => hidden[id].has(s) === false);

  redraw['chart-length'] = () => {
    const id = 'chart-length', want = control[id];
    const mine = study.points.filter((p) => p.p === Number(want.protocol));
    const traces = [], lines = [], names = [], crosses = [], notes = [];
    shown(id).forEach((s) => {
      const series = study.series[s];
      const points = mine.filter((p) => p.s === s && p.seed === 'all')
        .sort((a, b) => a.n - b.n);
      if (!points.length) return;
      const triples = points.map((p) => convert(p.nll, p.se, p.bits / p.nll));
      const texts = points.map((p, i) => (p.nll === null ? ''
        : `<b>${plain(series.name)}</b>, ${p.n} tokens<br>`
          + `${short(triples[i][0])} ± `
          + `${short((triples[i][2] - triples[i][1]) / 4)} ${unitName()}<br>`
          + `${p.docs} documents, ${p.tokens} tokens scored`));
      traces.push(...curve(series, points.map((p) => p.n), triples, texts,
        { mode: 'lines+markers' }));
      lines.push(triples.map((t) => t[0]));
      names.push(series.name);
      const lost = points.filter((p) => p.nll === null);
      lost.forEach((p) => crosses.push({ xref: 'x', yref: 'paper', y: 0.985,
        x: Math.log10(p.n), text: '✕', showarrow: false,
        font: { color: color(series), size: 15 },
        hovertext: `${plain(series.name)} diverged at ${p.n} tokens` }));
      if (lost.length) {
        const where = lost.map((p) => p.n).join(', ');
        notes.push(`✕ ${series.name} diverged at ${where}.`);
      }
      if (want.seeds) {
        const each = mine.filter((p) => p.s === s && p.seed !== 'all');
        traces.push({ x: each.map((p) => p.n), type: 'scatter',
          y: each.map((p) => convert(p.nll, 0, p.bits / p.nll)[0]),
          mode: 'markers', text: each.map((p) => `seed ${p.seed}`),
          marker: { symbol: `${series.symbol}-open`, size: 6,
            color: color(series) },
          hovertemplate: `${plain(series.name)}, %{text}: %{y:.4g}`
            + '<extra></extra>' });
      }
    });
    const y = { title: { text: unitName() },
      type: want.axis === 'log' ? 'log' : 'linear' };
    const range = want.axis === 'focus' ? focus(lines) : null;
    if (range) {
      y.range = range;
      const off = lines.map((ys, i) => [Math.max(...ys), names[i]])
        .filter(([top]) => top > range[1]).sort((a, b) => b[0] - a[0])
        .map(([top, name]) => `${name} (${short(top)})`);
      notes.unshift(`The axis stops at ${range[1].toPrecision(3)}; above it: `
        + `${off.join(', ')}. Choose the full axis to see them.`);
    }
    const xs = study.lengths, span = logRange(xs[0], xs[xs.length - 1]);
    const [shapes, marks] = trained(true, span);
    plot(id, traces, layout({ type: 'log', range: span, ...logTicks(xs),
      title: { text: 'context length (tokens)' } }, y, shapes,
    [...marks, ...crosses]));
    say(id, ['Bands: ± 2 standard errors.', ...notes].join(' '));
  };

  redraw['chart-position'] = () => {
    const id = 'chart-position', want = control[id];
    const length = Number(want.length), log = want.scale === 'log';
    const traces = [], lines = [];
    shown(id).forEach((s) => {
      const series = study.series[s];
      const found = study.positions.find((p) => p.s === s && p.n === length);
      if (!found) return;
      const triples = found.y.map(
        (y, i) => convert(y, found.e[i], study.bitsPerNat));
      const texts = found.x.map((x, i) => (triples[i][0] === null ? ''
        : `<b>${plain(series.name)}</b><br>`
          + `after ${Math.round(x)} tokens: ${short(triples[i][0])}`));
      traces.push(...curve(series, found.x, triples, texts));
      // The first few tokens of any text are hard: they set no axis.
      lines.push(triples.map((t) => t[0]).filter((_, i) => found.x[i] >= 8));
    });
    const span = log ? logRange(1, length) : [-0.02 * length, 1.02 * length];
    const ticks = [];
    for (let n = length; n >= 1; n /= 2) ticks.unshift(Math.ceil(n));
    const range = focus(lines);
    const y = { title: { text: unitName() }, ...(range ? { range } : {}) };
    const [shapes, marks] = trained(log, span);
    plot(id, traces, layout({ range: span, type: log ? 'log' : 'linear',
      title: { text: 'preceding tokens' }, ...(log ? logTicks(ticks) : {}) },
    y, shapes, marks));
    say(id, `Windows of ${length} tokens; the loss of a token against the `
      + 'number of tokens before it, binned. Bands: ± 2 standard errors.'
      + (range ? ' The axis leaves out the largest losses: double-click the '
        + 'chart to see all of it.' : ''));
  };

  redraw['chart-training'] = () => {
    const id = 'chart-training', traces = [], tops = [], lows = [];
    shown(id).forEach((s) => {
      const series = study.series[s], line = color(series);
      study.training.filter((t) => t.s === s).forEach((t) => {
        const y = t.y.map((v) => convert(v, 0, study.bitsPerNat)[0]);
        const name = `${plain(series.name)}, seed ${t.seed}`;
        traces.push({ x: t.x, y, type: 'scatter', mode: 'lines',
          line: { color: line, width: 1.4 }, opacity: t.vx ? 0.55 : 0.9,
          hovertemplate: `${name}<br>%{x:.3s} tokens: %{y:.4g}`
            + '<extra></extra>' });
        if (t.vx) {
          traces.push({ x: t.vx, type: 'scatter', mode: 'lines+markers',
            y: t.vy.map((v) => convert(v, 0, study.bitsPerNat)[0]),
            line: { color: line, width: 1.4, dash: '2px,3px' },
            marker: { symbol: series.symbol, size: 6, color: line,
              line: { color: css('--paper'), width: 1 } },
            hovertemplate: `${name}, validation<br>%{x:.3s} tokens: `
              + '%{y:.4g}<extra></extra>' });
        }
        const known = y.filter((v) => v !== null);
        // The loss of the first steps would press the rest into one line.
        tops.push(...known.slice(Math.ceil(known.length * 0.06)));
        lows.push(...known);
      });
    });
    const low = Math.min(...lows), high = Math.max(...tops);
    const y = { title: { text: unitName() } };
    if (high > low) y.range = [low - 0.06 * (high - low), high];
    plot(id, traces, layout({ title: { text: 'training tokens' },
      rangemode: 'tozero' }, y, [], []));
    const speeds = study.training.map((t) => t.speed).filter((v) => v);
    const speed = speeds.sort((a, b) => a - b)[speeds.length >> 1];
    const checked = study.training.some((t) => t.vx);
    say(id, 'Training loss at the trained length.'
      + (checked ? ' Dotted, with markers: validation.' : '')
      + (speed ? ` Median speed ${Math.round(speed)} tokens/s.` : ''));
  };

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

  // Which lines a chart offers: [name, test of a series].
  const choices = (members) => {
    const mine = members.map((s) => study.series[s]);
    const bases = [...new Set(mine.filter((x) => x.variant)
      .map((x) => x.method))];
    return [['as trained', (x) => !x.variant],
      ...bases.map((m) => [`${m} and its variants`, (x) => x.method === m]),
      ['all', () => true]];
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
    bind(id, 'lines', list, list[first === 'all' ? list.length - 1 : 0][0],
      apply);
    return apply;
  };

  const start = () => {
    Object.keys(redraw).forEach((id) => {
      control[id] = {};
      hidden[id] = new Set();
    });
    const all = study.series.map((_, s) => s);
    const few = all.length <= 9 ? 'all' : 'as trained';
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
      document.getElementById(id).classList.add('hidden');
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

    const button = document.getElementById('theme');
    const turn = (name, keep = true) => {
      root.dataset.theme = name;
      button.textContent = name === 'dark' ? 'light' : 'dark';
      paint(keep);
    };
    button.onclick = () => turn(dark() ? 'light' : 'dark');
    const system = window.matchMedia('(prefers-color-scheme: dark)');
    system.onchange = (event) => turn(event.matches ? 'dark' : 'light');
    // #dark and #light choose the theme, for a link and for a screenshot.
    const asked = location.hash.slice(1);
    turn(['dark', 'light'].includes(asked) ? asked
      : system.matches ? 'dark' : 'light', false);
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
})();
