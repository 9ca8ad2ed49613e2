/* Scroll a list of tabs to the chosen one, also where an address, a step of Back or a redraw has chosen it.

Streamlit scrolls after a click alone: on a phone a link to a late tab showed no chosen tab at all. An animation of
`page_style` starts when a tab is chosen or drawn. The page itself is not scrolled.
*/

function showTab(tab) {
  const list = tab.parentElement;
  const arrow = parseFloat(getComputedStyle(tab).scrollMarginLeft); // of `page_style`: room for the button that scrolls
  const [own, frame] = [tab, list].map((one) => one.getBoundingClientRect());
  if (own.left < frame.left + arrow) list.scrollLeft -= frame.left + arrow - own.left;
  else if (own.right > frame.right - arrow) list.scrollLeft += own.right - frame.right + arrow;
}

document.addEventListener("animationstart", ({ target, animationName }) => {
  if (animationName === "ctbench-chosen-tab") showTab(target);
});
document.querySelectorAll("[data-testid=stTab][aria-selected=true]").forEach(showTab); // drawn before this script
