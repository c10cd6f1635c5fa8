// The map of changed pixels, and the dark rates of two dates.
const MOST_DRAWN = 20000, DAY_MS = 86400000;
const CHANGES = ["death", "birth", "telegraph"], CHANGE_MARKERS = ["square", "circle", "triangle"];

async function makeMap() {
  const mapped = byId("mapped"), until = byId("until"), maps = new Map();
  if (!data.maps.length) {
    byId("map-section").hidden = true;
    return;
  }
  mapped.append(...data.maps.map((one, i) => new Option(seriesWords(data.series[one.series]), i)));
  // the series in which most changes were found
  mapped.value = data.maps.reduce((best, one, i) => one.count > data.maps[best].count ? i : best, 0);
  const fill = (doc) => {
    if (!maps.has(mapped.value)) maps.set(mapped.value, decodeMap(data.maps[Number(mapped.value)]));
    fillMap(doc, maps.get(mapped.value), Number(until.value) / 1000);
  };
  const doc = await show("map", fill);
  for (const control of [mapped, ...["births", "deaths", "telegraph"].map(byId)]) control.addEventListener("change", () => fill(doc));
  until.addEventListener("input", () => fill(doc));
}

function decodeMap(one) {
  const kinds = {product: "uint32", x: "uint16", y: "uint16", birth: "uint8", significance: "float32", pairs: "uint32", pair_false: "float32"};
  const map = {...one, ...Object.fromEntries(Object.entries(kinds).map(([name, kind]) => [name, decode(one[name], kind)]))};
  return {...map, time: Array.from(map.product, (i) => time[i]), pair_time: Array.from(map.pairs, (i) => time[i])};
}

function fillMap(doc, map, share) {
  const [first, last] = extent([...map.pair_time, ...map.time]);
  const end = first + share * (last - first);
  const kinds = ["deaths", "births", "telegraph"].map((id) => byId(id).checked);
  const shown = [...map.time.keys()].filter((i) => map.time[i] <= end);
  // deaths and births of each pixel: one with two of each jumps between two rates
  const history = new Map(), pixel = (i) => map.x[i] + 65536 * map.y[i];
  for (const i of shown) {
    if (!history.has(pixel(i))) history.set(pixel(i), [0, 0]);
    history.get(pixel(i))[map.birth[i]] += 1;
  }
  const jumps = (turns) => Math.min(...turns) > 1;
  const change = (i) => jumps(history.get(pixel(i))) ? 2 : map.birth[i];
  const counts = [0, 0, 0];
  for (const i of shown) counts[change(i)] += 1;
  counts[2] = [...history.values()].filter(jumps).length;
  let drawn = shown.filter((i) => kinds[change(i)]);
  const all = drawn.length;
  if (all > MOST_DRAWN) {
    drawn = drawn.sort((a, b) => Math.abs(map.significance[b]) - Math.abs(map.significance[a])).slice(0, MOST_DRAWN);
  }
  const pairs = map.pair_time.filter((one) => one <= end).length;
  const expected = map.pair_false.slice(0, pairs).reduce((sum, one) => sum + one, 0);
  doc.get_model_by_name("changes").data = {
    x: drawn.map((i) => map.x[i]), y: drawn.map((i) => map.y[i]), time: drawn.map((i) => map.time[i]),
    kind: drawn.map((i) => CHANGES[change(i)]), marker: drawn.map((i) => CHANGE_MARKERS[change(i)]),
    sigma: drawn.map((i) => map.significance[i]),
  };
  // a bar of less than a day would have times, down to microseconds
  doc.get_model_by_name("dates").setv({low: first, high: Math.max(last, first + DAY_MS)});
  const plot = doc.get_model_by_name("map"), [ny, nx] = map.shape;
  const size = [[nx, map.x], [ny, map.y]].map(([known, axis]) => Math.max(known, 1, extent(axis)[1]) + 0.5);
  // square pixels; the colour bar and the labels of the axes take the rest
  plot.height = Math.round((byId("map").clientWidth - 60) * (size[1] / size[0])) + 130;
  setRange(plot.x_range, [0.5, size[0]]);
  setRange(plot.y_range, [0.5, size[1]]);
  byId("until-date").textContent = day(end);
  const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
  const text = `Until ${day(end)}: ${count(counts[1], "birth")}, ${count(counts[0], "death")} and ${count(counts[2], "telegraph pixel")} in ` +
    `${count(pairs, "comparison")} of consecutive masters. ` +
    `Expected false: ${expected < 10 ? expected.toFixed(2) : Math.round(expected)}.` +
    (all > MOST_DRAWN ? ` The map shows the ${MOST_DRAWN} most significant.` : "") +
    (map.left_out ? ` ${map.left_out} less significant changes are not on this page.` : "");
  byId("map-caption").textContent = text;
  byId("map").setAttribute("aria-label", `Map of changed pixels of ${seriesWords(data.series[map.series])}. ${text}`);
}

