/* Save a chart as PNG or SVG at the width of a page: the buttons that `pictures.py` draws.

The chart's own camera button makes the picture. It reads its options, data and layout on the click, so that they can
be those of paper for that moment: dark text on white, also in the dark theme.
*/

const INK = "#1B2530";
const GRID = "#DDE3E8";
const PAPER = "#FFFFFF";
// A picture has no fonts of the page: text would be measured in one font and drawn in another.
const FONT = "Arial, Helvetica, sans-serif";
const TEXT = { family: FONT, color: INK, gridcolor: GRID, linecolor: GRID, zerolinecolor: GRID, tickcolor: INK };

/* Return a template with the colours of paper: it says how text, axes and grounds look, and nothing of the data. */
function onPaper(part) {
  if (Array.isArray(part)) return part.map(onPaper);
  if (part === null || typeof part !== "object") return part;
  return Object.fromEntries(
    Object.entries(part).map(([name, value]) => {
      if (name === "data" || name === "colorscale" || name === "colorway") return [name, value];
      if (typeof value === "string" && name.endsWith("bgcolor")) return [name, PAPER];
      if (typeof value === "string" && name in TEXT) return [name, TEXT[name]];
      return [name, onPaper(value)];
    }),
  );
}

/* Return a trace with what `keep_for_paper` kept for it. */
function changed(part, changes) {
  const isPart = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
  return Object.entries(changes).reduce(
    (whole, [name, value]) => ({ ...whole, [name]: isPart(value) && isPart(whole[name]) ? changed(whole[name], value) : value }),
    part,
  );
}

function save(chart, format, filename) {
  const { data, layout, _context: context } = chart;
  const options = context.toImageButtonOptions;
  const template = layout.template && onPaper(layout.template);
  const font = { ...layout.font, family: FONT, color: INK };
  const scale = format === "svg" ? 1 : options.scale;
  const picture = layout.meta?.picture; // the note and the legend that the page shows once, and every picture
  const paper = layout.meta?.paper; // a colour scale of a dark page is turned round
  const { title, top, bottom, showlegend } = picture ?? {};
  const margin = { ...layout.margin, ...(picture && { t: top }), ...(bottom && { b: bottom }) };
  const shown = { margin, ...(title && { title }), ...(showlegend && { showlegend }) };
  try {
    chart.data = paper ? data.map((trace, at) => changed(trace, paper[at])) : data;
    chart.layout = { ...layout, ...shown, template, font, paper_bgcolor: PAPER, plot_bgcolor: PAPER };
    context.toImageButtonOptions = { ...options, format, filename, scale, ...(picture && { height: picture.height }) };
    chart.querySelector(".modebar-btn[data-title^=Download]").dispatchEvent(new MouseEvent("click", { bubbles: true }));
  } finally {
    chart.data = data;
    chart.layout = layout;
    context.toImageButtonOptions = options;
  }
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest?.("button[data-ctbench-picture]");
  if (!button) return;
  const { ctbenchPicture: format, chart: key, file } = button.dataset;
  const chart = document.querySelector(`.st-key-${CSS.escape(key)} .js-plotly-plot`);
  if (chart) save(chart, format, file);
});
