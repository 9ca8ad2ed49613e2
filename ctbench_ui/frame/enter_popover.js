/* Move the focus into a popover that was opened by the keyboard, so that the next Tab leads to its first control.

Streamlit adds its content at the end of the page and leaves the focus on the button: Tab would lead through all that lies
between, and Escape in a table on the way would close the popover again.
*/

const OPENS_MS = 10_000;

document.addEventListener("click", ({ target, detail }) => {
  const button = target.closest?.("[data-testid=stPopoverButton]");
  if (!button || detail > 0 || button.getAttribute("aria-expanded") === "true") return; // detail counts presses of a mouse
  const until = performance.now() + OPENS_MS;
  const enter = () => {
    if (document.activeElement !== button || performance.now() > until) return;
    const content = document.querySelector("[data-testid=stPopoverBody]");
    if (!content) return requestAnimationFrame(enter);
    content.tabIndex = -1;
    content.focus();
  };
  requestAnimationFrame(enter);
}, true); // before Streamlit's own handler opens it
