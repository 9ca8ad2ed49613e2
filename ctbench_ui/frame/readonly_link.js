// A link to the page's present address with one more parameter.
export default function ({ parentElement, data }) {
  const link = parentElement.querySelector("a");
  link.querySelector("span").textContent = data.text;
  link.title = data.help;
  const update = () => {
    const address = new URL(window.location.href);
    address.searchParams.set(data.name, data.value);
    link.href = address.href;
  };
  update();
  const events = ["pointerenter", "pointerdown", "focus", "click", "contextmenu"];
  events.forEach((name) => link.addEventListener(name, update));
  return () => events.forEach((name) => link.removeEventListener(name, update));
}
