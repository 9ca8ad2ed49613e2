/* Record when the page asked the server for a run of the script, when the run ended, and when the page last changed.

The attribute data-test-script-state is not enough: after a quick answer the page may never show that the script ran.
`browser_user.py` puts `TAGS` above this text: the first bytes of the two kinds of message.
*/

const QUIET_MS = 100;
const LONGEST = 128; // a length from here on takes more than a byte; the message that the script has ended is shorter
const watch = { requests: 0, requestedAt: 0, answeredAt: 0, shownAt: 0, pressedAt: 0, paintedAt: 0 };
window.ctbench = watch;

watch.isAnswered = () => watch.answeredAt > watch.requestedAt;
watch.drawnAt = () => Math.max(watch.answeredAt, watch.paintedAt);
watch.isAtRest = () => watch.isAnswered() && performance.now() - watch.drawnAt() > QUIET_MS;

/* A Protocol Buffers message: the fields common to all kinds, then its kind, each as a tag and a length or value. */
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
      watch.requests += 1;
      watch.requestedAt = performance.now();
    }
    super.send(data);
  }
};

for (const kind of ["pointerdown", "keydown"]) window.addEventListener(kind, () => (watch.pressedAt = performance.now()), true);

new MutationObserver((changes) => {
  if (changes.some((change) => change.attributeName !== "data-test-script-state"))
    requestAnimationFrame(() => (watch.paintedAt = performance.now()));
}).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
