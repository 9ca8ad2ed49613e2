/* Find what a layout does wrong on the page as it is shown: sideways scroll, text that is cut, texts over each other.

Tables of Streamlit are canvases that scroll by themselves, and are left out.
*/

() => {
  const LEFT_OUT = "[data-testid=stDataFrame], [data-testid=stToolbar], [data-testid=stSidebar], [data-testid=stToast], .modebar-container, [aria-hidden=true], pre";
  const main = document.querySelector("[data-testid=stMain]");
  const shown = (one) => one.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const short = (text) => text.trim().replace(/\s+/g, " ").slice(0, 60);
  const faults = [];

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

  const panel = [...main.querySelectorAll("[role=tabpanel]")].find(shown) ?? main.querySelector("h1")?.closest("[data-testid=stElementContainer]")?.nextElementSibling;
  return { faults: [...new Set(faults)], top: Math.round((panel?.getBoundingClientRect().top ?? 0) + main.scrollTop) };
}
