/* Make what one click changes in the address one step of the browser's Back.

When a button opens a page, Streamlit first writes the next page's parameters beside the path of the page that is left,
then the new path, and the new page may add parameters. As three entries of the history they take three presses of Back,
and the first of them shows the old page with parameters of the other, without its own.
*/

let isWritten = true; // this click has its entry, which later addresses replace; opening a page is such a click
for (const kind of ["pointerdown", "keydown", "click"]) document.addEventListener(kind, () => (isWritten = false), true);
window.addEventListener("popstate", () => (isWritten = true));

const push = window.history.pushState.bind(window.history);
window.history.pushState = (...entry) => {
  if (isWritten) window.history.replaceState(...entry);
  else push(...entry);
  isWritten = true;
};
