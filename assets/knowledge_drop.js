// The drop zone of the Knowledge tab. Gradio runs this once with `element` and `trigger`; what it draws is drawn by
// the server. Each file is sent by itself with its path inside the dropped folder, then "upload" is triggered.
const AT_ONCE = 3; // files on their way together
const IGNORED = /(^|\/)(\.[^/]*|Thumbs\.db|desktop\.ini|__MACOSX(\/.*)?)$/i;
const HELD = 40; // milliseconds between two lines of progress
let sending = null;

const zone = () => element.querySelector(".dropzone");
const tell = (text, share) => {
  const line = element.querySelector(".drop-status");
  const bar = element.querySelector("progress");
  if (line) line.textContent = text;
  if (bar) {
    bar.hidden = share === undefined;
    bar.value = share ?? 0;
  }
  zone()?.classList.toggle("busy", share !== undefined);
};

// every file below the dropped entries, as [{ file, path }]; a folder hands out its entries in helpings of 100
async function below(entry, folder) {
  if (entry.isFile) {
    const file = await new Promise((found, lost) => entry.file(found, lost));
    return [{ file, path: folder + entry.name }];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((read, lost) => reader.readEntries(read, lost));
    if (!some.length) break;
    for (const each of some) found.push(...(await below(each, `${folder}${entry.name}/`)));
  }
  return found;
}

function address(query) {
  const root = new URL(window.gradio_config?.root || "/", window.location.href).pathname.replace(/\/$/, "");
  const sign = new URLSearchParams(window.location.search).get("__sign");
  if (sign) query.set("__sign", sign);
  return `${root}/diptych/upload?${query}`;
}

async function send(batch, { file, path }, signal) {
  const query = new URLSearchParams({ batch, path });
  const answer = await fetch(address(query), { method: "POST", body: file, headers: { "x-diptych": "upload" }, signal });
  if (answer.ok) return null;
  const text = await answer.text();
  try {
    return JSON.parse(text).error || text;
  } catch {
    return text.slice(0, 200) || `the server answered ${answer.status}`;
  }
}

async function take(found) {
  if (sending) return;
  const limit = Number(zone().dataset.limit);
  const files = found.filter(({ path }) => !IGNORED.test(path));
  // "name" and not "path": Gradio takes an object with a path for a file of its own, and refuses the whole event
  const refused = files.filter(({ file }) => file.size > limit).map(({ path }) => ({ name: path, why: "larger than the limit" }));
  const queue = files.filter(({ file }) => file.size <= limit);
  if (!queue.length) {
    tell(refused.length ? `Nothing was sent: ${refused[0].name} is larger than the limit.` : "There are no files in it.");
    return;
  }
  const batch = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const total = queue.reduce((sum, { file }) => sum + file.size, 0) || 1;
  let done = 0;
  let bytes = 0;
  let shown = 0;
  sending = new AbortController();
  tell(`Sending ${queue.length} files…`, 0);
  const worker = async () => {
    for (let next = queue.shift(); next && !sending.signal.aborted; next = queue.shift()) {
      try {
        const why = await send(batch, next, sending.signal);
        if (why) refused.push({ name: next.path, why });
        else done += 1;
      } catch (error) {
        if (error.name === "AbortError") return;
        refused.push({ name: next.path, why: "it did not arrive" });
      }
      bytes += next.file.size;
      if (performance.now() - shown > HELD) {
        shown = performance.now();
        tell(`Sent ${done} of ${done + queue.length + refused.length} files…`, bytes / total);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  const stopped = sending.signal.aborted;
  sending = null;
  if (stopped) {
    tell("Stopped. Nothing was added.");
    return;
  }
  tell(done ? `${done} ${done === 1 ? "file" : "files"} arrived.` : `Nothing arrived: ${refused[0]?.why}`);
  if (done) trigger("upload", { batch, done, refused: refused.slice(0, 50), refusals: refused.length });
}

const guarded = (work) => work.catch((error) => {
  sending = null;
  tell(`The files could not be read: ${error.message || error}`);
});

element.addEventListener("dragover", (event) => {
  event.preventDefault();
  zone()?.classList.add("over");
});
element.addEventListener("dragleave", () => zone()?.classList.remove("over"));
element.addEventListener("drop", (event) => {
  event.preventDefault();
  zone()?.classList.remove("over");
  const items = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  guarded(Promise.all(items.map((entry) => below(entry, ""))).then((lists) => take(lists.flat())));
});
element.addEventListener("change", (event) => {
  if (event.target.type !== "file") return;
  const files = [...event.target.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
  event.target.value = "";
  if (files.length) guarded(take(files));
});
element.addEventListener("click", (event) => {
  const pick = event.target.closest("[data-pick]");
  if (pick) element.querySelector(`input[name="${pick.dataset.pick}"]`).click();
  if (event.target.closest("[data-stop]")) sending?.abort();
});
