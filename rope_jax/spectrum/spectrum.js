// The sliders and charts of spectrum.html; plotting.js comes before it.
const BLUE = { color: '#0072b2', dark: '#4ea6e6' };
const ORANGE = { color: '#d55e00', dark: '#f07f36' };
const GREY = { color: '#6b6f75', dark: '#a2a9b2' };
const node = (id) => document.getElementById(id);
const count = (n) => n.toLocaleString('en-US');
const whole = (n) => (n >= 1e7
  ? Number(n.toPrecision(4)).toExponential().replace('e+', 'e')
  : count(Number(n >= 1000 ? n.toFixed(0) : n.toPrecision(4))));
const number = (x) => (x === null ? 'none' : String(Number(x.toPrecision(5))));
const SLIDERS = ['theta', 'factor', 'length'];
const stops = { theta: study.thetas, factor: study.factors,
  length: study.lengths };
const now = {};

// The curve and the pairs of a choice: [this setting, the same unscaled].
const chosen = () => {
  const { scheme, theta, factor, length } = now;
  if (scheme === 'given') {
    return [study.given[length], study.givenUnscaled];
  }
  const bare = study.table.none[theta][0];
  return [scheme === 'none' ? bare : study.table[scheme][theta][factor], bare];
};
const scaled = () => !['none', 'given'].includes(now.scheme);

const key = (series, text) => {
  const line = `<svg viewBox="0 0 34 12" aria-hidden="true"><line x1="1" x2="33"
    y1="6" y2="6" stroke="${color(series)}" stroke-width="2.4"
    stroke-dasharray="${series.dash || ''}"/></svg>`;
  const label = make('span', { innerHTML: line });
  label.append(text);
  return label;
};

const band = (one, series) => {
  const line = { width: 0, shape: 'hv', color: color(series) };
  const same = { x: study.start, type: 'scatter', mode: 'lines', line,
    hoverinfo: 'skip' };
  return [{ ...same, y: one.low }, { ...same, y: one.high, fill: 'tonexty',
    fillcolor: fade(color(series), dark() ? 0.3 : 0.2) }];
};
// The last bin is one distance: no mean.
const means = (one, series, name) => ({ x: study.start, name,
  y: [...one.mean.slice(0, -1), null],
  type: 'scatter', mode: 'lines', line: { color: color(series), width: 1.8,
    dash: dash(series) },
  customdata: one.value,
  text: study.start.map((m, i) => (study.end[i] > m
    ? `<br>  from here to ${count(study.end[i])}: `
      + `${number(one.low[i])} to ${number(one.high[i])}` : '')),
  hovertemplate: '%{customdata}%{text}' });

// A line across the chart at some tokens; its name at the right end.
const across = (tokens, text, series) => [
  { type: 'line', xref: 'paper', yref: 'y', x0: 0, x1: 1, y0: tokens,
    y1: tokens, line: { color: color(series), width: 1.3, dash: '5px,4px' } },
  { xref: 'paper', yref: 'y', x: 0.01, y: Math.log10(tokens), text,
    xanchor: 'left', yanchor: 'bottom', showarrow: false,
    font: { color: color(series), size: 12 } },
];

const drawDecay = ([one, bare]) => {
  const id = 'chart-decay', same = one === bare;
  const grey = { ...GREY, dash: '6,3' };
  const traces = same ? []
    : [...band(bare, grey), means(bare, grey, 'unscaled')];
  traces.push(...band(one, BLUE), means(one, BLUE, 'this setting'));
  const ends = [...one.low, ...one.high, ...bare.low, ...bare.high];
  const low = Math.min(...ends, 0), high = Math.max(...ends);
  const pad = 0.06 * (high - low);
  const span = logRange(1, study.start[study.start.length - 1]);
  const [shapes, marks] = trained(true, span);
  const at = study.lengths[now.length];
  if (at !== study.trainLen) {
    shapes.push({ type: 'line', xref: 'x', yref: 'paper', x0: at, x1: at, y0: 0,
      y1: 1, line: { color: color(ORANGE), width: 1.3 } });
  }
  shapes.push({ type: 'line', xref: 'paper', yref: 'y', x0: 0, x1: 1, y0: 0,
    y1: 0, line: { color: css('--soft'), width: 1 } });
  if (one.first !== null) {
    traces.push({ x: [one.first], y: [0], type: 'scatter', mode: 'markers',
      hoverinfo: 'skip', marker: { symbol: 'triangle-down', size: 11,
        color: color(ORANGE), line: { color: css('--paper'), width: 1 } } });
    marks.push({ xref: 'x', yref: 'y', x: Math.log10(one.first), y: 0, ax: 0,
      ay: 42, text: `first negative: ${count(one.first)}`, arrowhead: 0,
      arrowcolor: color(ORANGE), standoff: 5, bgcolor: css('--paper'),
      font: { color: color(ORANGE), size: 12 },
      xanchor: one.first > 3e4 ? 'right' : one.first < 30 ? 'left'
        : 'center' });
  }
  const ticks = Array.from({ length: 21 }, (_, i) => 2 ** i);
  plot(id, traces, { ...layout({ type: 'log', range: span, ...logTicks(ticks),
    title: { text: 'distance (tokens)' }, hoverformat: ',d',
    unifiedhovertitle: { text: 'distance %{x:,d}' } },
  { title: { text: 'sum of cosines' }, range: [low - pad, high + pad] },
  shapes, marks), hovermode: 'x unified' });
  document.querySelector(`#${id} .legend`).replaceChildren(
    key(BLUE, one.label), ...(same ? [] : [key(grey, bare.label)]));
  say(id, 'Bands: the least and the greatest value in each bin of distances, '
    + 'lines: the mean; nothing between is left out. Hover: the value at the '
    + 'first distance of a bin.'
    + (at === study.trainLen ? '' : ' Orange line: the length looked at.'));
};

