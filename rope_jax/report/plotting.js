// What the charts of a page share: colours, bands, axes, the data.
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
// How many octaves to the side the k-th of count series stands.
const aside = (k, count) => 0.05 * (k - (count - 1) / 2);
// Points with bars, no line between: [trace, trace]. Series stand a little to
// the side of each other, so that equal ones are seen.
const dots = (series, lengths, triples, texts, k, count) => {
  const xs = lengths.map((n) => n * 2 ** aside(k, count));
  const bars = (pick) => triples.flatMap((t, i) => (t[0] === null ? []
    : pick(t, xs[i])));
  return [
    { x: bars((t, x) => [x, x, null]), y: bars((t) => [t[1], t[2], null]),
      type: 'scatter', mode: 'lines', hoverinfo: 'skip',
      line: { color: color(series), width: 1.5 } },
    { x: xs, y: triples.map((t) => t[0]), type: 'scatter', text: texts,
      mode: 'markers', hovertemplate: '%{text}<extra></extra>',
      marker: { symbol: series.symbol, size: 8, color: color(series),
        line: { color: css('--paper'), width: 1 } } },
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
  modebar: { bgcolor: 'rgba(0,0,0,0)', color: css('--line'),
    activecolor: css('--soft') },
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

// A vertical axis, linear up to a knee and logarithmic above it, as in the
// printed figure (axes.py): one line that explodes must not flatten the rest.
// Returns null where a plain axis does.
const compressed = (lines) => {
  const all = lines.map((ys) => ys.filter((y) => y !== null))
    .filter((ys) => ys.length);
  if (!all.length) return null;
  const tops = all.map((ys) => Math.max(...ys)).sort((a, b) => a - b);
  const high = tops[tops.length - 1];
  let low = Math.min(...all.flat());
  const typical = tops[Math.floor((tops.length - 1) / 2)];
  const spread = Math.max(typical - low, 0.06 * low);
  if (!(high >= low + 4 * spread)) return null;
  const knee = low + 2.4 * spread;
  low -= 0.08 * (knee - low);
  const room = (knee - low) * 0.4 / 0.6;
  let width = knee - low;
  while (width * Math.log1p((high - knee) / width) > room) width *= 0.9;
  const up = (y) => (y === null || y <= knee ? y
    : knee + width * Math.log1p((y - knee) / width));
  const top = up(high) + 0.06 * room;
  return { up, knee, top, ticks: ticks(low, knee, high, up),
    range: [low, top] };
};
const ticks = (low, knee, high, up) => {
  const rough = (knee - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((f) => f * power)
    .find((v) => v >= rough * (1 - 1e-9));
  const kept = [];
  for (let i = Math.ceil(low / step); i * step <= knee; i += 1) {
    kept.push(Number((i * step).toPrecision(6)));
  }
  const above = [];
  for (let p = 10 ** Math.floor(Math.log10(knee)); p <= high; p *= 10) {
    above.unshift(...[8, 7, 6, 5, 4, 3, 2.5, 2, 1.5, 1].map((f) => f * p));
  }
  const gap = 0.075 * (up(high) - low);
  above.filter((y) => y > knee && y <= high).forEach((y) => {
    if (kept.every((k) => Math.abs(up(k) - up(y)) > gap)) kept.push(y);
  });
  return kept;
};
// Bends the traces to a compressed axis; returns [axis, shapes].
const bend = (traces, squeeze) => {
  if (!squeeze) return [{}, []];
  traces.forEach((trace) => { trace.y = trace.y.map(squeeze.up); });
  return [
    { range: squeeze.range, tickmode: 'array',
      tickvals: squeeze.ticks.map(squeeze.up),
      ticktext: squeeze.ticks.map((y) => `${y >= 1e5 ? y.toExponential(0)
        : Number(y.toPrecision(4))}`) },
    [{ type: 'rect', xref: 'paper', yref: 'y', x0: 0, x1: 1,
      y0: squeeze.knee, y1: squeeze.top, layer: 'below', line: { width: 0 },
      fillcolor: css('--tint') }],
  ];
};

const plot = (id, traces, shape) => {
  const node = document.querySelector(`#${id} .plot`);
  Plotly.react(node, traces, shape, { responsive: true, displaylogo: false,
    displayModeBar: narrow() ? false : 'hover',
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

// The button that turns light to dark; `paint(keep)` draws everything, with
// keep false the first time.
const themed = (paint) => {
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
  const asked = location.hash.slice(1).split('&')
    .find((word) => ['dark', 'light'].includes(word));
  turn(asked || (system.matches ? 'dark' : 'light'), false);
};