async function makeRates() {
  const dates = ["A", "B"].map((letter) => byId(`date-${letter}`));
  if (!data.histograms.length) {
    byId("rates-section").hidden = true;
    return;
  }
  const words = data.histograms.map(({product}) => `${day(time[product])} ${seriesWords(seriesOf(product))}`);
  for (const one of dates) one.append(...words.map((label, i) => new Option(label, i)));
  // the first and the last date of the series that has the most
  const members = Map.groupBy(data.histograms.keys(), (i) => ofSeries[data.histograms[i].product]);
  const longest = [...members.values()].reduce((a, b) => b.length > a.length ? b : a);
  dates[0].value = longest[0];
  dates[1].value = longest.at(-1);
  const fill = (doc) => fillRates(doc, dates.map((one) => ratesOf(data.histograms[Number(one.value)])));
  const doc = await show("rates", fill);
  for (const control of [...dates, byId("tail")]) control.addEventListener("change", () => fill(doc));
}

// A histogram in electron/s: its bins are equal in asinh((rate - centre) / scale).
function ratesOf(histogram) {
  const counts = decode(histogram.counts, "uint32"), step = (histogram.high - histogram.low) / counts.length;
  const edges = Array.from({length: counts.length + 1}, (_, i) => histogram.centre + histogram.scale * Math.sinh(histogram.low + i * step));
  const total = counts.reduce((sum, count) => sum + count, 0);
  let below = 0;
  const cdf = Array.from(counts, (count) => 100 * (below += count) / total);
  const rateAt = (percent) => edges[1 + Math.max(0, cdf.findIndex((one) => one >= percent))];
  const density = Array.from(counts, (count, i) => count ? count / (edges[i + 1] - edges[i]) : NaN);
  return {
    total, rateAt, density, centre: histogram.centre, above_median: histogram.above_median, date: day(time[histogram.product]), whole: [edges[0], edges.at(-1)],
    columns: {
      left: edges.slice(0, -1), right: edges.slice(1), rate: edges.slice(1).map((edge, i) => (edge + edges[i]) / 2), density, cdf,
      count: Array.from(counts), date: Array(counts.length).fill(day(time[histogram.product])),
    },
  };
}

function fillRates(doc, pair) {
  pair.forEach((one, i) => { doc.get_model_by_name(`rates ${"AB"[i]}`).data = one.columns; });
  const [top, below] = ["histogram", "cdf"].map((name) => doc.get_model_by_name(name));
  const ends = byId("tail").checked ? pair.flatMap((one) => one.whole) : pair.flatMap((one) => [one.rateAt(0.5), one.rateAt(99.5)]);
  const [start, end] = extent(ends);
  const shown = pair.flatMap(({density, columns: {left, right}}) =>
    density.filter((one, i) => Number.isFinite(one) && right[i] > start && left[i] < end));
  const [low, high] = extent(shown);
  setRange(top.x_range, [start, end]);
  setRange(top.y_range, [low / 2, high * 2]);
  setRange(below.y_range, [-3, 103]);
  const text = pair.map((one, i) => `${"AB"[i]}, ${one.date}: median ${number(one.centre)} electron/s, 99 % below ` +
    `${number(one.rateAt(99))}, 99.9 % below ${number(one.rateAt(99.9))}, ${one.total} pixels` +
    `${one.above_median ? ", counted from the median of their amplifier, as the pedestal is not known" : ""}.`).join(" ");
  byId("rates-caption").textContent = `${text} Histograms of ${data.histograms.length} of the ${data.count} products are on this page.`;
  byId("rates").setAttribute("aria-label", `Histogram and CDF of the dark rates of two dates. ${text}`);
}

// The first plot first, the others when the browser has time: so it is open early, and whole when it is printed.
async function start() {
  await startTrend();
  if (!trendDoc.is_idle) await new Promise((resume) => trendDoc.idle.connect(resume));
  await new Promise(requestAnimationFrame);
  root.dataset.firstPlot = String(Math.round(performance.now()));
  await idle();
  await makeMap();
  await idle();
  await makeRates();
  root.dataset.ready = String(Math.round(performance.now()));
}

start();
