() => {
  // Ctrl+Enter (Cmd+Enter on a Mac) sends the prompt
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.closest("#prompt")) {
      event.preventDefault();
      document.getElementById("send")?.click();
    }
  });

  // A list of choices opens at any key but Escape, at Tab too, and would stay open over the page when that leads on
  document.addEventListener("keydown", (event) => {
    const field = event.target;
    if (event.key === "Tab" && field.getAttribute?.("role") === "combobox") {
      setTimeout(() => field.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true })));
    }
  });

  // Several streaming logs would all be read out at once under one name: each gets its lane's name and falls
  // silent, and the one status line speaks for all of them
  const name = () => {
    for (const talk of document.querySelectorAll(".talk [role=log]")) {
      const lane = talk.closest(".lane").id.replace("lane-", "");
      if (talk.getAttribute("aria-live") !== "off") {
        talk.setAttribute("aria-live", "off");
        talk.setAttribute("aria-label", `Conversation of lane ${lane}`);
      }
    }
    const status = document.getElementById("status");
    if (status && !status.hasAttribute("role")) {
      status.setAttribute("role", "status");
      status.setAttribute("aria-live", "polite");
    }
  };
  new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
  name();

  // A person's words are drawn with entities for whatever Markdown would read (pages/literal.py); where they are edited
  // or copied they are what was typed
  const typed = (drawn) =>
    drawn
      .replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(code))
      .replace(/^&nbsp;$/gm, "")
      .replaceAll("&nbsp;", " ");
  new MutationObserver(() => {
    for (const box of document.querySelectorAll(".user-row textarea:not([data-typed])")) {
      box.dataset.typed = "";
      box.value = typed(box.value);
      box.dispatchEvent(new Event("input", { bubbles: true }));
    }
  }).observe(document.body, { childList: true, subtree: true });
  let pressed = null;
  document.addEventListener("click", (event) => (pressed = event.target), true);
  const copy = navigator.clipboard?.writeText.bind(navigator.clipboard);
  if (copy) {
    navigator.clipboard.writeText = (text) => copy(pressed?.closest?.(".user-row") ? typed(text) : text);
  }

  // When a tab or a fold is first opened, Gradio writes every field's first value into it once more, one frame later:
  // what a script (or a very quick hand) has typed by then would be lost. Until that frame is over the page says that
  // nothing can be typed yet.
  let opening = 0;
  const opened = () => --opening || document.body.removeAttribute("aria-disabled");
  document.addEventListener(
    "click",
    (event) => {
      if (!event.target.closest?.("[role=tab], .label-wrap")) return;
      opening += 1;
      document.body.setAttribute("aria-disabled", "true");
      setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(opened))));
    },
    true,
  );

  // What an event refuses Gradio shows only if the event waits in its queue; for all others it is told here
  const notices = document.createElement("div");
  notices.id = "notices";
  notices.setAttribute("role", "alert");
  document.querySelector(".gradio-container").append(notices);
  const tell = ({ title, error, duration }) => {
    const words = new DOMParser().parseFromString(error ?? "", "text/html").documentElement.textContent;
    if (!words || [...notices.children].some((other) => other.lastChild.textContent === words)) return;
    const notice = document.createElement("div");
    const close = document.createElement("button");
    close.textContent = "×";
    close.setAttribute("aria-label", "Close");
    close.onclick = () => notice.remove();
    const head = document.createElement("strong");
    head.textContent = title ?? "Please check";
    const text = document.createElement("p");
    text.textContent = words;
    notice.append(close, head, text);
    notices.append(notice);
    setTimeout(() => notice.remove(), 1000 * (duration ?? 10));
  };
  const ask = window.fetch;
  window.fetch = async (...asked) => {
    const answer = await ask(...asked);
    if (!answer.ok && String(asked[0]?.url ?? asked[0]).includes("/run/predict")) {
      answer.clone().json().then(tell, () => {});
    }
    return answer;
  };

  window.diptych = {
    // saves what an Export button has put into its box
    save(text) {
      const file = JSON.parse(text);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([file.text], { type: `${file.type};charset=utf-8` }));
      link.download = file.name;
      document.body.append(link);
      link.click();
      link.remove();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    },
  };
}