const drawPairs = ([one, bare]) => {
  const n = study.lengths[now.length], cover = one.cover[now.length];
  const pairs = one.wave.map((_, k) => k);
  const fresh = pairs.filter((k) => cover[k] < 1);
  const seen = pairs.filter((k) => cover[k] >= 1);
  const about = (k) => `<b>pair ${k}</b><br>`
    + (one.wave[k] === null ? 'does not turn'
      : `wavelength ${whole(one.wave[k])} tokens`)
    + (one.wave[k] === null || bare.wave[k] === null || one === bare ? ''
      : `<br>unscaled ${whole(bare.wave[k])}, slowed `
        + `${number(one.wave[k] / bare.wave[k])} times`)
    + `<br>coverage ${number(cover[k])}`;
  const dots = (some, series, symbol) => ({ x: some, type: 'scatter',
    y: some.map((k) => one.wave[k]), mode: 'markers', text: some.map(about),
    hovertemplate: '%{text}<extra></extra>',
    marker: { color: color(series), symbol, size: 7 } });
  const traces = [dots(seen, BLUE, 'circle'), dots(fresh, ORANGE, 'diamond')];
  if (one !== bare) {
    traces.unshift({ x: pairs, y: bare.wave, type: 'scatter', mode: 'lines',
      hoverinfo: 'skip', line: { color: color(GREY), width: 1.4,
        dash: '6px,3px' } });
  }
  const lines = [across(study.trainLen, `trained at ${count(study.trainLen)}`,
    GREY)];
  if (n !== study.trainLen) {
    lines.push(across(n, `looked at ${count(n)}`, ORANGE));
    // Names of lines that nearly touch: the lower one's goes below its line.
    const lower = lines[n > study.trainLen ? 0 : 1][1];
    if (Math.abs(Math.log10(n / study.trainLen)) < 1) lower.yanchor = 'top';
  }
  const x = { title: { text: 'pair (0 turns fastest)' },
    range: [-1, pairs.length] };
  plot('chart-wave', traces, layout(x, { type: 'log', title: {
    text: 'wavelength (tokens)' }, exponentformat: 'power', dtick: 1 },
  lines.map((l) => l[0]), lines.map((l) => l[1])));
  const still = one.wave.filter((w) => w === null).length;
  const beyond = `phases beyond those of ${count(study.trainLen)} tokens.`;
  say('chart-wave', (fresh.length
    ? `Orange: the ${fresh.length} pairs that meet ${beyond}`
    : `No pair meets ${beyond}`)
    + (one === bare ? '' : ' Dashed: unscaled.')
    + (still ? ` ${still} pairs do not turn and are not drawn.` : ''));
  const bars = [{ x: pairs, y: cover, type: 'bar', text: pairs.map(about),
    textposition: 'none', hovertemplate: '%{text}<extra></extra>',
    marker: { color: cover.map((c) => color(c < 1 ? ORANGE : BLUE)) } }];
  if (one !== bare) {
    bars.push({ x: pairs, y: bare.cover[now.length], type: 'scatter',
      mode: 'lines', hoverinfo: 'skip', line: { color: color(GREY), width: 1.6,
        shape: 'hvh', dash: '6px,3px' } });
  }
  plot('chart-cover', bars, { ...layout(x, {
    title: { text: `coverage at ${count(n)} tokens` }, range: [0, 1.04] },
  [], []), bargap: 0.25 });
  say('chart-cover', 'The share of the phases met up to the length looked at '
    + 'that the trained length showed.'
    + (one === bare ? '' : ' Dashed: unscaled.'));
};

