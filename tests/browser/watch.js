/* When the app asked its server for a run of the script, when the server was done with it, and when the page last changed.

The attribute data-test-script-state cannot tell: a quick answer comes and goes between two drawings of the page,
which then never shows that the script was running. `hands.py` puts `TAGS` above this text: how the two messages begin.
*/

const QUIET_MS = 100;
const LONGEST = 128; // above it a length takes more than a byte, and no message that the script is done is as long
const watch = { asked: 0, askedAt: 0, answeredAt: 0, shownAt: 0, pressedAt: 0, paintedAt: 0 };
window.ctbench = watch;

watch.isAnswered = () => watch.answeredAt > watch.askedAt;
watch.drawnAt = () => Math.max(watch.answeredAt, watch.paintedAt);
watch.isAtRest = () => watch.isAnswered() && performance.now() - watch.drawnAt() > QUIET_MS;

/* A message of Protocol Buffers: what all have in common, then what kind it is, each as a tag and a length or value. */
function isAnswer(bytes) {
  let at = 0;
  while (bytes.length < LONGEST && TAGS.common.includes(bytes[at])) at += 2 + bytes[at + 1];
  return bytes[at] === TAGS.finished && bytes[at + 1] !== TAGS.early;
}

window.WebSocket = class extends WebSocket {
  constructor(...address) {
    super(...address);
    this.addEventListener("message", ({ data }) => {
      if (!(data instanceof ArrayBuffer) || !isAnswer(new Uint8Array(data))) return;
      watch.answeredAt = performance.now();
      requestAnimationFrame(() => requestAnimationFrame(() => (watch.shownAt = performance.now())));
    });
  }
  send(data) {
    if (new Uint8Array(data.buffer ?? data, data.byteOffset ?? 0)[0] === TAGS.rerun) {
      watch.asked += 1;
      watch.askedAt = performance.now();
    }
    super.send(data);
  }
};

for (const kind of ["pointerdown", "keydown"]) window.addEventListener(kind, () => (watch.pressedAt = performance.now()), true);

new MutationObserver((changes) => {
  if (changes.some((change) => change.attributeName !== "data-test-script-state"))
    requestAnimationFrame(() => (watch.paintedAt = performance.now()));
}).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
