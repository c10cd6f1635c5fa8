// A figure against date, with its filters and tables.
const ROWS = 25;
const MOST_LABELS = 12;
const select = {figure: byId("figure"), from: byId("from"), to: byId("to"), listed: byId("listed")};
const boxes = [];
let trendDoc = null, view = null, tableStart = 0;

function makeFilters() {
  const groups = [["Figures", (one) => !one.amplifier], ["Amplifiers", (one) => one.amplifier]];
  for (const [label, belongs] of groups) {
    const options = data.figures.filter(belongs).map((one) => new Option(withUnit(one.name, one.unit && `(${one.unit})`), one.name));
    if (!options.length) continue;
    const group = document.createElement("optgroup");
    group.label = label;
    group.append(...options);
    select.figure.append(group);
  }
  // the address names the figure, so that a link opens it
  const named = data.figures.find((one) => `#${encodeURIComponent(one.name)}` === location.hash);
  const wanted = named?.name ?? ["RON RAW", "DARK CURRENT"].find((name) => figures.has(name));
  if (wanted) select.figure.value = wanted;
  for (const [dimension, wordsOf] of DIMENSIONS) {
    const all = data.count ? [...new Set(Array.from(time, (_, i) => wordsOf(i)))] : [];
    all.sort((a, b) => a.localeCompare(b, "en", {numeric: true}));
    const fieldset = document.createElement("fieldset");
    fieldset.append(Object.assign(document.createElement("legend"), {textContent: dimension}));
    for (const words of all) {
      const box = Object.assign(document.createElement("input"), {type: "checkbox", checked: true, value: words, name: dimension});
      const label = document.createElement("label");
      label.append(box, ` ${words}`);
      fieldset.append(label);
      boxes.push(box);
    }
    byId("dimensions").append(fieldset);
  }
  if (data.count) {
    for (const input of [select.from, select.to]) Object.assign(input, {min: day(time[0]), max: day(time[data.count - 1])});
  }
}

// The products that the filters let through and that have a value of the figure.
function productsShown(values) {
  const off = DIMENSIONS.map(([dimension]) => new Set(boxes.filter((box) => box.name === dimension && !box.checked).map((box) => box.value)));
  const from = Date.parse(select.from.value), to = Date.parse(select.to.value) + 86400000;
  const result = [];
  for (let i = 0; i < data.count; i++) {
    if (!Number.isFinite(values[i]) || time[i] < from || time[i] >= to) continue;
    if (DIMENSIONS.every(([, wordsOf], d) => !off[d].size || !off[d].has(wordsOf(i)))) result.push(i);
  }
  return result;
}

// Ends of an axis about values; one wild value does not hide the others. Limits that are near are shown too.
function axisRange(values, limits = []) {
  const sorted = Float64Array.from(values.filter(Number.isFinite)).sort();
  if (!sorted.length) return [0, 1];
  const low = quantile(sorted, 0.005), high = quantile(sorted, 0.995), reach = 4 * (high - low) || Infinity;
  let start = Math.max(sorted[0], low - reach), end = Math.min(sorted.at(-1), high + reach);
  const span = end - start || Math.abs(end) * 0.1 || 1;
  for (const limit of limits) {
    if (limit < start && limit > start - span) start = limit;
    if (limit > end && limit < end + span) end = limit;
  }
  const margin = 0.06 * (end - start || span);
  return [start - margin, end + margin];
}

// What the plot and its tables show: one figure of the products that the filters let through.
function makeView() {
  const figure = figures.get(select.figure.value), values = valuesOf(figure.name), shown = productsShown(values);
  const ofRange = decode(figure.of_range, "uint16"), rangeOf = (i) => figure.ranges[ofRange[i]];
  const limits = [...new Set(shown.map(rangeOf))].flat().filter((limit) => limit !== null);
  const first = shown.length ? time[shown[0]] : 0, last = shown.length ? time[shown.at(-1)] : 1;
  const margin = 0.03 * (last - first) || 43200000;
  return {
    figure, values, shown, rangeOf, bars: barsOf(figure), dates: [first - margin, last + margin],
    axis: axisRange(shown.map((i) => values[i]), limits), outliers: shown.filter((i) => i in figure.outliers),
    out: shown.filter((i) => isOut(values[i], rangeOf(i))),
  };
}

function rangeBands({shown, rangeOf, dates: [left, right], axis: [bottom, top]}) {
  const bands = new Map();
  for (const i of shown) {
    const [low, high] = rangeOf(i);
    if (low === null && high === null) continue;
    const key = `${detectorWords(seriesOf(i))} ${low} ${high}`;
    if (!bands.has(key)) bands.set(key, {low, high, color: colorOf(ofSeries[i]), left: time[i], right: time[i]});
    bands.get(key).right = time[i];
  }
  // open ends lie far outside of the plot, also when a person moves it
  const far = 20 * (top - bottom), widen = 0.01 * (right - left), all = [...bands.values()];
  return {
    left: all.map((band) => band.left - widen), right: all.map((band) => band.right + widen), color: all.map((band) => band.color),
    bottom: all.map((band) => band.low ?? bottom - far), top: all.map((band) => band.high ?? top + far),
  };
}

