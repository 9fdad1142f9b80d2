// The charts of report.html: loss against length, by position, in training.
redraw['chart-length'] = () => {
  const id = 'chart-length', want = control[id];
  const mine = study.points.filter((p) => p.p === Number(want.protocol));
  const traces = [], lines = [], crosses = [], notes = [];
  const apart = study.moves[want.protocol], all = shown(id);
  all.forEach((s, k) => {
    const series = study.series[s];
    const points = mine.filter((p) => p.s === s && p.seed === 'all')
      .sort((a, b) => a.n - b.n);
    if (!points.length) return;
    const triples = points.map((p) => convert(p.nll, p.se, p.bits / p.nll));
    const texts = points.map((p, i) => (p.nll === null ? ''
      : `<b>${plain(series.name)}</b>, ${p.n} tokens<br>`
        + `${short(triples[i][0])}${p.se === null ? '' : ` ± ${
          short((triples[i][2] - triples[i][1]) / 4)}`} ${unitName()}<br>`
        + `${p.docs} documents, ${p.tokens} tokens scored`));
    const ns = points.map((p) => p.n);
    traces.push(...(apart
      ? dots(series, ns, triples, texts, k, all.length)
      : curve(series, ns, triples, texts, { mode: 'lines+markers' })));
    lines.push(triples.map((t) => t[0]));
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
        mode: 'markers', text: each.map((p) => `seed ${p.seed}: `
          + short(convert(p.nll, 0, p.bits / p.nll)[0])),
        marker: { symbol: `${series.symbol}-open`, size: 6,
          color: color(series) },
        hovertemplate: `${plain(series.name)}, %{text}<extra></extra>` });
    }
  });
  const y = { title: { text: unitName() },
    type: want.axis === 'log' ? 'log' : 'linear' };
  const squeeze = want.axis === 'compressed' ? compressed(lines) : null;
  const [bent, shade] = bend(traces, squeeze);
  if (squeeze) notes.unshift('Shaded: the axis is compressed.');
  const xs = study.lengths, span = logRange(xs[0], xs[xs.length - 1]);
  const room = apart ? aside(all.length, all.length) * Math.log10(2) : 0;
  span[0] -= room;
  span[1] += room;
  const [shapes, marks] = trained(true, span);
  plot(id, traces, layout({ type: 'log', range: span, ...logTicks(xs),
    title: { text: 'context length (tokens)' } }, { ...y, ...bent },
  [...shade, ...shapes],
  [...marks, ...crosses]));
  const what = apart ? 'Bars' : 'Bands';
  if (study.certain) notes.unshift(`${what}: ± 2 standard errors.`);
  if (apart) notes.push(study.caution);
  say(id, notes.join(' '));
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
  const first = Math.max(1, Math.min(length / 2,
    ...study.positions.filter((p) => p.n === length)
      .flatMap((p) => p.x.filter((x) => x >= 1))));
  const span = log ? logRange(first, length) : [-0.02 * length, 1.02 * length];
  const ticks = [];
  for (let n = length; n >= first; n /= 2) ticks.unshift(Math.ceil(n));
  const squeeze = compressed(lines);
  const [bent, shade] = bend(traces, squeeze);
  const y = { title: { text: unitName() }, ...bent };
  const [shapes, marks] = trained(log, span);
  plot(id, traces, layout({ range: span, type: log ? 'log' : 'linear',
    title: { text: 'preceding tokens' }, ...(log ? logTicks(ticks) : {}) },
  y, [...shade, ...shapes], marks));
  say(id, `Windows of ${length} tokens; the loss of a token against the `
    + 'number of tokens before it, binned.'
    + (study.certain ? ' Bands: ± 2 standard errors.' : '')
    + (squeeze ? ' Shaded: the axis is compressed.' : ''));
};

redraw['chart-training'] = () => {
  const id = 'chart-training', traces = [], tops = [], lows = [];
  shown(id).forEach((s) => {
    const series = study.series[s], line = color(series);
    study.training.filter((t) => t.s === s).forEach((t) => {
      const y = t.y.map((v) => convert(v, 0, study.bitsPerNat)[0]);
      const name = `${plain(series.name)}, seed ${t.seed}`;
      traces.push({ x: t.x, y, type: 'scatter', mode: 'lines',
        line: { color: line, width: 1.4, dash: dash(series) },
        opacity: t.vx ? 0.55 : 0.9,
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
