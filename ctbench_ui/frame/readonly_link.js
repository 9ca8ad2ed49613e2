// The page's present address to copy, and the same with one more parameter to open or copy.
const SHOWN_MS = 2000;

export default function ({ parentElement, data }) {
  const find = (selector) => parentElement.querySelector(selector);
  const link = find("a");
  const field = find("input");
  link.querySelector("span").textContent = data.text;
  link.title = data.help;
  const readOnly = () => {
    const address = new URL(window.location.href);
    address.searchParams.set(data.name, data.value);
    return address.href;
  };
  const update = () => (link.href = readOnly());
  update();
  const events = ["pointerenter", "pointerdown", "focus", "click", "contextmenu"];
  events.forEach((name) => link.addEventListener(name, update));
  find("#copy").onclick = ({ currentTarget }) => copy(currentTarget, window.location.href);
  find("#copy-read-only").onclick = ({ currentTarget }) => copy(currentTarget, readOnly());

  async function copy(button, address) {
    try {
      await navigator.clipboard.writeText(address);
    } catch {
      // no permission, or an address without https: the older way, and where that is refused too a field to copy from
      if (!copyFromField(button, address)) return;
    }
    confirm(button);
  }

  function copyFromField(button, address) {
    field.value = address;
    field.parentElement.hidden = false;
    field.select();
    field.onkeydown = ({ key }) => key === "Escape" && button.focus();
    field.onblur = () => (field.parentElement.hidden = true);
    if (!document.execCommand("copy")) return false;
    button.focus();
    return true;
  }

  function confirm(button) {
    if (button.dataset.copied) return;
    const parts = [...button.children];
    const texts = parts.map((part) => part.textContent);
    const show = (shown) => parts.forEach((part, place) => (part.textContent = shown[place]));
    show(["check", data.copied]);
    find("output").textContent = data.copied;
    button.dataset.copied = "yes";
    setTimeout(() => {
      show(texts);
      find("output").textContent = "";
      delete button.dataset.copied;
    }, SHOWN_MS);
  }

  return () => events.forEach((name) => link.removeEventListener(name, update));
}
