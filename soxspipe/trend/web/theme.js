// Light and dark theme, for the page and for the plots, which are drawn on canvas.
const root = document.documentElement;
const documents = [];
const PLOTS = ["value", "temperature", "map", "histogram", "cdf"];
const BokehDocument = Bokeh.require("document").Document;
// set_log_level would write into the console
Bokeh.require("core/logging").logger.set_level("error");

function paint(doc) {
  const style = getComputedStyle(root);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  for (const name of PLOTS) {
    const plot = doc.get_model_by_name(name);
    if (!plot) continue;
    plot.setv({background_fill_color: color("page"), border_fill_color: color("page"), outline_line_color: color("line")});
    for (const part of [...plot.left, ...plot.below, ...plot.center]) {
      if (part.type.endsWith("Axis")) {
        part.setv({axis_label_text_color: color("text"), major_label_text_color: color("soft"), axis_line_color: color("line"),
                   major_tick_line_color: color("line"), minor_tick_line_color: color("line"),
                   axis_label_text_font_style: "normal", axis_label_text_font_size: "14px", major_label_text_font_size: "12px"});
      } else if (part.type === "Grid") {
        part.grid_line_color = color("grid");
      } else if (part.type === "ColorBar") {
        part.setv({major_label_text_color: color("soft"), title_text_color: color("text")});
      } else if (part.type === "Legend") {
        part.setv({background_fill_color: color("page"), background_fill_alpha: 0.8, label_text_color: color("text"),
                   border_line_color: color("line")});
      }
    }
    for (const renderer of plot.renderers) {
      if (renderer.name === "rings") renderer.glyph.line_color = color("text");
      if (renderer.name === "labels") renderer.glyph.text_color = color("text");
    }
  }
}

function setTheme(dark) {
  root.dataset.theme = dark ? "dark" : "light";
  byId("theme").textContent = dark ? "Light theme" : "Dark theme";
  documents.forEach(paint);
}

const system = matchMedia("(prefers-color-scheme: dark)");
setTheme(system.matches);
system.addEventListener("change", () => setTheme(system.matches));
byId("theme").addEventListener("click", () => setTheme(root.dataset.theme !== "dark"));
// paper is white
let before = false;
addEventListener("beforeprint", () => { before = root.dataset.theme === "dark"; setTheme(false); });
addEventListener("afterprint", () => setTheme(before));

// Make the plots of a section, give them their data, then show them: they are drawn once.
async function show(name, fill) {
  const doc = BokehDocument.from_json(page.items[name].doc);
  documents.push(doc);
  if (innerWidth < 600) for (const plot of PLOTS.map((one) => doc.get_model_by_name(one))) plot?.setv({toolbar_location: "above"});
  paint(doc);
  fill(doc);
  await Bokeh.embed.add_document_standalone(doc, byId(name));
  return doc;
}

const idle = () => new Promise((resume) => requestIdleCallback(resume, {timeout: 2000}));
