/* Give the focus back to a control that lost it to a redraw.

Streamlit disables tabs while a slow redraw runs, and replaces a button whose look changes. Either drops the focus to the
page, and the next key of somebody without a mouse goes nowhere.
*/

const WAIT_MS = 10_000;
const CONTROLS = "button, input, textarea, summary, [tabindex], [role=tab]";

let pointer = false;
for (const [kind, down] of [["pointerdown", true], ["pointerup", false], ["pointercancel", false]])
  document.addEventListener(kind, () => (pointer = down), true);

const canFocus = (one) => one.isConnected && one.tabIndex >= 0 && !one.matches(":disabled, [aria-disabled=true]");

/* Return a function that finds the control again: itself, or the one that stands in its place under the same key. */
function finder(one) {
  const box = one.closest("[class*=st-key-]");
  if (!box) return () => one;
  const key = [...box.classList].find((name) => name.startsWith("st-key-"));
  const place = [...box.querySelectorAll(CONTROLS)].indexOf(one);
  return () => (one.isConnected ? one : document.querySelector(`.${CSS.escape(key)}`)?.querySelectorAll(CONTROLS)[place]);
}

document.addEventListener("focusout", ({ target, relatedTarget }) => {
  if (relatedTarget || pointer || !document.hasFocus()) return;
  const wasTaken = !canFocus(target);
  const find = finder(target);
  const until = performance.now() + WAIT_MS;
  const restore = (isLost) => {
    if (document.activeElement !== document.body || performance.now() > until) return;
    const one = find();
    if (one === target && !isLost && canFocus(one)) return; // it gave the focus up by itself
    if (one && canFocus(one)) one.focus({ preventScroll: true });
    else requestAnimationFrame(() => restore(true));
  };
  requestAnimationFrame(() => restore(wasTaken));
});
