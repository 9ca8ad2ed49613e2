/* Find what a layout does wrong on the page as it is shown: sideways scroll, text that is cut, texts over each other,
tables and charts that are larger than their place or lie over their neighbours.

The cells of Streamlit's tables are pixels of a canvas that scrolls by itself: of them only the canvas is looked at.
*/

() => {
  const LEFT_OUT = "[data-testid=stDataFrame], [data-testid=stToolbar], [data-testid=stSidebar], [data-testid=stToast], .modebar-container, [aria-hidden=true], pre";
  const main = document.querySelector("[data-testid=stMain]");
  const shown = (one) => one.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const short = (text) => text.trim().replace(/\s+/g, " ").slice(0, 60);
  const faults = [];
  const pen = document.createElement("canvas").getContext("2d");
  const ABOVE = "[data-testid=stElementToolbar], [data-testid=stTooltipHoverTarget] [role=tooltip], [data-testid=stPopoverBody]"; // lies over the page on purpose
  const title = (place) => [...place.classList].find((name) => name.startsWith("st-key-"))?.slice(7) ?? (short(place.innerText ?? "") || "without a key");
  const overlap = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 3 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4;
  const visible = (one) => { // the part of a box that its scrolling and clipping ancestors show
    let { left, right, top, bottom } = one.getBoundingClientRect();
    for (let outer = one.parentElement; outer && outer !== main; outer = outer.parentElement) {
      const { overflowX, overflowY } = getComputedStyle(outer), frame = outer.getBoundingClientRect();
      if (overflowX !== "visible") [left, right] = [Math.max(left, frame.left), Math.min(right, frame.right)];
      if (overflowY !== "visible") [top, bottom] = [Math.max(top, frame.top), Math.min(bottom, frame.bottom)];
    }
    return { left, right, top, bottom };
  };

  for (const one of [document.documentElement, main])
    if (one.scrollWidth > one.clientWidth + 1) faults.push(`scrolls sideways: ${one.scrollWidth} in ${one.clientWidth} pixels`);

  for (const one of main.querySelectorAll("*")) {
    if (one.closest(LEFT_OUT) || one.closest("svg") || !shown(one) || !one.innerText?.trim()) continue;
    const { overflowX, overflowY, position } = getComputedStyle(one);
    if (position === "absolute" && one.clientWidth <= 1) continue; // for screen readers alone
    const clips = (overflow) => overflow === "hidden" || overflow === "clip";
    if (clips(overflowX) && one.scrollWidth > one.clientWidth + 1) faults.push(`cut: ${short(one.innerText)}`);
    else if (clips(overflowY) && one.scrollHeight > one.clientHeight + 3) faults.push(`cut below: ${short(one.innerText)}`);
  }

  // A field scrolls what is typed into it; what it has chosen, or says while it is empty, should be whole.
  for (const one of main.querySelectorAll("input")) {
    const text = one.value ? one.role === "combobox" && one.value : one.placeholder;
    if (!text || !shown(one)) continue;
    const { font, paddingLeft, paddingRight } = getComputedStyle(one);
    pen.font = font;
    if (pen.measureText(text).width > one.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight) + 1) faults.push(`cut in its field: ${short(text)}`);
  }

  const boxes = [];
  for (const chart of main.querySelectorAll(".js-plotly-plot")) {
    const frame = chart.getBoundingClientRect();
    for (const one of chart.querySelectorAll("svg.main-svg text")) {
      const box = one.getBoundingClientRect();
      if (!box.width || !shown(one)) continue;
      if (box.left < frame.left - 2 || box.right > frame.right + 2 || box.top < frame.top - 2 || box.bottom > frame.bottom + 2)
        faults.push(`beyond its chart: ${short(one.textContent)}`);
      boxes.push([one, box, one.textContent, chart]);
    }
  }
  const walker = document.createTreeWalker(main, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const one = node.parentElement;
    if (!node.data.trim() || one.closest(LEFT_OUT) || one.closest("svg, style, script") || !shown(one)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) if (box.width > 1 && box.height > 1) boxes.push([one, box, node.data, null]);
  }
  boxes.forEach(([first, a, text, chart], at) => {
    for (const [second, b, other, otherChart] of boxes.slice(at + 1)) {
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (first !== second && wide > 3 && high > 4 && chart === otherChart) faults.push(`over each other: ${short(text)} | ${short(other)}`);
    }
  });

  // A place of Streamlit holds one text, control, table or chart, and should be as large as what it holds.
  const PLACE = "[data-testid=stElementContainer]";
  const places = [...main.querySelectorAll(PLACE)].filter((one) => shown(one) && !one.closest(ABOVE)).map((one) => [one, visible(one)]);
  for (const drawn of main.querySelectorAll("canvas, svg.main-svg")) {
    const own = drawn.closest(PLACE), box = drawn.getBoundingClientRect();
    if (!own || drawn.closest(ABOVE) || !shown(drawn) || box.width < 2 || box.height < 2) continue;
    const name = drawn.localName === "canvas" ? "table" : "chart";
    const frame = own.getBoundingClientRect();
    const beyond = { right: box.right - frame.right, left: frame.left - box.left, below: box.bottom - frame.bottom, above: frame.top - box.top };
    for (const [side, pixels] of Object.entries(beyond))
      if (pixels > 2 && !(side === "right" && getComputedStyle(own).overflowX === "auto")) faults.push(`${name} beyond its place: ${title(own)}, ${Math.round(pixels)} pixels ${side}`);
    for (const [other, place] of places)
      if (!own.contains(other) && !other.contains(own) && overlap(visible(drawn), place)) faults.push(`${name} over its neighbour: ${title(own)} | ${title(other)}`);
  }

  // A finger needs 24 pixels (WCAG 2.5.8). A link in a sentence is as high as its line.
  if (innerWidth <= 640)
    for (const one of main.querySelectorAll("button, summary, a[href], [role=tab], [role=checkbox], [role=radio]")) {
      const { width, height } = one.getBoundingClientRect();
      if (!shown(one) || one.closest(LEFT_OUT) || width < 2 || height < 2 || (one.localName === "a" && one.closest("p"))) continue;
      if (width < 24 || height < 24) faults.push(`small for a finger: ${short(one.innerText || one.getAttribute("aria-label") || one.className)}, ${Math.round(width)} x ${Math.round(height)} pixels`);
    }

  const panel = [...main.querySelectorAll("[role=tabpanel]")].find(shown) ?? main.querySelector("h1")?.closest("[data-testid=stElementContainer]")?.nextElementSibling;
  return { faults: [...new Set(faults)], top: Math.round((panel?.getBoundingClientRect().top ?? 0) + main.scrollTop) };
}
