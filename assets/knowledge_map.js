// The map of the Knowledge tab. Gradio runs this once with `element` and `trigger`; the server draws the SVG anew.
// Hovering shows a passage's text, a click opens it, and a three-dimensional map is turned by dragging it.
const SIDE = 600;
const HALF = SIDE / 2 - 24;
let turned = { around: 0, over: 0 };
let drag = null;
let drawn = null; // the picture that `turned` belongs to

const card = () => element.querySelector(".map-card");
const deep = () => element.querySelector("[data-deep]") !== null;

function show(dot) {
  const box = card();
  const field = box.parentElement.getBoundingClientRect();
  const at = dot.getBoundingClientRect();
  box.replaceChildren();
  for (const [tag, text] of [["strong", dot.dataset.title], ["p", dot.dataset.text], ["small", dot.dataset.group ?? ""]]) {
    const part = document.createElement(tag);
    part.textContent = text;
    box.append(part);
  }
  box.hidden = false;
  const left = Math.min(Math.max(at.left - field.left - 130, 0), Math.max(field.width - 270, 0));
  const below = at.top - field.top < field.height / 2;
  box.style.left = `${left}px`;
  box.style.top = below ? `${at.bottom - field.top + 8}px` : "auto";
  box.style.bottom = below ? "auto" : `${field.bottom - at.top + 8}px`;
}

function turn() {
  const [ca, sa] = [Math.cos(turned.around), Math.sin(turned.around)];
  const [co, so] = [Math.cos(turned.over), Math.sin(turned.over)];
  for (const dot of element.querySelectorAll("[data-at]")) {
    const [x, y, z] = dot.dataset.at.split(",").map(Number);
    const across = x * ca + z * sa;
    const away = z * ca - x * sa;
    const up = y * co - away * so;
    const near = away * co + y * so;
    const [left, top] = [SIDE / 2 + across * HALF, SIDE / 2 - up * HALF];
    if (dot.tagName === "circle") {
      dot.setAttribute("cx", left.toFixed(1));
      dot.setAttribute("cy", top.toFixed(1));
      dot.setAttribute("r", (4 + 1.5 * near).toFixed(1));
    } else {
      dot.setAttribute("transform", `translate(${left.toFixed(1)} ${top.toFixed(1)})`);
    }
  }
}

element.addEventListener("pointerover", (event) => {
  const dot = event.target.closest("[data-text]");
  if (dot && !drag) show(dot);
});
element.addEventListener("pointerout", (event) => {
  if (event.target.closest("[data-text]") && card()) card().hidden = true;
});
element.addEventListener("pointerdown", (event) => {
  const picture = event.target.closest("svg");
  if (!deep() || !picture) return;
  if (picture !== drawn) [turned, drawn] = [{ around: 0, over: 0 }, picture];
  drag = { x: event.clientX, y: event.clientY, moved: false };
});
element.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
  if (Math.abs(dx) + Math.abs(dy) < 3 && !drag.moved) return;
  turned = { around: turned.around + dx / 150, over: Math.max(-1.5, Math.min(1.5, turned.over + dy / 150)) };
  drag = { x: event.clientX, y: event.clientY, moved: true };
  requestAnimationFrame(turn);
});
window.addEventListener("pointerup", () => {
  const moved = drag?.moved;
  drag = null;
  if (moved) element.dataset.turned = String(Date.now());
});
element.addEventListener("click", (event) => {
  if (Date.now() - Number(element.dataset.turned ?? 0) < 200) return;
  const dot = event.target.closest("[data-id]");
  if (dot) trigger("select", { chunk: dot.dataset.id });
});