// Outliers of a series that follow each other, as after a step: each group has one label.
function outlierGroups({shown, figure, outliers}) {
  const groups = [], open = new Map();
  for (const i of shown) {
    if (!(i in figure.outliers)) {
      open.delete(ofSeries[i]);
    } else if (open.has(ofSeries[i])) {
      open.get(ofSeries[i]).push(i);
    } else {
      open.set(ofSeries[i], [i]);
      groups.push(open.get(ofSeries[i]));
    }
  }
  const strength = (group) => Math.max(...group.map((i) => Math.abs(figure.outliers[i])));
  const strongest = groups.sort((a, b) => strength(b) - strength(a)).slice(0, MOST_LABELS);
  const labels = new Map(strongest.map((group) => [group[0], fileStart(group[0]) + (group.length > 1 ? ` and ${group.length - 1} more` : "")]));
  return outliers.map((i) => labels.get(i) ?? "");
}

// Temperatures; of several detectors, which differ much, their difference from the median of each.
function temperatures(shown) {
  const detectors = new Map();
  for (const i of shown) {
    const words = detectorWords(seriesOf(i));
    if (!detectors.has(words)) detectors.set(words, []);
    if (Number.isFinite(temperature[i])) detectors.get(words).push(temperature[i]);
  }
  if (detectors.size < 2) return ["temperature (K)", shown.map((i) => temperature[i])];
  const median = new Map([...detectors].map(([words, all]) => [words, all.length ? quantile(all.sort((a, b) => a - b), 0.5) : 0]));
  return ["T - median (K)", shown.map((i) => temperature[i] - median.get(detectorWords(seriesOf(i))))];
}

function fillTrend(doc) {
  if (!select.figure.value) return;
  view = makeView();
  tableStart = 0;
  const {figure, values, bars, shown, dates, axis} = view;
  const [coldLabel, cold] = temperatures(shown), coldAxis = axisRange(cold);
  doc.get_model_by_name("products").data = {
    time: shown.map((i) => time[i]), y: shown.map((i) => values[i]), cold, temperature: shown.map((i) => temperature[i]),
    low: shown.map((i) => bars ? values[i] - bars[i] : NaN), high: shown.map((i) => bars ? values[i] + bars[i] : NaN),
    color: shown.map((i) => colorOf(ofSeries[i])), marker: shown.map((i) => markerOf(ofSeries[i])),
    file: shown.map(fileName), series: shown.map((i) => seriesWords(seriesOf(i))), value: shown.map(valueWords),
    range: shown.map((i) => rangeWords(view.rangeOf(i))), verdict: shown.map(verdictWords),
  };
  doc.get_model_by_name("outliers").data = {
    time: view.outliers.map((i) => time[i]), y: view.outliers.map((i) => values[i]), label: outlierGroups(view),
    align: view.outliers.map((i) => time[i] > (dates[0] + dates[1]) / 2 ? "right" : "left"),
  };
  doc.get_model_by_name("ranges").data = rangeBands(view);
  const [top, below] = ["value", "temperature"].map((name) => doc.get_model_by_name(name));
  top.left[0].axis_label = withUnit(figure.name, figure.unit && `(${figure.unit})`);
  below.left[0].axis_label = coldLabel;
  setRange(top.x_range, dates);
  setRange(top.y_range, axis);
  setRange(below.y_range, coldAxis);
  describe();
}

const setRange = (range, [start, end]) => range.setv({start, end, reset_start: start, reset_end: end});

function valueWords(i) {
  const {figure, values, bars} = view, sigma = figure.outliers[i];
  const bar = bars && Number.isFinite(bars[i]) ? ` ± ${number(bars[i])}` : "";
  return withUnit(number(values[i]) + bar, figure.unit) + (sigma ? `, outlier (${number(sigma)} sigma)` : "");
}
const verdictWords = (i) => data.failed[i] ? `${data.verdict[i]}: ${data.failed[i]}` : data.verdict[i];

