// The records of the page: columns that are decoded when they are needed.
"use strict";
const byId = (id) => document.getElementById(id);
const page = JSON.parse(byId("page-data").textContent);
const data = page.data;
const TYPES = {float32: Float32Array, float64: Float64Array, uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array};

function decode(text, kind) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new TYPES[kind](bytes.buffer);
}

const time = decode(data.time, "float64");
const ofSeries = decode(data.of_series, "uint16");
const temperature = decode(data.temperature, "float32");
const figures = new Map(data.figures.map((one) => [one.name, one]));
const decoded = new Map();

function valuesOf(name) {
  if (!decoded.has(name)) decoded.set(name, decode(figures.get(name).values, "float32"));
  return decoded.get(name);
}

// Half lengths of the bars of a figure; null where it has none.
function barsOf(figure) {
  if (!figure.bars || !figures.has(figure.bars.figure)) return null;
  const values = valuesOf(figure.name), bars = valuesOf(figure.bars.figure);
  return figure.bars.relative ? bars.map((bar, i) => Math.abs(bar * values[i])) : bars;
}

// What a person selects by, and its words for a product.
const seriesOf = (i) => data.series[ofSeries[i]];
const exposureWords = (series) => series.exptime === null ? "none" : `${number(series.exptime)} s`;
const modeWords = (series) => [series.mode && `mode ${series.mode}`, series.binning].filter(Boolean).join(", ") || "none";
const detectorWords = (series) => `${series.instrument} ${series.arm}`.trim();
const seriesWords = (series) =>
  [detectorWords(series), series.recipe, exposureWords(series), modeWords(series)].filter((one) => one !== "none").join(", ");
const DIMENSIONS = [
  ["Detector", (i) => detectorWords(seriesOf(i))],
  ["Exposure", (i) => exposureWords(seriesOf(i))],
  ["Read mode", (i) => modeWords(seriesOf(i))],
  ["Recipe", (i) => seriesOf(i).recipe],
  ["Verdict", (i) => data.verdict[i] || "none"],
];

// Colours that stand out from white and from black, also for colour-blind persons; markers for further series.
const COLORS = ["#2f7fd0", "#d9661f", "#159a70", "#c264b0", "#a88400", "#7277e0", "#c4524b", "#728a98"];
const MARKERS = ["circle", "square", "triangle", "diamond", "inverted_triangle", "hex", "star", "plus"];
const colorOf = (series) => COLORS[series % COLORS.length];
const markerOf = (series) => MARKERS[Math.floor(series / COLORS.length) % MARKERS.length];

function number(value) {
  if (!Number.isFinite(value)) return "";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(3);
  return String(Number(value.toPrecision(5)));
}
const withUnit = (text, unit) => unit && text ? `${text} ${unit}` : text;
const day = (ms) => new Date(ms).toISOString().slice(0, 10);
const minute = (ms) => new Date(ms).toISOString().slice(0, 16).replace("T", " ");
const fileName = (i) => data.file[i];
// the start of the first frame: enough to find a file
const fileStart = (i) => fileName(i).split("_")[0];

function rangeWords([low, high]) {
  if (low === null && high === null) return "";
  if (low === null) return `at most ${number(high)}`;
  return high === null ? `at least ${number(low)}` : `${number(low)} to ${number(high)}`;
}
const isOut = (value, [low, high]) => (low !== null && value < low) || (high !== null && value > high);

function quantile(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(share * (sorted.length - 1))))];
}

// The smallest and largest of many numbers: more than a function call can take.
function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

// One table row after another; text is never markup.
function fillTable(table, titles, rows) {
  table.replaceChildren();
  const cells = (tag, values) => values.map((value) => {
    const cell = document.createElement(tag);
    if (value?.node) cell.append(value.node); else cell.textContent = value?.text ?? value;
    if (value?.kind) cell.className = value.kind;
    if (tag === "th") cell.scope = "col";
    return cell;
  });
  table.createTHead().insertRow().append(...cells("th", titles));
  const body = table.createTBody();
  for (const row of rows) body.insertRow().append(...cells("td", row));
}