const facts = ([one, bare]) => {
  const n = study.lengths[now.length], pairs = one.wave.length;
  const last = study.start[study.start.length - 1];
  const row = (id, name, tell) => {
    const line = make('tr', {}, make('th', { scope: 'row', textContent: name }),
      ...[one, bare].map((entry) => make('td', { textContent: tell(entry) })));
    line.dataset.fact = id;
    return line;
  };
  const where = study.start.indexOf(n);
  document.querySelector('#facts tbody').replaceChildren(
    row('first', 'first distance with a negative sum', (e) => (e.first === null
      ? `none to ${count(last)}` : `${count(e.first)} tokens`)),
    row('sum', `sum of cosines at distance ${count(n)}`,
      (e) => String(e.value[where])),
    row('critical', 'critical dimension', (e) => (e.critical === null ? '-'
      : `${e.critical} of ${study.headDim}`)),
    row('fresh', `pairs with new phases at ${count(n)}`,
      (e) => `${e.cover[now.length].filter((c) => c < 1).length} of ${pairs}`),
    row('slowest', 'slowest wavelength', (e) => {
      const known = e.wave.filter((w) => w !== null);
      return known.length ? `${whole(Math.max(...known))} tokens` : 'none';
    }),
    row('amplitude', 'amplitude on q and k', (e) => (e.amplitude === 1 ? '1'
      : `${number(e.amplitude)} (scores × ${number(e.amplitude ** 2)})`)));
};

let waiting = false;
const draw = () => {
  waiting = false;
  const pair = chosen().map((i) => study.entries[i]);
  drawDecay(pair);
  facts(pair);
  drawPairs(pair);
  root.dataset.setting = JSON.stringify(now);
};
const later = () => {
  if (!waiting) requestAnimationFrame(draw);
  waiting = true;
};

// Says what the controls say, before anything is drawn.
const tell = () => {
  const word = { theta: whole(study.thetas[now.theta]),
    factor: scaled() ? number(study.factors[now.factor]) : 'not scaled',
    length: `${count(study.lengths[now.length])} tokens` };
  if (now.scheme === 'given') word.theta = word.factor = 'as given';
  SLIDERS.forEach((name) => {
    node(`${name}-value`).textContent = word[name];
    node(name).setAttribute('aria-valuetext', word[name]);
  });
  node('theta').disabled = now.scheme === 'given';
  node('factor').disabled = !scaled();
  node('said').textContent =
    study.schemes.find((s) => s.name === now.scheme).about;
  node('spec').textContent = now.scheme === 'given' ? study.givenSpec
    : study.entries[chosen()[0]].spec;
};
const choose = (select, options, value) => {
  select.replaceChildren(...options.map(([v, text]) =>
    make('option', { value: v, textContent: text })));
  select.value = value;
};
const asked = () => new URLSearchParams(location.hash.slice(1));
const remember = () => {
  const words = new URLSearchParams({ scheme: now.scheme });
  SLIDERS.forEach((name) => words.set(name, stops[name][now[name]]));
  const theme = ['dark', 'light'].filter((t) => asked().has(t));
  try {
    history.replaceState(null, '', `#${[words, ...theme].join('&')}`);
  } catch { /* Some browsers keep a local file's address as it is. */ }
};

const begin = () => {
  const hash = asked(), schemes = study.schemes.map((s) => s.name);
  const select = node('scheme');
  choose(select, study.schemes.map((s) => [s.name, s.label]),
    schemes.includes(hash.get('scheme')) ? hash.get('scheme')
      : study.schemes[study.first.scheme].name);
  now.scheme = select.value;
  select.onchange = () => {
    now.scheme = select.value;
    tell();
    remember();
    later();
  };
  SLIDERS.forEach((name) => {
    const slider = node(name), at = stops[name].indexOf(Number(hash.get(name)));
    slider.max = stops[name].length - 1;
    slider.value = at < 0 ? study.first[name] : at;
    now[name] = Number(slider.value);
    slider.oninput = () => {
      now[name] = Number(slider.value);
      tell();
      later();
    };
    slider.onchange = remember;
  });
  tell();
  themed(draw);
};
begin();