// The sentences and tables of the plot.
function describe() {
  const {figure, values, shown, outliers, out, axis} = view;
  const hidden = shown.filter((i) => values[i] < axis[0] || values[i] > axis[1]).length;
  byId("words").textContent = [figure.words && `${figure.name}: ${figure.words}.`, figure.bars && `Bars: ${figure.bars.words}.`]
    .filter(Boolean).join(" ");
  const span = shown.length ? `, ${day(time[shown[0]])} to ${day(time[shown.at(-1)])}` : "";
  const text = shown.length ? `${shown.length} products${span}. ${outliers.length} outliers (ringed: more than ${data.outlier_sigma} ` +
    `sigma from the running median of the ${data.window} products before). ${out.length} values out of their range (the shaded area)` +
    `${hidden ? `. ${hidden} values lie outside the plot: the table lists them` : ""}.` : "No product has this value with these filters.";
  byId("caption").textContent = text;
  byId("trend").setAttribute("aria-label", `Plot of ${figure.name} against date. ${text}`);
  const members = Map.groupBy(shown, (i) => ofSeries[i]);
  const numbers = ["products", "median", "scatter", "latest", "outliers", "out of range"];
  fillTable(byId("series"), ["series", ...numbers.map(right), "latest date"],
    [...members].sort(([a], [b]) => a - b).map(([series, of]) => seriesRow(series, of)));
  const named = new Set([...outliers, ...out]);
  view.named = shown.filter((i) => named.has(i));
  fillProducts();
}

const right = (text) => ({text, kind: "number"});

function seriesRow(series, members) {
  const {values, outliers, out} = view;
  const sorted = Float64Array.from(members, (i) => values[i]).sort(), median = quantile(sorted, 0.5), last = members.at(-1);
  const scatter = 1.4826 * quantile(sorted.map((value) => Math.abs(value - median)).sort(), 0.5);
  const name = document.createElement("span");
  name.append(swatch(series), seriesWords(data.series[series]));
  const inSeries = (list) => String(list.filter((i) => ofSeries[i] === series).length);
  return [{node: name}, right(String(members.length)), right(number(median)), right(number(scatter)), right(number(values[last])),
          right(inSeries(outliers)), right(inSeries(out)), day(time[last])];
}

const SHAPES = {
  circle: "M7 2a5 5 0 1 0 .01 0z", square: "M2.5 2.5h9v9h-9z", triangle: "M7 2l5.5 10h-11z", diamond: "M7 1l4 6-4 6-4-6z",
  inverted_triangle: "M7 12l5.5-10h-11z", hex: "M2 7l2.5-5h5l2.5 5-2.5 5h-5z", star: "M7 1l2 4 4 .5-3 3 1 5-4-2.500-4 2.500 1-5-3-3 4-.5z",
  plus: "M6 1h2v5h5v2h-5v5h-2v-5h-5v-2h5z",
};

function swatch(series) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", SHAPES[markerOf(series)]);
  path.setAttribute("fill", colorOf(series));
  svg.setAttribute("viewBox", "0 0 14 14");
  svg.setAttribute("class", "swatch");
  svg.setAttribute("aria-hidden", "true");
  svg.append(path);
  return svg;
}

// The table of products, the newest first.
function fillProducts() {
  const listed = [...(select.listed.value === "named" ? view.named : view.shown)].reverse();
  const rows = listed.slice(tableStart, tableStart + ROWS);
  byId("rows").textContent = listed.length ? `${tableStart + 1} to ${tableStart + rows.length} of ${listed.length}` : "none";
  byId("newer").disabled = tableStart === 0;
  byId("older").disabled = tableStart + ROWS >= listed.length;
  fillTable(byId("products"), ["date (UTC)", "file", "series", "value", "range", "verdict"], rows.map((i) => [
    minute(time[i]), {node: reportLink(i)}, seriesWords(seriesOf(i)), valueWords(i), rangeWords(view.rangeOf(i)),
    {text: verdictWords(i), kind: data.verdict[i]},
  ]));
}

function reportLink(i) {
  if (!data.report[i]) return document.createTextNode(fileName(i));
  return Object.assign(document.createElement("a"), {href: data.report[i], textContent: fileName(i), target: "_blank", rel: "noopener"});
}

// A click on a point opens its report; the points of the two plots share their source.
function openOnClick(doc) {
  const {selected} = doc.get_model_by_name("products");
  selected.properties.indices.change.connect(() => {
    const [point] = selected.indices;
    if (point === undefined) return;
    if (data.report[view.shown[point]]) open(data.report[view.shown[point]], "_blank", "noopener");
    else byId("caption").textContent = `${fileName(view.shown[point])} has no report beside it.`;
    selected.indices = [];
  });
}

function turnPage(step) {
  tableStart = Math.max(0, tableStart + step);
  fillProducts();
}

async function startTrend() {
  makeFilters();
  trendDoc = await show("trend", fillTrend);
  openOnClick(trendDoc);
  const again = () => fillTrend(trendDoc);
  byId("filters").addEventListener("change", again);
  select.figure.addEventListener("change", () => history.replaceState(null, "", `#${encodeURIComponent(select.figure.value)}`));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("reset").addEventListener("click", () => {
    for (const box of boxes) box.checked = true;
    select.from.value = select.to.value = "";
    again();
  });
  select.listed.addEventListener("change", () => { tableStart = 0; fillProducts(); });
  byId("newer").addEventListener("click", () => turnPage(-ROWS));
  byId("older").addEventListener("click", () => turnPage(ROWS));
}
